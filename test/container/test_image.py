"""The image: what is in it, what is not, and a worker in it that loads a company's data."""
import itertools
import os
import re
import socket
import time
import unittest
import urllib.request

from builder import Builder, call
from stack import ENTITIES, OURS, Stack, StackError, log_lines, tail

MAX_MB_ABOVE_BASE = 60
VERSION = "9.8.7"
SECRET = "planted-secret-4711"
PLANTED = {".env": f"ST_CLIENT_SECRET={SECRET}\n", "config/key.json": f'{{"private_key": "{SECRET}"}}\n', "deploy.sh": f"export ST_APP_KEY={SECRET}\n"}
NOT_IN_IT = re.compile(r"(gcc|g\+\+|cc|c\+\+|cpp|clang|tcc|as|ld|make|protoc|protoc-c|node|npm|python|git|st-local)([0-9.-]*)$")
STOP_SECONDS = 10  # the platform's patience between SIGTERM and SIGKILL
NUMBERS = itertools.count(1)
builder = files = None


def build():
    """Makes what the tests look at: the builder with its image, and the image's files. NoBuilder where that is not possible."""
    global builder, files
    builder = Builder()
    builder.prepare()
    builder.timed("build", builder.build, builder.copy_sources(PLANTED), VERSION)
    files = builder.mounted()


def close():
    if builder:
        builder.close()


def walk():
    """Path in the image and status of everything in it."""
    for folder, folders, names in os.walk(files):
        for name in folders + names:
            path = os.path.join(folder, name)
            yield "/" + os.path.relpath(path, files), os.lstat(path)


class ContainerStack(Stack):
    """st-local on this machine, st-ingestor in containers; settings come as environment variables, by name."""

    def words(self, command):
        if command[0] != "st-ingestor":
            return super().words(command)
        self.newest = f"st-{next(NUMBERS)}"
        names = [word for name in self.env if name.startswith(OURS) for word in ("--env", name)]
        return builder.run_words(*command[1:], options=["--network", "host", "--name", self.newest, *names])

    def start_company(self):
        self.start_local("--jobs", 1000, "--seed", 5)
        self.env.update(RATE_LIMIT_PER_SECOND="50", ST_RATE_BURST="60")
        self.ingestor("init")

    def podman(self, *words):
        return call(["podman", *builder.podman_flags, *words])

    def newest_process(self):
        """Name, number and users of what runs in the container that was started last, as seen in it."""
        pid = self.podman("inspect", "--format", "{{.State.Pid}}", self.newest).strip()
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
        return status["Name"].strip(), status["NSpid"].split()[-1], status["Uid"].split()


