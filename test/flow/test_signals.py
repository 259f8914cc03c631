"""Signals that come early, and one that is nobody's: the long-running programs end in order."""
import os
import signal
import socket
import unittest

from stack import Stack, free_port, log_lines, tail, wait_until

SOON_S = 60


class Signals(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.stop)

    def start_local(self):
        self.stack.start_local("--jobs", 1)
        self.stack.env["PORT"] = str(free_port())

    def assert_orderly_end(self, process):
        self.assertEqual(process.wait(SOON_S), 0, tail(process))
        self.assertIn("Shutdown asked for", "".join(line["message"] for line in log_lines(process)))

    def test_a_signal_while_settings_are_read_ends_the_program_in_order(self):
        self.start_local()
        for command in ("worker", "serve"):
            with self.subTest(command):
                pipe = self.stack.data / f"{command}.env"
                os.mkfifo(pipe)
                process = self.stack.start(command, "st-ingestor", command, "--env-file", pipe)
                with open(pipe, "wb"):  # opens when the program reads it
                    process.send_signal(signal.SIGTERM)
                self.assert_orderly_end(process)

    def test_a_worker_that_waits_for_the_warehouse_at_its_start_ends_in_order(self):
        self.start_local()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(SOON_S)
            process = self.stack.start("worker", "st-ingestor", "worker", env={"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:%d" % silent.getsockname()[1]})
            connection, _ = silent.accept()
            with connection:
                self.assertTrue(connection.recv(1))
                process.send_signal(signal.SIGTERM)
                self.assert_orderly_end(process)

    def test_a_worker_waits_out_an_outage_at_its_start(self):
        self.stack.env["ST_CLOCK_SCALE"] = "100"
        self.start_local()
        self.stack.ingestor("init")
        self.stack.fault("bigquery.*", "status", status=503, count=100000)
        stays = self.stack.start("worker", "st-ingestor", "worker")
        waits = "The warehouse does not answer; the worker waits and asks again"
        wait_until("patience", lambda: [line["message"] for line in log_lines(stays)].count(waits) >= 2)
        self.stack.clear_faults()
        wait_until("start", lambda: any(line["message"] == "Worker started" for line in log_lines(stays)))
        stays.send_signal(signal.SIGTERM)
        self.assert_orderly_end(stays)

    def test_a_foreign_sigusr2_does_not_make_the_program_deaf(self):
        self.start_local()
        process = self.stack.start("serve", "st-ingestor", "serve")
        wait_until("listening", lambda: any("listening" in line["message"] for line in log_lines(process)))
        process.send_signal(signal.SIGUSR2)
        wait_until("the signal's arrival", lambda: not pending(process.pid))
        process.send_signal(signal.SIGTERM)
        self.assert_orderly_end(process)


def pending(pid):
    """Signals that wait for the program as a whole."""
    with open(f"/proc/{pid}/status") as status:
        return any(int(line.split()[1], 16) for line in status if line.startswith("ShdPnd:"))


if __name__ == "__main__":
    unittest.main()
