"""The protocol: which lines are requests, and which reply each gets."""

import hashlib

from harness import ServerTestCase
from timing import wait_until


def digest(data):
    return "result: " + hashlib.sha256(data).hexdigest()


class Digest(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.server = self.start(handler="digest")
        self.client = self.connect(self.server)

    def test_digest_of_the_bytes_of_the_line(self):
        """Fails when the digest covers the LF or CR, stops at a NUL, or changes bytes that are no text."""
        self.assertEqual(self.client.ask("good data"), digest(b"good data"))
        for line in (b"x", b" ", b"\t two  spaces ", b"nul \0 inside", b"\0", bytes(range(0x80, 0x100)),
                     "grüße".encode(), b"good data\r\r", b"cr \r inside", b"BAD", b"bad ", b"stats", b"STATS x"):
            with self.subTest(line=line):
                self.assertEqual(self.client.ask(line), digest(line.removesuffix(b"\r")))

    def test_carriage_return_before_lf_is_dropped(self):
        """Fails when a CR becomes part of the request."""
        self.client.send_bytes(b"good data\r\nbad\r\n\r\nSTATS\r\n")
        replies = self.client.lines(4)
        self.assertEqual(replies[:3], [digest(b"good data"), "ERROR: invalid input", "ERROR: empty request"])
        self.assertTrue(replies[3].startswith("stats: "))

    def test_bad_and_empty(self):
        """Fails when an error has another wording, is no reply of its own, or ends the connection."""
        self.client.send("bad", "", "bad", "ok")
        self.assertEqual(self.client.lines(4), ["ERROR: invalid input", "ERROR: empty request",
                                                "ERROR: invalid input", digest(b"ok")])


class EndOfInput(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.server = self.start("--workers=4")
        self.client = self.connect(self.server)

    def test_last_line_without_lf_is_a_request(self):
        """Fails when the last line is dropped, or half-close drops the replies still owed."""
        self.client.send_bytes(b"echo one\necho two")
        self.client.finish()
        self.assertEqual(self.client.rest(), ["result: one", "result: two"])

    def test_every_reply_owed_is_delivered_after_a_half_close(self):
        """Fails when the server closes at end of input with tasks running or queued."""
        for index in range(20):
            self.client.send("sleep 20", f"echo {index}")
        self.client.finish()
        expected = [line for index in range(20) for line in ("result: slept 20 ms", f"result: {index}")]
        self.assertEqual(self.client.rest(), expected)

    def test_no_request_at_all(self):
        """Fails when an end of input without a line is answered, or the connection stays open."""
        self.client.finish()
        self.assertEqual(self.client.rest(), [])

    def test_an_lf_at_the_end_adds_no_empty_request(self):
        """Fails when the end of input after an LF counts as an empty request."""
        self.client.send("echo x")
        self.client.finish()
        self.assertEqual(self.client.rest(), ["result: x"])

    def test_cr_at_the_very_end(self):
        """Fails when a last line that is only a CR, or ends in one, upsets the decoder."""
        self.client.send_bytes(b"echo x\r")
        self.client.finish()
        self.assertIn(self.client.rest(), (["result: x"], ["result: x?"]))

    def test_half_closed_client_costs_no_cpu(self):
        """Fails when the server spins on the end of input while a task still runs."""
        self.client.send("sleep 1500")
        self.client.finish()
        before = self.server.process.cpu_seconds()
        self.assertEqual(self.client.rest(), ["result: slept 1500 ms"])
        self.assertLess(self.server.process.cpu_seconds() - before, 0.5)


class LongLines(ServerTestCase):
    def check_limit(self, client, limit):
        too_long = f"ERROR: line too long (max {limit} bytes)"
        fits = "echo " + "f" * (limit - 5)
        client.send(fits, fits + "f", fits + "f" * 100000, "echo after")
        client.send_bytes(b"z" * (limit + 1) + b"\r\n" + fits.encode() + b"\r\n")
        self.assertEqual(client.lines(6), ["result: " + fits[5:], too_long, too_long, "result: after", too_long,
                                           "result: " + fits[5:]])

    def test_default_limit_is_64_kib(self):
        """Fails when the limit is off by one, the rest of a long line is not skipped, or the default changes."""
        server = self.start()
        self.check_limit(self.connect(server), 65536)

    def test_max_line(self):
        """Fails when --max-line is not heeded, or its size suffix misread."""
        for option, limit in (("16", 16), ("1KiB", 1024)):
            with self.subTest(option=option):
                self.check_limit(self.connect(self.start(f"--max-line={option}")), limit)

    def test_endless_line_is_not_kept(self):
        """Fails when the server gathers a line that never ends, or answers it more than once."""
        server = self.start()
        client = self.connect(server)
        self.assertEqual(client.ask("echo warm"), "result: warm")
        before = server.process.resident_bytes()
        for _ in range(64):
            client.send_bytes(b"e" * (1 << 20))
        self.assertLess(server.process.resident_bytes() - before, 8 << 20)
        client.send_bytes(b"\necho on\n")
        self.assertEqual(client.lines(2), ["ERROR: line too long (max 65536 bytes)", "result: on"])

    def test_long_line_without_lf_at_the_end_of_input(self):
        """Fails when a too long last line gets no reply, or two."""
        client = self.connect(self.start("--max-line=10"))
        client.send_bytes(b"echo x\n" + b"z" * 5000)
        client.finish()
        self.assertEqual(client.rest(), ["result: x", "ERROR: line too long (max 10 bytes)"])


class Replies(ServerTestCase):
    def test_no_control_byte_in_a_reply(self):
        """Fails when a request's control bytes come back, or bytes of UTF-8 text are harmed."""
        client = self.connect(self.start())
        for code in [*range(1, 10), *range(11, 32), 127, 0]:
            with self.subTest(code=code):
                text = b"a" + bytes([code]) + b"b"
                self.assertEqual(client.ask(b"echo " + text), "result: a?b")
        self.assertEqual(client.ask("echo grüße €"), "result: grüße €")

    def test_order_with_tasks_of_different_length(self):
        """Fails when a quick task overtakes a slow one of the same connection."""
        client = self.connect(self.start("--workers=4"))
        lines = [line for index in range(30) for line in (f"sleep {index * 7 % 20}", f"echo {index}", "fail")]
        client.send(*lines)
        expected = [reply for index in range(30) for reply in
                    (f"result: slept {index * 7 % 20} ms", f"result: {index}", "ERROR: task failed")]
        self.assertEqual(client.lines(90), expected)

    def test_tasks_of_one_connection_run_side_by_side(self):
        """Fails when the server computes one connection's tasks one after the other."""
        server = self.start("--workers=4")
        client = self.connect(server)
        client.send(*["sleep 600"] * 4)
        wait_until(lambda: server.stats()["active_workers"] == 4, "four tasks at once")
        self.assertEqual(client.lines(4), ["result: slept 600 ms"] * 4)

    def test_drill(self):
        """Fails when a word of the drill handler answers something else."""
        client = self.connect(self.start())
        invalid = "ERROR: invalid input"
        for line, reply in (("echo some words", "result: some words"), ("sleep 3", "result: slept 3 ms"),
                            ("spin 3", "result: spun 3 ms"), ("sleep 0", "result: slept 0 ms"),
                            ("fail", "ERROR: task failed"), ("throw", "ERROR: internal error"), ("bad", invalid),
                            ("sleep", invalid), ("sleep x", invalid), ("sleep -1", invalid), ("spin 1x", invalid),
                            ("sleep 99999999999999999999", invalid), ("echoes", invalid), ("FAIL", invalid)):
            with self.subTest(line=line):
                self.assertEqual(client.ask(line), reply)

    def test_spin_burns_cpu(self):
        """Fails when `spin` only waits, so that it would rehearse nothing."""
        server = self.start()
        before = server.process.cpu_seconds()
        self.assertEqual(self.connect(server).ask("spin 400"), "result: spun 400 ms")
        self.assertGreater(server.process.cpu_seconds() - before, 0.1)
