"""Allocations that fail while the server serves: each costs at most the connection it was for."""

import contextlib
import unittest
from pathlib import Path

from harness import BINARY, ServerTestCase, sanitizer

PRELOADED = str(Path(BINARY).parents[1] / "tests/plugins/failing_malloc.so")
LONG = "echo " + "m" * 5000
REQUESTS = ["echo x", "STATS", "bad", "", "throw", LONG, "echo " + "w" * 70_000] * 3


@unittest.skipIf(sanitizer(), "the sanitizer's runtime has its own malloc")
class AllocationsOfTheLoop(ServerTestCase):
    def start_with(self, number, path):
        """A server whose loop gets no memory at its number-th allocation after the second client came."""
        return self.start(listen=(path,), prefix=(
            "/usr/bin/env", f"LD_PRELOAD={PRELOADED}", f"FAIL_MALLOC={number}", "FAIL_MALLOC_AFTER_ACCEPTS=2"))

    def ask_all(self, path):
        """What a client with many kinds of requests gets, until the end or a reset."""
        client = self.connect(path)
        with contextlib.suppress(OSError):  # a reset
            client.send_aside("".join(line + "\n" for line in REQUESTS).encode())
        got = []
        try:
            for _ in REQUESTS:
                line = client.line()
                got.append("stats" if line.startswith("stats:") else line)
        except AssertionError as end:
            self.assertRegex(str(end), "closed|reset")
        return got

    def test_each(self):
        """Fails when one that fails ends the server, costs another client anything, or makes a reply wrong."""
        path = f"{self.temporary_directory()}/socket"
        server = self.start(listen=(path,))
        right = self.ask_all(path)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(right), len(REQUESTS))
        failed = 0
        for number in range(1, 120):
            with self.subTest(number=number):
                server = self.start_with(number, path)
                staying = self.connect(path)
                self.assertEqual(staying.ask("echo first"), "result: first")
                got = self.ask_all(path)
                self.assertEqual(got, right[:len(got)])
                told = server.log_lines("(closing connection|cannot accept|lines were lost)")
                if len(got) < len(right):
                    failed += 1
                    self.assertTrue(told, server.log())
                elif not told:  # it is still to come, or was for something that can do without
                    server.kill()
                    continue
                self.assertEqual(staying.ask("echo still here"), "result: still here")
                self.assertEqual(self.connect(path).ask("echo a newcomer"), "result: a newcomer")
                self.assertEqual(server.stop(), 0)
        self.assertGreater(failed, 5)
