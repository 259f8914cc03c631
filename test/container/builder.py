"""Builds the Dockerfile without a registry and without a daemon, in a storage of its own, and runs its image. Standard library only.

The base is a Debian made here like the published slim one: no manuals, no documents, no translations.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ("buildah", "mmdebstrap", "podman", "runc")
BASE_FILE = ROOT / ".deps/container/base.tar"
BASE_MAX_AGE_S = 7 * 86400
BASE_TIMEOUT_S, BUILD_TIMEOUT_S, COMMAND_TIMEOUT_S = 300, 900, 120
MB = 1000 * 1000
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The user of the tests may be one that can only lower its limits.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
CONFINED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges", *LIMITS)


class NoBuilder(Exception):
    """Nothing can be built on this machine; the reason is the message."""


class BuildFailed(Exception):
    pass


def call(words, timeout=COMMAND_TIMEOUT_S, env=None, cwd=None):
    done = subprocess.run([str(w) for w in words], text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, env=env, cwd=cwd)
    if done.returncode:
        raise BuildFailed(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def first_error(error):
    """One line that says why a tool gave up."""
    lines = [line for line in str(error).splitlines() if line]
    return next((line for line in lines if line.startswith("E: ")), lines[-1])


def check_tools():
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise NoBuilder(f"no builder ({', '.join(missing)}; `make deps-container` installs it)")
    if os.geteuid() != 0:
        raise NoBuilder("a base system can be made by root only")


def make_base(work):
    """BASE_FILE; True when it is a new one."""
    if BASE_FILE.exists() and time.time() - BASE_FILE.stat().st_mtime < BASE_MAX_AGE_S:
        return False
    BASE_FILE.parent.mkdir(parents=True, exist_ok=True)
    new = pathlib.Path(work) / "base.tar"
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    words = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=usr-is-merged", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
             *left_out, "--dpkgopt=path-include=/usr/share/doc/*/copyright", "bookworm", new]
    try:
        call(words, BASE_TIMEOUT_S, env={**os.environ, "TMPDIR": str(work)})
    except (BuildFailed, subprocess.TimeoutExpired) as error:
        raise NoBuilder(f"no base: {first_error(error)}") from None
    shutil.move(new, BASE_FILE)
    return True


class Builder:
    """Everything it makes is in one folder, which close() removes."""

    def __init__(self):
        check_tools()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="st-container-"))
        self.seconds = {}
        self.storage = None

    def close(self):
        if self.storage:
            for words in (["podman", *self.podman_flags, "rm", "--all", "--force", "--time", "0"], ["buildah", *self.storage, "rm", "--all"],
                          ["buildah", *self.storage, "rmi", "--all", "--force"]):
                subprocess.run(words, capture_output=True, timeout=COMMAND_TIMEOUT_S)
            for mount in ("overlay", "."):
                subprocess.run(["umount", "--quiet", self.work / "root" / mount], capture_output=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def buildah(self, *words, timeout=COMMAND_TIMEOUT_S):
        return call(["buildah", *self.storage, *words], timeout)

    @property
    def podman_flags(self):
        return [*self.storage, "--tmpdir", str(self.work / "tmp"), "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]

    def timed(self, what, function, *arguments):
        started = time.monotonic()
        result = function(*arguments)
        self.seconds[what] = time.monotonic() - started
        return result

    # ---- the base ----
    def choose_storage(self):
        """Overlay where the file system carries it, else copies."""
        for driver in ("overlay", "vfs"):
            self.storage = ["--root", str(self.work / "root"), "--runroot", str(self.work / "run"), "--storage-driver", driver]
            try:
                return self.buildah("from", "scratch").strip()
            except BuildFailed as error:
                reason = error
                shutil.rmtree(self.work / "root", ignore_errors=True)
        raise NoBuilder(f"no storage: {first_error(reason)}")

    def load_base(self):
        container = self.choose_storage()
        self.buildah("add", "--quiet", container, BASE_FILE, "/")
        self.buildah("config", "--cmd", "bash", "--env", PATH, container)
        self.buildah("commit", "--quiet", container, "localhost/base")
        return container

    def check_mirror(self, container):
        try:
            self.buildah("run", "--isolation", "chroot", container, "apt-get", "-qq", "update", "--error-on=any")
        except (BuildFailed, subprocess.TimeoutExpired) as error:
            raise NoBuilder(f"the packages cannot be reached: {first_error(error)}") from None

    def prepare(self):
        is_new = self.timed("base", make_base, self.work)
        container = self.timed("load", self.load_base)
        if not is_new:
            self.check_mirror(container)
        self.buildah("rm", container)

    # ---- the image ----
    def copy_sources(self, planted):
        """The work tree as a build gets it, and files that must not get into the image: path to text."""
        context = self.work / "context"
        names = call(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT).split("\0")
        for name in filter(lambda n: n and (ROOT / n).is_file(), names):
            target = context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        for name, text in planted.items():
            (context / name).write_text(text)
        return context

    def build(self, context, version):
        self.buildah("bud", "--isolation", "chroot", "--pull-never", "--build-arg", "BASE=localhost/base", "--build-arg", f"VERSION={version}",
                     "--tag", "localhost/st-ingestor", context, timeout=BUILD_TIMEOUT_S)

    def mounted(self):
        """Folder of the image's files."""
        return pathlib.Path(self.buildah("mount", self.buildah("from", "--pull-never", "localhost/st-ingestor").strip()).strip())

    def inspect(self, image):
        """Manifest and configuration of an image."""
        found = json.loads(self.buildah("inspect", "--type", "image", f"localhost/{image}"))
        return json.loads(found["Manifest"]), json.loads(found["Config"])

    def megabytes_above_base(self):
        base, image = (self.inspect(name)[0]["layers"] for name in ("base", "st-ingestor"))
        if [layer["digest"] for layer in base] != [layer["digest"] for layer in image[: len(base)]]:
            raise BuildFailed("the image does not stand on the base")
        return sum(layer["size"] for layer in image[len(base):]) / MB

    def run_words(self, *arguments, options=()):
        """Words that run the image: read-only, without capabilities, nothing mounted."""
        return ["podman", *self.podman_flags, "run", "--rm", *CONFINED, *options, "localhost/st-ingestor", *arguments]
