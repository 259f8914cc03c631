"""The HTTP API under load and against clients that are slow, broken or hostile: no error, no leak, bounded memory, and others are served meanwhile."""
import resource
import selectors
import socket
import time
import unittest

from service import Service
from stack import Stack

REQUESTS, CONNECTIONS = 10000, 200
TARGETS = ("/health", "/metrics", "/entities", "/health?tenant=1234567", "/ingest/nope", "/entities?x=1")
WANTED = (200, 200, 200, 200, 404, 400)
SLOW, PER_ADDRESS = 300, 768
GROWTH_KIB = 2048  # of the resident set between two equal rounds: the allocator's own jitter is below 500
SLOW_KIB = 300 * 33 + 2048  # so many connections with a full head each (32 KiB), and the same jitter
FIRST_REQUEST_S, LATE_S = 10, 20


class Client:
    """One kept-alive connection that sends a request whenever the answer to the one before is whole."""

    def __init__(self, port, number):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.number = number
        self.data = b""

    def send(self, target):
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def read(self):
        """The status, once the whole answer is there; else None."""
        piece = self.socket.recv(65536)
        if not piece:
            raise AssertionError(f"connection {self.number} was closed after {self.data!r}")
        self.data += piece
        head, separator, body = self.data.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        if len(body) < length:
            return None
        self.data = body[length:]
        return int(head.split(b" ")[1])


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start_local("--jobs", 20)
        cls.stack.ingestor("init")

    def setUp(self):
        self.service = Service(self.stack, env={"LOG_LEVEL": "info"})
        self.addCleanup(self.service.process.kill)

    def round(self, requests, connections, targets, wanted):
        """All requests over all connections at once; returns the statuses that were not wanted."""
        clients = [Client(self.service.port, number) for number in range(connections)]
        selector = selectors.DefaultSelector()
        sent, done, wrong = 0, 0, []
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        waiting = list(clients)
        while done < requests:
            for client in waiting:
                if sent < requests:
                    client.turn = sent % len(targets)
                    client.send(targets[client.turn])
                    sent += 1
            waiting = []
            events = selector.select(60)
            self.assertTrue(events, f"no answer for a minute after {done} of {requests}")
            for key, _ in events:
                status = key.data.read()
                if status is None:
                    continue
                done += 1
                waiting.append(key.data)
                if status != wanted[key.data.turn]:
                    wrong.append((targets[key.data.turn], status))
        for client in clients:
            client.socket.close()
        return wrong

    def wait_for_descriptors(self, at_most):
        deadline = time.monotonic() + 30
        while self.service.descriptors() > at_most:
            self.assertLess(time.monotonic(), deadline, f"{self.service.descriptors()} descriptors, {at_most} at the start")
            time.sleep(0.05)

    def assert_memory(self, kib, bound_kib):
        """Under a sanitizer the resident set is mostly the sanitizer's: no statement about the program."""
        if self.stack.build.name == "build":
            self.assertLess(kib, bound_kib)

    def test_ten_thousand_requests_over_two_hundred_connections(self):
        at_start = self.service.descriptors()
        self.assertEqual(self.round(REQUESTS, CONNECTIONS, TARGETS, WANTED), [])
        self.wait_for_descriptors(at_start)
        warm = self.service.rss_kib()
        self.assertEqual(self.round(REQUESTS, CONNECTIONS, TARGETS, WANTED), [])
        self.wait_for_descriptors(at_start)
        self.assert_memory(self.service.rss_kib() - warm, GROWTH_KIB)

    def test_questions_and_publishing_at_once(self):
        """Each of these asks the local BigQuery or publishes: fewer requests, the same 200 connections."""
        targets = ("/ingest/jobs?wait=false", "/last-sync/jobs", "/ready", "/health")
        for _ in range(2):
            self.assertEqual(self.round(400, CONNECTIONS, targets, (202, 200, 200, 200)), [])
            self.wait_for_descriptors(CONNECTIONS // 2)  # only connections to Google's stand-in are kept

    def test_slow_clients_are_cut_and_hurt_nobody(self):
        before = self.service.rss_kib()
        slow = [self.service.connect() for _ in range(SLOW)]
        begun = time.monotonic()
        for number, connection in enumerate(slow):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Fill: " + b"x" * (12000 if number % 2 else 10))
            connection.setblocking(False)
        open_ones, most = list(slow), 0
        while open_ones:  # one byte a second or so each, which keeps an idle time-out away
            for connection in list(open_ones):
                try:
                    connection.send(b"y")
                    if connection.recv(1000) == b"":
                        open_ones.remove(connection)
                except BlockingIOError:
                    pass
                except OSError:
                    open_ones.remove(connection)
            self.assertEqual(self.service.call("/health").status, 200)
            most = max(most, self.service.rss_kib() - before)
            self.assertLess(time.monotonic() - begun, FIRST_REQUEST_S + LATE_S, f"{len(open_ones)} of {SLOW} slow clients are still there")
            time.sleep(0.2)
        self.assert_memory(most, SLOW_KIB)
        for connection in slow:
            connection.close()

    def test_one_address_cannot_take_all_connections(self):
        """The service is started with fewer descriptors than it needs, as many systems do; it raises the limit itself."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        self.service = Service(self.stack, wrapper=("prlimit", "--nofile=600:4096"))
        held = [self.service.connect() for _ in range(PER_ADDRESS + 100)]
        for connection in held[:PER_ADDRESS]:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 200 ", connection.recv(4096))
        for connection in held[PER_ADDRESS:]:
            self.assertEqual(connection.recv(1), b"")
        with socket.create_connection(("127.0.0.1", self.service.port), 30, ("127.0.0.2", 0)) as other:
            other.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 200 ", other.recv(4096))
        for connection in held:
            connection.close()
        self.service.process.kill()

    def talk(self, data):
        """All that comes back until the server closes; the client ends its own sending when `data` is out."""
        connection = self.service.connect()
        answer = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            pass  # reset: cut off, as it should be
        finally:
            connection.close()
        return answer

    def test_oversize_and_broken_requests(self):
        host = b"Host: localhost\r\n"
        cases = [
            ("target of 5000 bytes", b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n" + host + b"\r\n", (414,)),
            ("target of 1 MB", b"GET /" + b"x" * 1000000 + b" HTTP/1.1\r\n" + host + b"\r\n", (0, 414)),
            ("header of 17000 bytes", b"GET /health HTTP/1.1\r\n" + host + b"X: " + b"x" * 17000 + b"\r\n\r\n", (431,)),
            ("header of 1 MB", b"GET /health HTTP/1.1\r\n" + host + b"X: " + b"x" * 1000000 + b"\r\n\r\n", (0, 413, 431)),
            ("100000 headers", b"GET /health HTTP/1.1\r\n" + host + b"A: b\r\n" * 100000 + b"\r\n", (0, 413, 431)),
            ("body of 100 kB", b"POST /full-sync/jobs?wait=false HTTP/1.1\r\n" + host + b"Content-Length: 100000\r\n\r\n" + b"x" * 100000, (413,)),
            ("body of 1 TB", b"POST /full-sync/jobs?wait=false HTTP/1.1\r\n" + host + b"Content-Length: 1000000000000\r\n\r\n" + b"x" * 1000, (413,)),
            ("chunked body of 4 MB", b"POST /full-sync/jobs?wait=false HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + (b"\r\n1000\r\n" + b"x" * 4096) * 1000, (0, 413)),
            ("broken chunk", b"POST /full-sync/jobs?wait=false HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", (0, 400)),
            ("bad length", b"POST /full-sync/jobs?wait=false HTTP/1.1\r\n" + host + b"Content-Length: -5\r\n\r\n", (0, 400, 413)),
            ("half a body", b"POST /full-sync/jobs?wait=false HTTP/1.1\r\n" + host + b"Content-Length: 50\r\n\r\nabc", (0, 400)),
            ("half a head", b"GET /health HTTP/1.1\r\nHos", (0, 400)),
            ("nothing", b"", (0,)),
            ("no host", b"GET /health HTTP/1.1\r\n\r\n", (200, 400)),
            ("no version", b"GET /health\r\n\r\n", (0, 400, 505)),
            ("garbage", bytes(range(256)) * 64, (0, 400)),
            ("zeros", b"\0" * 10000, (0, 400)),
            ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500, (0, 400)),
            ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (0, 400, 404, 505)),
            ("NUL in the target", b"GET /hea\0lth HTTP/1.1\r\n" + host + b"\r\n", (0, 400, 404)),
            ("%00 in the target", b"GET /status/%00 HTTP/1.1\r\n" + host + b"\r\n", (400,)),
            ("absolute target", b"GET http://localhost/health HTTP/1.1\r\n" + host + b"\r\n", (404,)),
            ("not UTF-8", b"GET /status/\xff\xfe HTTP/1.1\r\n" + host + b"\r\n", (404,)),
            ("half-closed", b"GET /health HTTP/1.1\r\n" + host + b"\r\n", (200,)),
        ]
        for name, data, statuses in cases:
            with self.subTest(name):
                answer = self.talk(data)
                self.assertIn(int(answer.split(b" ")[1]) if answer else 0, statuses, answer[:300])
                if statuses in ((414,), (431,), (413,), (400,), (404,)):
                    self.assertIn(b'{"success":false,"error":', answer)
        self.assertEqual(self.service.call("/health").status, 200)

    def test_broken_requests_take_no_memory(self):
        data = [b"GET /" + b"x" * 200000, b"POST /full-sync/jobs?wait=false HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000,
                bytes(range(256)) * 400, b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 20000, b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n"]
        at_start = self.service.descriptors()
        for _ in range(20):
            for one in data:
                self.talk(one)
        warm = self.service.rss_kib()
        for _ in range(20):
            for one in data:
                self.talk(one)
        self.assert_memory(self.service.rss_kib() - warm, GROWTH_KIB)
        self.wait_for_descriptors(at_start)


if __name__ == "__main__":
    unittest.main()
