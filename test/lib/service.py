"""`st-ingestor serve` as a test sees it: a process, its port, requests over plain sockets. Standard library only."""
import contextlib
import http.client
import json
import os
import re
import socket
import time

from stack import StackError, log_lines, tail

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
START_S = 60


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def own_address():
    """An address of this machine that is not loopback; None when it has none."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return None
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


class Service:
    """Starts the service and waits until it listens."""

    def __init__(self, stack, *options, env=None, wrapper=()):
        deadline = time.monotonic() + START_S
        self.begin(stack, options, env, wrapper)
        while "HTTP API is listening" not in self.process.log.read_text(errors="replace"):
            if self.process.poll() is not None and "could not listen on port" in tail(self.process):
                self.begin(stack, options, env, wrapper)  # somebody else was given the port meanwhile
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"serve did not start: {tail(self.process)}")
            time.sleep(0.02)

    def begin(self, stack, options, env, wrapper):
        self.port = free_port()
        self.process = stack.start("serve", "st-ingestor", "serve", *options, env={"PORT": str(self.port), "LOG_LEVEL": "debug", **(env or {})}, wrapper=wrapper)

    def call(self, target, method="GET", headers=None, body=None, host="127.0.0.1", timeout=120):
        connection = http.client.HTTPConnection(host, self.port, timeout=timeout)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def connect(self, timeout=30):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def send(self, target, method="GET"):
        """A request whose answer is not read yet: the socket."""
        connection = self.connect()
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return connection

    def lines(self):
        return log_lines(self.process)

    def wait_for_line(self, matches, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            found = [line for line in self.lines() if matches(line)]
            if found:
                return found
            if time.monotonic() > deadline:
                raise StackError(f"no such log line: {tail(self.process)}")
            time.sleep(0.05)

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
