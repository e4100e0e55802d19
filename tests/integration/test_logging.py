"""The log: what it tells, at which level, where to, and that it never stops the server."""

import fcntl
import os
import re
import socket

from harness import ServerTestCase
from timing import wait_until

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (debug|info|warning|error|critical) \[[\w-]+\] \S.*$")


class Levels(ServerTestCase):
    REQUESTS = ("echo x", "bad", "")  # right ones, wrong ones, and none at all

    def exchange(self, server, *requests, count=50):
        client = self.connect(server)
        requests = requests or self.REQUESTS
        client.send(*requests * count)
        client.lines(len(requests) * count)
        client.close()
        server.wait_for_stats(lambda s: s["connections"] == 1, "the client is gone")

    def test_info_tells_starts_and_stops_and_no_request(self):
        """Fails when a request, a failure or a client is logged at info, or a start or stop is not."""
        server = self.start()
        server.stats()
        before = server.log()
        self.assertRegex(before, r"info \[main\] .*listening on 127\.0\.0\.1:\d+")
        self.exchange(server)
        self.assertEqual(server.log(), before)
        self.assertEqual(server.stop(), 0)
        after = server.log()[len(before):]
        self.assertRegex(after, r"(?i)info \[main\] .*(stop|drain)")
        for line in server.log().splitlines():
            self.assertRegex(line, LINE)

    def test_debug_lines_have_the_same_form(self):
        """Fails when lines of two threads are mixed up in one another."""
        server = self.start("--log-level=debug", "--workers=4")
        for _ in range(5):
            self.exchange(server, *self.REQUESTS, "throw")
        self.assertEqual(server.stop(), 0)
        for line in server.log().splitlines():
            self.assertRegex(line, LINE)

    def test_requests_cannot_forge_log_lines(self):
        """Fails when control bytes of a request reach the log."""
        server = self.start("--log-level=debug")
        client = self.connect(server)
        client.send(b"\x1b[31mred\r\x07", b"echo \x1b]0;title\x07", b"\x80\xff")
        client.lines(3)
        self.assertEqual(server.stop(), 0)
        self.assertNotRegex(server.log(), r"[\x00-\x09\x0b-\x1f\x7f]")

    def test_warning_leaves_info_out(self):
        """Fails when --log-level does not silence what is below it."""
        path = f"{self.temporary_directory()}/socket"
        for level in ("warning", "error"):
            with self.subTest(level=level):
                server = self.start(f"--log-level={level}", listen=(path,))
                self.assertEqual(self.connect(path).ask("echo x"), "result: x")
                self.assertEqual(server.stop(), 0)
                self.assertEqual(server.log(), "")