def wait_for(process, message):
    deadline = time.monotonic() + 60
    while not any(line["message"] == message for line in log_lines(process)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"'{message}' was not logged: {tail(process)}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Contents(unittest.TestCase):
    def test_size(self):
        self.assertLessEqual(builder.megabytes_above_base(), MAX_MB_ABOVE_BASE)

    def test_no_file_runs_with_other_rights(self):
        self.assertEqual([path for path, status in walk() if status.st_mode & 0o6000], [])

    def test_product_and_nothing_else(self):
        ours = sorted(path for path, _ in walk() if path.startswith("/opt/") and not (files / path[1:]).is_dir())
        sql = [path for path in ours if path.startswith("/opt/st-ingestor/sql/") and path.endswith(".sql")]
        self.assertEqual([path for path in ours if path not in sql],
                         [f"/opt/st-ingestor/{name}" for name in ("bin/st-ingestor", "config/config.json", "config/schema_registry.json")])
        self.assertEqual([path for path, _ in walk() if re.search(r"\.(c|h|o|a|duckdb)$|libduckdb", path)], [])

    def test_no_compiler(self):
        programs = [path for path, _ in walk() if re.match(r"(/usr(/local)?|/opt/st-ingestor)?/s?bin/|/usr/lib(exec)?/gcc", path)]
        self.assertIn("/opt/st-ingestor/bin/st-ingestor", programs)
        self.assertEqual([path for path in programs if NOT_IN_IT.match(os.path.basename(path)) or "/gcc" in path], [])

    def test_no_package_lists(self):
        self.assertEqual(os.listdir(files / "var/lib/apt/lists"), [])
        self.assertEqual([path for path, _ in walk() if path.endswith((".deb", "pkgcache.bin"))], [])

    def test_no_secret_gets_in(self):
        self.assertNotIn(SECRET, str(builder.inspect("st-ingestor")))
        with_it = [path for path, status in walk() if os.path.isfile(files / path[1:]) and SECRET.encode() in (files / path[1:]).read_bytes()]
        self.assertEqual(with_it, [])

    def test_certificates_and_time_zones(self):
        self.assertTrue((files / "usr/share/zoneinfo/America/Los_Angeles").exists())
        self.assertGreater((files / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE"), 50)

    def test_configuration(self):
        config = builder.inspect("st-ingestor")[1]["config"]
        self.assertEqual((config["Entrypoint"], config["Cmd"], config["WorkingDir"]), (["st-ingestor"], ["worker"], "/opt/st-ingestor"))
        self.assertRegex(config["User"], r"^[1-9][0-9]*:[1-9][0-9]*$")
        self.assertEqual(config["Labels"]["org.opencontainers.image.title"], "st-ingestor")
        self.assertEqual(config["Labels"]["org.opencontainers.image.version"], VERSION)
        self.assertEqual([variable.split("=")[0] for variable in config["Env"]], ["PATH"])


class Running(unittest.TestCase):
    def test_libraries_are_there(self):
        libraries = call(builder.run_words("/opt/st-ingestor/bin/st-ingestor", options=["--entrypoint", "ldd", "--network", "none"]))
        self.assertIn("libgrpc.so", libraries)
        self.assertEqual([line for line in libraries.splitlines() if "not found" in line], [])

    def test_help(self):
        self.assertIn("usage: st-ingestor COMMAND", call(builder.run_words("--help", options=["--network", "none"])))

    def test_worker_loads_a_company(self):
        with ContainerStack() as stack:
            stack.start_company()
            stack.ingestor("dispatch", "all", "--mode", "full")
            stack.drain()
            self.assertIn("campaigns", stack.ingestor("status").stdout)
            for entity in ENTITIES:
                self.assertEqual(stack.warehouse_count(entity), stack.source_count(entity), entity)
                self.assertGreater(stack.source_count(entity), 0)

    def test_sigterm_ends_a_busy_worker_that_is_process_1(self):
        with ContainerStack() as stack:
            stack.start_company()
            worker = stack.start("worker", "st-ingestor", "worker")
            wait_for(worker, "Worker started")
            self.assertEqual(stack.newest_process(), ("st-ingestor", "1", ["65532"] * 4))
            stack.ingestor("dispatch", "jobs", "--mode", "full")
            wait_for(worker, "Ingestion started")
            stopped = time.monotonic()
            worker.terminate()
            self.assertEqual(worker.wait(STOP_SECONDS), 0, tail(worker))
            builder.seconds["stop"] = time.monotonic() - stopped
            self.assertIn("Worker stopped", [line["message"] for line in log_lines(worker)])

    def test_serve(self):
        with ContainerStack() as stack:
            if "\n  serve " not in stack.ingestor("--help").stdout:
                self.skipTest("this program has no serve yet")
            stack.start_company()
            stack.env["PORT"] = str(free_port())
            serve = stack.start("serve", "st-ingestor", "serve")
            wait_for(serve, "HTTP API is listening")
            with urllib.request.urlopen(f"http://127.0.0.1:{stack.env['PORT']}/health", timeout=30) as reply:
                self.assertEqual(reply.status, 200)
            serve.terminate()
            self.assertEqual(serve.wait(STOP_SECONDS), 0, tail(serve))
