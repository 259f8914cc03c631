"""Secrets appear where the protocol needs them and nowhere else: every secret is marked, servers echo what they are sent, logs are at debug, and all
that the programs leave behind is searched for parts of the marks, as they are, percent-encoded and in base64."""
import base64
import json
import pathlib
import resource
import signal
import subprocess
import time
import urllib.parse
import unittest

import letters
from mirror import ECHOES, Mirror, Search, mark, plain, problem
from service import Service
from stack import ROOT, Stack, free_port, http, log_lines, tail, wait_until

SCALE = 300
STATUSES = (400, 401, 403, 404, 500, 302, 429, 200, 409, 503)
ENDS = ("Task rejected", "Task deferred", "Task not finished", "Ingestion completed")


class Secrets(unittest.TestCase):
    def setUp(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self.stack = stack = Stack()
        self.addCleanup(stack.stop)
        stack.env.update(ST_CLOCK_SCALE=str(SCALE), ST_CLOCK_BASE=str(int(time.time())))
        stack.start_local("--jobs", 30, "--seed", 12)
        self.marks = {name: mark(name.removeprefix("ST_").lower()) for name in ("ST_CLIENT_ID", "ST_CLIENT_SECRET", "ST_APP_KEY", "API_TOKEN")}
        auth = stack.env["ST_AUTH_URL"]
        self.mirror = Mirror({"/auth": auth, "/api": stack.env["ST_API_URL"]}, {self.marks[name]: stack.env[name] for name in self.marks if name != "API_TOKEN"})
        self.addCleanup(self.mirror.stop)
        stack.env.update(self.marks, ST_AUTH_URL=f"{self.mirror.url}/auth", ST_API_URL=f"{self.mirror.url}/api", LOG_LEVEL="debug",
                         RATE_LIMIT_PER_SECOND="60", ST_RATE_BURST="120")
        self.outputs = []
        self.ingestor("init")

    # ---- what is searched ----
    def keep(self, name, text):
        self.outputs.append((name, text))

    def ingestor(self, *words, env=None):
        done = self.stack.run("st-ingestor", *words, env=env, check=False, timeout=120)
        self.keep(" ".join(map(str, words)), f"{done.stdout}\n{done.stderr}")
        return done

    def secrets(self):
        return {**self.marks, **{f"access token {i}": token for i, token in enumerate(self.mirror.tokens)}}

    def gather(self):
        """Everything that was left behind: outputs, logs, tables, dead letters and other messages."""
        texts = list(self.outputs)
        texts += [(path.name, path.read_text(errors="replace")) for path in sorted(self.stack.data.glob("*.log"))]
        base = f"{self.stack.env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{self.stack.env['BQ_PROJECT_ID']}/datasets/st_logs_v2/tables?maxResults=1000"
        tables = [t["tableReference"]["tableId"] for t in http(base)["tables"] if t["type"] == "TABLE"]
        self.assertGreater(len(tables), 5)
        texts += [(name, json.dumps(self.stack.query(f"SELECT * FROM `{{p}}.st_logs_v2.{name}`"))) for name in tables]
        for subscription in (letters.DEAD_LETTERS, "st-ingest-worker", "st-backfill-worker"):
            texts += [(f"message in {subscription}", f"{letter.data.decode(errors='replace')}\n{letter.attributes}") for letter in letters.held(self.stack, subscription)]
        return texts

    def assert_nowhere(self, named=None):
        search = Search(named or self.secrets())
        self.assert_it_would_be_found(search, named or self.secrets())
        texts = self.gather()
        found = [(name, search.find(text)) for name, text in texts]
        self.assertEqual([(name, where) for name, where in found if where], [])
        return sum(len(text) for _, text in texts)

    def assert_it_would_be_found(self, search, named):
        for name, secret in named.items():
            for hidden in (secret, secret[:14], secret[-14:], urllib.parse.quote(secret, safe=""), base64.b64encode(f"a:{secret}".encode()).decode(),
                           base64.urlsafe_b64encode(f"ab:{secret}:".encode()).decode(), base64.b64encode(f"abc:{secret}".encode()).decode()):
                self.assertIn(name, search.find(f'{{"message":"could not: {hidden}"}}'), hidden)

    def assert_sent(self):
        """The positive control: the marks travelled to the servers, and the same search finds them there."""
        found = Search(self.secrets()).find("\n".join(self.mirror.seen))
        self.assertEqual(set(found), set(self.secrets()) - {"API_TOKEN"})

    # ---- what happens ----
    def ends(self, worker):
        return len([line for line in log_lines(worker) if line["message"].startswith(ENDS)])

    def provoke(self, worker, path, status, echo):
        """A task under a server that answers so; until it has ended in some way, and the echo was heard."""
        before, heard = self.ends(worker), self.mirror.echoed
        self.mirror.echo = (path, status, echo)
        self.ingestor("dispatch", "campaigns")
        wait_until("the echo", lambda: self.mirror.echoed > heard)
        wait_until("the end", lambda: self.ends(worker) > before)

    def start_worker(self):
        worker = self.stack.start("worker", "st-ingestor", "worker", env={"WORKER_PORT": str(free_port())})
        wait_until("the start", lambda: "Worker started" in tail(worker, 1 << 20))
        return worker

    def look(self, worker):
        for path in ("/health", "/ready", "/metrics", "/nowhere"):
            status, headers, body = self.stack.get(worker, path)
            self.keep(f"worker {path}", f"{status} {headers} {body}")
        self.keep("process list", pathlib.Path(f"/proc/{worker.pid}/cmdline").read_text())

    def test_worker_under_servers_that_echo(self):
        worker = self.start_worker()
        for number, echo in enumerate(ECHOES):
            self.provoke(worker, "/api", STATUSES[number], echo)
        self.mirror.echo = None
        self.ingestor("dispatch", "campaigns")
        wait_until("a success", lambda: any(line["message"] == "Ingestion completed" for line in log_lines(worker)))
        self.look(worker)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(60), 0, tail(worker))
        self.assertGreater(len(letters.held(self.stack)), 3)
        for words in (("dlq", "list"), ("dlq", "list", "--json"), ("dlq", "stats"), ("dlq", "show", letters.held(self.stack)[0].id), ("runs",), ("runs", "--json"), ("status",),
                      ("last-sync",), ("dlq", "replay"), ("query",)):
            self.ingestor(*words)
        self.assert_sent()
        self.assert_nowhere()
        self.assertTrue(any("***" in text for _, text in self.gather()), "no echo has reached an error: this test tests nothing")

    def test_worker_under_a_token_endpoint_that_echoes(self):
        for number, echo in enumerate(ECHOES):  # each a new process: a token that was got would be kept
            if STATUSES[number] == 302:
                continue
            worker = self.start_worker()
            self.provoke(worker, "/auth", STATUSES[number], echo)
            worker.send_signal(signal.SIGTERM)
            self.assertEqual(worker.wait(60), 0, tail(worker))
        self.mirror.echo = ("/auth", 400, plain)
        self.ingestor("backfill", "campaigns", "--from", "2000-01-01", "--dry-run")
        self.mirror.echo = None
        self.ingestor("backfill", "campaigns", "--from", "2000-01-01", "--dry-run")
        self.assert_sent()
        self.assert_nowhere()

    def test_a_crash(self):
        self.mirror.echo = ("/api", 500, problem)
        worker = self.start_worker()
        self.ingestor("dispatch", "campaigns")
        wait_until("the echo", lambda: self.mirror.echoed)
        worker.send_signal(signal.SIGABRT)
        self.assertEqual(worker.wait(60), -signal.SIGABRT)
        self.stack.processes.remove(worker)  # it has crashed, as it should
        self.assert_sent()
        self.assert_nowhere()

    def test_the_http_api(self):
        self.mirror.echo = ("/api", 403, problem)
        worker = self.start_worker()
        service = Service(self.stack)
        token = self.marks["API_TOKEN"]
        tries = [{}, {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {token[:-1]}"}, {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"},
                 {"Authorization": token}, {"Cookie": token}]
        for sent in tries:
            for path in ("/health", "/ready", "/entities", "/metrics", "/status/campaigns", "/last-sync/campaigns", "/tasks/x", "/nowhere"):
                reply = service.call(path, headers=sent)
                self.keep(f"serve {path}", f"{reply.status} {reply.headers} {reply.text}")
        self.assertEqual(service.call("/entities").status, 401)
        reply = service.call("/ingest/campaigns?mode=full&timeout=600", "POST", headers=tries[1])
        self.keep("serve /ingest", f"{reply.status} {reply.headers} {reply.text}")
        self.assertIn("http_403", reply.text)
        self.keep("process list", pathlib.Path(f"/proc/{service.process.pid}/cmdline").read_text())
        for process in (worker, service.process):
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        self.assert_sent()
        self.assert_nowhere()

    def test_commands_and_wrong_settings(self):
        env_file = self.stack.data / "secrets.env"
        env_file.write_text("".join(f"{name} {value}\nexport {name}='{value}'\n{name}x={value}\n" for name, value in self.marks.items()))
        twisted = {name: value[:20] + "\n" + value for name, value in self.marks.items()}
        for words, env in ((("--help",), None), (("config", "show"), None), (("config", "show", "--env-file", env_file), None), (("config", "options"), None), (("worker", "--help"), None),
                           (("config", "entities", "--json"), None), (("config", "show"), twisted), (("worker", "--drain", "--idle", "1"), twisted), (("dispatch", "campaigns", "--dry-run"), twisted), (("serve",), {"API_TOKEN": self.marks["API_TOKEN"][:15]}),
                           (("backfill", "campaigns", "--from", "2000-01-01", "--dry-run"), twisted), (("worker", "--env-file", env_file, "--idle", "1"), None),
                           (("schema", "ddl"), None), (("dispatch", "nothing"), None), (("worker",), {"ST_CLIENT_SECRET": ""}), (("worker",), {"LOG_LEVEL": "loud"})):
            self.ingestor(*words, env=env)
        self.assert_nowhere()

    def test_google_credentials(self):
        """A key file and a login, and a token endpoint that repeats the form."""
        key = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout
        private = {f"line {i} of the private key": line for i, line in enumerate(key.splitlines()) if len(line) > 40}
        self.assertGreater(len(private), 20)
        account = {"type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": key, "client_email": "robot@p.iam.gserviceaccount.com", "token_uri": f"{self.mirror.url}/google"}
        login = {"type": "authorized_user", "client_id": "app.example", "client_secret": mark("login_secret"), "refresh_token": mark("refresh"), "token_uri": f"{self.mirror.url}/google"}
        named = {"login secret": login["client_secret"], "refresh token": login["refresh_token"]}
        for content in (account, login):
            path = self.stack.data / f"{content['type']}.json"
            path.write_text(json.dumps(content))
            for number, echo in enumerate(ECHOES):
                self.mirror.echo = ("/google", STATUSES[number], echo)
                done = self.ingestor("dispatch", "campaigns", env={"PUBSUB_EMULATOR_HOST": "", "GOOGLE_APPLICATION_CREDENTIALS": str(path)})
                self.assertEqual(done.returncode, 1, done.stderr)
        (self.stack.data / "cut.json").write_text(json.dumps(account)[:-300])
        (self.stack.data / "wrong.json").write_text(json.dumps({**account, "private_key": key[:700]}))
        for name in ("cut.json", "wrong.json"):
            self.ingestor("dispatch", "campaigns", env={"PUBSUB_EMULATOR_HOST": "", "GOOGLE_APPLICATION_CREDENTIALS": str(self.stack.data / name)})
        requests = [whole for whole in self.mirror.seen if whole.startswith("POST /google")]
        forms = [urllib.parse.parse_qs(whole.split("\n", 1)[1]) for whole in requests]
        signatures = {form["assertion"][0].rsplit(".")[-1] for form in forms if "assertion" in form}  # two of one second are the same
        named.update({f"signature {i}": signature for i, signature in enumerate(sorted(signatures))})
        found = set(Search(named).find("\n".join(requests)))
        self.assertEqual(found, set(named))
        self.assert_nowhere({**named, **private})


if __name__ == "__main__":
    unittest.main()
