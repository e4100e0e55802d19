"""Servers that cannot start, or hardly can: they say so in one line, with a status that tells whether to try again."""

import os
import re
import socket
import unittest
from pathlib import Path

from harness import BINARY, RUNTIME_ERROR, USAGE_ERROR, ServerTestCase, run_to_end, sanitizer
from test_logging import JournalTestCase
from timing import wait_until

PRELOADED = str(Path(BINARY).parents[1] / "tests/plugins/failing_malloc.so")


@unittest.skipIf(sanitizer(), "the sanitizer's runtime has its own needs")
class TooLittle(ServerTestCase):
    def check_line(self, server, pattern):
        """Its log is one line, not counting what it says before it knows."""
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        lines = server.log_lines("^pool-server: ")
        self.assertEqual(len(lines), 1, server.log())
        self.assertRegex(lines[0], pattern)
        self.assertEqual(server.notify.named("READY"), [])

    def test_memory(self):
        """Fails when an allocation before the first thread that cannot be had ends in an abort, or without one line."""
        path = f"{self.temporary_directory()}/socket"
        failed = 0
        # The first are the libraries' own, before there is a main(); the later ones are many threads'.
        for number in range(50, 1200, 29):
            server = self.launch(listen=(path,), prefix=(
                "/usr/bin/env", f"LD_PRELOAD={PRELOADED}", f"FAIL_MALLOC={number}"))
            wait_until(lambda: server.notify.named("READY") or server.child.poll() is not None, "a start or an end")
            if server.child.poll() is None:
                self.assertEqual(server.stop(), 0)
                continue
            failed += 1
            self.check_line(server, "out of memory|bad_alloc")
        self.assertGreater(failed, 5)

    def test_stack(self):
        """Fails when the main thread needs more than 64 KiB of stack, or a worker has as little."""
        server = self.start("--workers=2-8", limits={"STACK": 64 * 1024})
        client = self.connect(server)
        client.send(*["echo x", "sleep 5", "STATS", ""] * 200)
        self.assertEqual(len(client.lines(800)), 800)
        server.signal(1)
        server.wait_for_log("reloaded")
        mapped = Path(f"/proc/{server.pid}/maps").read_text()
        sizes = [int(end, 16) - int(begin, 16) for begin, end in re.findall(r"^(\w+)-(\w+) rw-p", mapped, re.M)]
        self.assertGreaterEqual(sum(size >= 8 << 20 for size in sizes), 2)
        self.assertEqual(server.stop(), 0)

    def test_descriptors(self):
        """Fails when a server is ready though its limit of descriptors leaves none for a client."""
        for limit in range(6, 40):
            server = self.launch(limits={"NOFILE": limit})
            wait_until(lambda: server.notify.named("READY") or server.child.poll() is not None, "a start or an end")
            if server.child.poll() is None:
                break
            self.check_line(server, "(?i)too many open files|descriptors")
        self.assertIn(limit, range(10, 30))
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        self.assertEqual(server.stop(), 0)


class ExitStatus(ServerTestCase):
    def test_what_cannot_mend_itself(self):
        """Fails when a wrong command line or configuration has the status of what may pass, or the reverse."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text("workers=none\n")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            for status, options in (
                    (USAGE_ERROR, ["--nosuch"]), (USAGE_ERROR, ["--handler=nosuch"]),
                    (USAGE_ERROR, ["--handler=password", "--handler-option=method=rot13"]),
                    (USAGE_ERROR, ["--config", str(config)]),
                    (RUNTIME_ERROR, ["--config", f"{config}-missing"]),
                    (RUNTIME_ERROR, ["--handler=/nonexistent.so"]),
                    (RUNTIME_ERROR, [f"--listen=127.0.0.1:{taken.getsockname()[1]}"])):
                with self.subTest(options=options):
                    ended = run_to_end(*options)
                    self.assertEqual(ended.returncode, status, ended.stderr)
                    self.assertRegex(ended.stderr, r"\Apool-server: .*\n\Z")

    def test_standard_output_that_is_full(self):
        """Fails when an answer that could not be given is a success."""
        ended = run_to_end(command=["/bin/sh", "-c", f"exec {BINARY} --help > /dev/full"])
        self.assertEqual(ended.returncode, RUNTIME_ERROR)
        self.assertEqual(ended.stderr, "pool-server: cannot write to standard output\n")


class InTheJournal(JournalTestCase):
    def check(self, event, *options, told, status):
        server, journal, stderr = self.start_with_journal("stderr", *options, handler=None)
        self.assertEqual(server.wait_exit(), status)
        record = self.records(journal)[-1]
        self.assertRegex(record["MESSAGE"], told)
        self.assertEqual((record["PRIORITY"], record["POOL_SERVER_EVENT"]), ("3", event))
        self.assertEqual(Path(stderr).read_text(), "")
        return record

    def test_the_reason_is_an_error_with_an_explanation(self):
        """Fails when `journalctl -p err` does not show why a start failed, or an alert cannot find it."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text("workers=none\n")
        for status, told, options in ((RUNTIME_ERROR, "cannot be loaded", ["--handler=/nonexistent.so"]),
                                      (USAGE_ERROR, "nosuch", ["--nosuch"]),
                                      (USAGE_ERROR, "none", ["--config", str(config), "--log-level=error"])):
            record = self.check("start-failed", *options, told=told, status=status)
            self.assertEqual(record["MESSAGE_ID"], "47fa7f0d6de64ac5a9017d4a970732f8")

    def test_a_check_is_no_start(self):
        """Fails when the faults that --check-config finds for a reload are no errors, or look like a failed start."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text("workers=none\n")
        self.check("check-failed", "--check-config", str(config), told="config:1: .*none", status=RUNTIME_ERROR)


class Files(ServerTestCase):
    def test_lines_of_a_file_are_not_written_over(self):
        """Fails when standard error is a file that was not opened for appending, and one line covers another."""
        path = Path(self.temporary_directory()) / "stderr"
        with open(path, "wb") as stderr, socket.create_server(("127.0.0.1", 0)) as taken:
            server = self.launch("--max-connections=10000000", stderr=stderr,
                                 listen=(f"127.0.0.1:{taken.getsockname()[1]}",))
            self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
            stderr.write(b"whoever else has it\n")
        first, second, third = path.read_text().splitlines()
        self.assertRegex(first, "warning .* is too low for 10000000 connections$")
        self.assertRegex(second, "^pool-server: .*in use$")
        self.assertEqual(third, "whoever else has it")

    def test_a_file_that_may_not_grow(self):
        """Fails when the largest file allowed (ulimit -f) ends the server by SIGXFSZ."""
        path = Path(self.temporary_directory()) / "stderr"
        with open(path, "ab") as stderr:
            server = self.start("--log-level=debug", stderr=stderr, limits={"FSIZE": 1000},
                                listen=(f"{self.temporary_directory()}/socket",))
            client = self.connect(server)
            client.send(*["echo x"] * 100)
            self.assertEqual(client.lines(100), ["result: x"] * 100)
            self.assertEqual(server.stop(), 0)
        self.assertEqual(os.path.getsize(path), 1000)
