"""Row R8: Helgrind and DRD find nothing in a run with 30 clients and a SIGTERM, without a suppression file."""

import re
import shutil
import signal
import unittest
from pathlib import Path

from harness import ServerTestCase, sanitizer
from http_client import ask, connect, request
from test_program import UNRULY
from timing import PATIENCE, wait_until

CLEAN = "ERROR SUMMARY: 0 errors from 0 contexts"


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
@unittest.skipIf(sanitizer(), "a binary with a sanitizer does not run under valgrind")
class Races(ServerTestCase):
    def check(self, tool, *options):
        report = Path(self.temporary_directory(), "report")
        prefix = ("valgrind", f"--tool={tool}", "--error-exitcode=9", f"--log-file={report}")
        server = self.launch("--task-timeout=20s", *options, prefix=prefix)
        wait_until(lambda: server.notify.named("READY"), "the server gets ready under valgrind", 6 * PATIENCE)
        clients = [self.connect(server) for _ in range(30)]
        for number, client in enumerate(clients):
            client.send(*(line for index in range(10) for line in (f"echo {number} {index}", "fail", "throw")),
                        "sleep 30")
        for client in clients[::5]:
            client.line(6 * PATIENCE)
            client.reset()
        staying = [pair for pair in enumerate(clients) if pair[0] % 5]
        for number, client in staying:
            expected = [reply for index in range(10) for reply in
                        (f"result: {number} {index}", "ERROR: task failed", "ERROR: internal error")]
            self.assertEqual(client.lines(30, 6 * PATIENCE), expected)
        server.signal()
        for _, client in staying:
            self.assertEqual(client.rest(6 * PATIENCE), ["result: slept 30 ms"])
        status = server.wait_exit(6 * PATIENCE)
        self.assertTrue(CLEAN in report.read_text(), report.read_text())
        self.assertEqual(status, 0)

    def test_helgrind(self):
        """Fails when Helgrind finds a race, a lock misused or an order of locks that can deadlock."""
        self.check("helgrind", "--workers=4")

    def check_programs(self, tool):
        report = Path(self.temporary_directory(), "report")
        prefix = ("valgrind", f"--tool={tool}", "--error-exitcode=9", f"--log-file={report}")
        server = self.launch(f"--program={UNRULY}", "--workers=1-3", "--task-timeout=3s", handler=None, prefix=prefix)
        wait_until(lambda: server.notify.named("READY"), "the server gets ready under valgrind", 6 * PATIENCE)
        client = self.connect(server)
        client.send("hang", *["sleep 50"] * 10, *["exit 1", "two", "echo x"] * 5)
        replies = client.lines(26, 6 * PATIENCE)
        self.assertEqual(replies[0], "ERROR: timed out after 3000 ms")
        self.assertEqual(replies[11:], ["ERROR: worker crashed (exit status 1)", "result: first", "result: x"] * 5)
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log_lines("configuration reloaded"), "it is reloaded")
        self.assertEqual(client.ask("echo y", 6 * PATIENCE), "result: y")
        self.assertEqual(server.stop(), 0)
        self.assertTrue(CLEAN in report.read_text(), report.read_text())

    def test_helgrind_with_programs(self):
        """Fails when what workers share about their programs is not properly locked."""
        self.check_programs("helgrind")

    def test_drd_with_programs(self):
        """Fails when DRD finds a race between workers that run programs, and the loop."""
        self.check_programs("drd")

    def check_isolated(self, tool):
        report = Path(self.temporary_directory(), "report")
        prefix = ("valgrind", f"--tool={tool}", "--error-exitcode=9", f"--log-file={report}.%p")
        server = self.launch("--isolate=yes", "--workers=1-3", "--task-timeout=3s", prefix=prefix)
        wait_until(lambda: server.notify.named("READY"), "the server gets ready under valgrind", 6 * PATIENCE)
        clients = [self.connect(server) for _ in range(4)]
        for client in clients:
            client.send(*["echo x"] * 100, "hang 60000", *["echo y"] * 100)
        for client in clients:
            self.assertEqual(client.lines(201, 6 * PATIENCE),
                             ["result: x"] * 100 + ["ERROR: timed out after 3000 ms"] + ["result: y"] * 100)
        server.signal(signal.SIGHUP)
        server.wait_for_log("has been loaded anew")
        self.assertEqual(clients[0].ask("echo z", 6 * PATIENCE), "result: z")
        self.assertEqual(server.stop(), 0)
        text = Path(f"{report}.{server.pid}").read_text()
        self.assertTrue(CLEAN in text, text)

    def test_helgrind_isolated(self):
        """Fails when what workers give ahead to their processes, and the loop takes back, is not properly locked."""
        self.check_isolated("helgrind")

    def test_drd_isolated(self):
        """Fails when DRD finds a race between workers that have processes, and the loop."""
        self.check_isolated("drd")

    def test_drd(self):
        """Fails when DRD finds a race or a misused condition variable."""
        self.check("drd", "--workers=4")

    def test_helgrind_while_the_pool_breathes(self):
        """Fails when growing and shrinking the pool is not properly locked."""
        self.check("helgrind", "--workers=1-6", "--worker-idle-timeout=200ms", "--queue-capacity=20")

    def test_helgrind_with_a_monitor(self):
        """Fails when what a monitor looks at is not properly locked, under any name but that of a library's own end."""
        faults = self.monitored("--tool=helgrind")
        # libp11-kit, which nothing here uses, destroys mutexes as it is unloaded that it had initialized statically.
        self.assertEqual([fault for fault in faults if "libp11-kit" not in fault], [])

    def test_memcheck_with_a_monitor(self):
        """Fails when a visitor makes the server use memory that is not its own, lose some, or keep a descriptor."""
        self.assertEqual(self.monitored("--tool=memcheck", "--leak-check=full", "--track-fds=yes"), [])

    def monitored(self, *how):
        """What valgrind has to say of a server with a monitor, each with its stack."""
        report = Path(self.temporary_directory(), "report")
        address = f"{self.temporary_directory()}/monitor"
        server = self.launch(f"--monitor={address}", f"--agent={address}.agent", "--workers=1-3", prefix=(
            "valgrind", *how, f"--log-file={report}"))
        wait_until(lambda: server.notify.named("READY"), "the server gets ready under valgrind", 6 * PATIENCE)
        client = self.connect(server)
        for _ in range(10):
            client.send("echo x", "fail", "throw", "sleep 5")
            for path in ("/", "/metrics", "/readyz", "/state.json", "/history.json", "/nothing"):
                self.assertIn(ask(address, path).status, (200, 404))
            self.assertRegex(self.connect(f"{address}.agent").line(6 * PATIENCE), "^up [0-9]+% ready$")
        client.lines(40, 6 * PATIENCE)
        wait_until(lambda: ask(address, "/history.json").json["rows"], "a step is over", 6 * PATIENCE)
        waiting = [connect(address) for _ in range(20)]
        for visitor in waiting[::2]:
            visitor.sendall(request("/metrics"))
        server.signal()
        self.assertEqual(server.wait_exit(6 * PATIENCE), 0)
        for visitor in waiting:
            visitor.close()
        text = re.sub(r"^==\d+== ?", "", report.read_text(), flags=re.M)
        blocks = re.split(r"\n\n|-{30,}\n", text)
        own = f"Open file descriptor [0-9]+: {report}"  # valgrind's
        return [block for block in blocks if re.search(r"^ +(at|by) 0x|^Open (file descriptor|AF_)|definitely lost: [1-9]", block, re.M)
                and not re.search(own, block)]
