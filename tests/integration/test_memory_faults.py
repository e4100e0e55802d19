"""Allocations that fail while the server serves: each costs at most the connection it was for."""

import contextlib
import json
import re
import signal
import unittest
from pathlib import Path

from harness import BINARY, ServerTestCase, plugin, sanitizer
from http_client import Answer, ask, connect, read_all, request
from timing import wait_until

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


class ReloadTestCase(ServerTestCase):
    def start_failing(self, number, config):
        """A server whose loop gets no memory at its number-th allocation after a client came, and that client."""
        self.config = Path(self.temporary_directory()) / "config"
        self.config.write_text(config)
        server = self.start(f"--config={self.config}", listen=(f"{self.config}.socket",), handler=None, prefix=(
            "/usr/bin/env", f"LD_PRELOAD={PRELOADED}", f"FAIL_MALLOC={number}", "FAIL_MALLOC_AFTER_ACCEPTS=1"))
        self.addCleanup(server.kill)
        client = self.connect(server)
        self.assertEqual(client.ask("echo first"), "result: first")
        return server, client

    def is_taken(self, server, config, count=1):
        """Whether the configuration is taken over at the count-th reload of this server."""
        self.config.write_text(config)
        server.signal(signal.SIGHUP)
        verdicts = wait_until(lambda: len(found := re.findall("configuration (reloaded|not changed: )", server.log())) == count
                              and found, f"{count} reloads")
        return verdicts[-1] == "reloaded"

    def last_refused(self, is_refused):
        """The last allocation of all that a reload can be refused for."""
        few, many = 1, 1 << 15
        self.assertFalse(is_refused(many))
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (middle, many) if is_refused(middle) else (few, middle)
        self.assertGreater(few, 100)
        return few


@unittest.skipIf(sanitizer(), "the sanitizer's runtime has its own malloc")
class AllocationsOfAReload(ReloadTestCase):
    def is_refused(self, number):
        """Whether a reload that sets a limit is refused, where one allocation fails."""
        server, staying = self.start_failing(number, "handler=drill\n")
        refused = not self.is_taken(server, "handler=drill\nmax-connections-per-peer=2\n")
        if refused:  # the one that fails is behind it
            for newcomer in [self.connect(server) for _ in range(2)]:
                self.assertEqual(newcomer.ask("echo no limit"), "result: no limit")
            self.assertEqual(staying.ask("echo still here"), "result: still here")
        server.kill()
        return refused

    def test_the_last(self):
        """Fails when a reload that lacks memory for its last steps leaves some of its effects."""
        last = self.last_refused(self.is_refused)
        for number in range(last - 20, last):
            with self.subTest(number=number):
                self.is_refused(number)


@unittest.skipIf(sanitizer(), "the sanitizer's runtime has its own malloc")
class AllocationsOfAHandlersReload(ReloadTestCase):
    OUTCOMES = "has been loaded anew|the handler (stays as it was|is not loaded anew)|lines were lost"

    def is_refused(self, number):
        """Whether one of two reloads, the second while the first still loads the handler, is refused."""
        awaited = Path(self.temporary_directory()) / "awaited"
        config = f"handler={plugin('unruly_shared')}\nworkers=1\n"
        server, staying = self.start_failing(number, config)
        config += f"handler-option=until={awaited}\n"
        refused = not all([self.is_taken(server, config, count) for count in (1, 2)])
        if not refused:
            awaited.touch()
            wait_until(lambda: len(server.log_lines(self.OUTCOMES)) >= 2, "it has come of both what may")
            try:
                self.assertEqual(staying.ask("echo still here"), "result: still here")
            except AssertionError:
                self.its_own = bool(server.log_lines("closing connection"))
                self.assertTrue(self.its_own, server.log())
        server.kill()
        return refused

    def test_each(self):
        """Fails when a handler that is loaded anew and lacks memory for a step ends the server, or vanishes in silence."""
        self.its_own = False
        number = self.last_refused(self.is_refused)
        while not self.its_own:  # until it is the client's connection that it costs
            number += 1
            with self.subTest(number=number):
                self.is_refused(number)


@unittest.skipIf(sanitizer(), "the sanitizer's runtime has its own malloc")
class AllocationsForAVisitor(ServerTestCase):
    def visit(self, address, path):
        """The answer, or None where the connection ended without a whole one."""
        with connect(address) as visitor, contextlib.suppress(ConnectionError):
            visitor.sendall(request(path))
            data = read_all(visitor)
            if b"\r\n\r\n" in data:
                answer = Answer(data)
                return answer if len(answer.body) == int(answer.headers["content-length"]) else None
        return None

    def test_each(self):
        """Fails when one that fails ends the server, costs a client anything, or makes an answer wrong."""
        directory = self.temporary_directory()
        path, monitor = f"{directory}/socket", f"{directory}/monitor"
        failed, number, its_own = 0, 0, False
        while not its_own:  # until it is a client's again
            number += 1
            with self.subTest(number=number):
                server = self.start(f"--monitor={monitor}", listen=(path,), prefix=(
                    "/usr/bin/env", f"LD_PRELOAD={PRELOADED}", f"FAIL_MALLOC={number}", "FAIL_MALLOC_AFTER_ACCEPTS=2"))
                self.addCleanup(server.kill)
                staying = self.connect(path)
                self.assertEqual(staying.ask("echo first"), "result: first")
                answers = [self.visit(monitor, what) for what in ("/state.json", "/metrics", "/history.json", "/")]
                if answers[0]:
                    self.assertEqual(json.loads(answers[0].body)["state"], "serving")
                self.assertTrue({answer.status for answer in answers if answer} <= {200})
                missing = answers.count(None)
                self.assertLessEqual(missing, 1)
                failed += missing
                try:
                    self.assertEqual(staying.ask("echo still here"), "result: still here")
                except AssertionError:
                    its_own = missing == 0 and bool(server.log_lines("closing connection"))
                    self.assertTrue(its_own)
                self.assertEqual(ask(monitor, "/readyz").text, "ready\n")
                server.kill()
        self.assertGreater(failed, 20)
        self.assertGreater(number, 100)
