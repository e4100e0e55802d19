"""Row R8: Helgrind and DRD find nothing in a run with 30 clients and a SIGTERM, without a suppression file."""

import shutil
import unittest
from pathlib import Path

from harness import ServerTestCase, sanitizer
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

    def test_drd(self):
        """Fails when DRD finds a race or a misused condition variable."""
        self.check("drd", "--workers=4")

    def test_helgrind_while_the_pool_breathes(self):
        """Fails when growing and shrinking the pool is not properly locked."""
        self.check("helgrind", "--workers=1-6", "--worker-idle-timeout=200ms", "--queue-capacity=20")