class LogsThatCannotBeWritten(ServerTestCase):
    """Each server listens on a unix socket, as there is no log to tell its port."""

    def check_serving(self, **settings):
        """The server answers much more than fits into any buffer of its log, and stops."""
        path = f"{self.temporary_directory()}/socket"
        server = self.start("--log-level=debug", "--workers=2", listen=(path,), **settings)
        for fd, target in server.process.descriptors().items():
            if fd in settings.get("close", ()):
                self.assertNotRegex(target, "socket|anon_inode", "what is written to stderr would go there")
        client = self.connect(path)
        for _ in range(10):
            client.send_aside(b"echo x\n" * 1000)
            self.assertEqual(client.lines(1000), ["result: x"] * 1000)
        client.finish()
        self.assertEqual(client.rest(), [])
        self.assertEqual(server.stop(), 0)

    def test_stderr_closed(self):
        """Fails when a closed stderr stops the server, or a client's socket takes its number and gets the log."""
        self.check_serving(close=[2])

    def test_all_standard_descriptors_closed(self):
        """Fails when descriptors 0 to 2 are reused for sockets, or the server needs them."""
        self.check_serving(close=[0, 1, 2])

    def test_full_device(self):
        """Fails when a failing write of the log stops the server."""
        with open("/dev/full", "wb") as full:
            self.check_serving(stderr=full)

    def test_pipe_that_nobody_reads(self):
        """Fails when the loop or a worker waits for someone to read the log."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        with open(writer, "wb") as stderr:
            self.check_serving(stderr=stderr)

    def test_pipe_without_a_reader(self):
        """Fails when SIGPIPE from the log ends the server."""
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as stderr:
            self.check_serving(stderr=stderr)


class JournalTestCase(ServerTestCase):
    CANNOT_LAUNCH = 125

    def start_with_journal(self, journal_stream, *options, **settings):
        """A server that sees a journal socket of the test; returns it and the records, in the order they came."""
        path = f"{self.temporary_directory()}/journal"
        journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(journal.close)
        journal.bind(path)
        journal.setblocking(False)
        stderr = open(f"{self.temporary_directory()}/stderr", "w+b")
        self.addCleanup(stderr.close)
        if journal_stream == "stderr":
            found = os.fstat(stderr.fileno())
            journal_stream = f"{found.st_dev}:{found.st_ino}"
        listen = f"{os.path.dirname(path)}/socket"
        server = self.launch(*options, listen=(listen,), stderr=stderr, journal=path,
                             env={"JOURNAL_STREAM": journal_stream}, **settings)
        wait_until(lambda: server.notify.named("READY") or server.child.poll() is not None, "the server gets ready")
        if server.child.poll() == self.CANNOT_LAUNCH:
            self.skipTest("a mount namespace is not permitted here")
        return server, journal, stderr.name

    def records(self, journal):
        found = []
        while True:
            try:
                data = journal.recv(1 << 16)
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line))


class Journal(JournalTestCase):
    def test_stderr_is_the_journal(self):
        """Fails when the native protocol is not used where JOURNAL_STREAM matches, or priorities are wrong."""
        server, journal, stderr = self.start_with_journal("stderr")
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        started = self.records(journal)
        self.assertTrue([r for r in started if "listening on" in r["MESSAGE"] and r["PRIORITY"] == "6"])
        self.assertEqual(server.stop(), 0)
        self.assertTrue(self.records(journal))
        with open(stderr) as file:
            self.assertEqual(file.read(), "")

    def test_priority_of_debug(self):
        """Fails when debug messages are not of syslog priority 7."""
        server, journal, _ = self.start_with_journal("stderr", "--log-level=debug")
        client = self.connect(server)
        found = []
        for _ in range(3):
            self.assertEqual(client.ask("echo x"), "result: x")
            found += self.records(journal)
        computed = [r for r in found if "computed task" in r["MESSAGE"]]
        self.assertTrue(computed)
        self.assertEqual({r["PRIORITY"] for r in computed}, {"7"})

    def test_ids_to_alert_on(self):
        """Fails when what is to be alerted on has no id, what is not has one, or who counts by ids counts a note of the count."""
        server, journal, _ = self.start_with_journal("stderr", "--task-timeout=10ms")
        found = self.records(journal)
        client = self.connect(server)
        client.send(*["sleep 500"] * 2)
        self.assertEqual(client.lines(2), ["ERROR: timed out after 10 ms"] * 2)
        wait_until(lambda: found.extend(self.records(journal)) or found[-1].get("POOL_SERVER_LEFT_OUT") == "1",
                   "the other is counted")
        by_event = {record["POOL_SERVER_EVENT"]: record for record in found[:-1]}
        self.assertEqual(by_event["task-timeout"]["MESSAGE_ID"], "7435456a707c4605b8381466377c2c5d")
        self.assertNotIn("POOL_SERVER_LEFT_OUT", by_event["task-timeout"])
        self.assertNotIn("MESSAGE_ID", by_event["listening"])
        self.assertEqual((found[-1]["POOL_SERVER_EVENT"], "MESSAGE_ID" in found[-1]), ("task-timeout", False))

    def test_stderr_is_something_else(self):
        """Fails when the journal is used although stderr was redirected, as by `systemd-run ... 2>file`."""
        server, journal, stderr = self.start_with_journal("1:2")
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        self.assertEqual(self.records(journal), [])
        with open(stderr) as file:
            self.assertIn("listening on", file.read())

    def test_journal_that_nobody_reads(self):
        """Fails when the loop or a worker waits for the journal."""
        server, _, _ = self.start_with_journal("stderr", "--log-level=debug")
        client = self.connect(server)
        client.send_aside(b"echo x\n" * 5000)
        self.assertEqual(client.lines(5000), ["result: x"] * 5000)
        self.assertEqual(server.stop(), 0)
