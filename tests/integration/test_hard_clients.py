"""Hard cases that clients make: resets, reused descriptors, no reading, odd pieces, floods of lines."""

import signal

from harness import ServerTestCase, sanitizer
from procfs import bytes_in_flight
from timing import SLOWDOWN, wait_until

MIB = 1 << 20


class ClientsThatReset(ServerTestCase):
    def test_reset_mid_task(self):
        """Fails when a reset ends the server, disturbs other clients, or keeps a worker for good."""
        server = self.start("--workers=2")
        steady = self.connect(server)
        for index in range(20):
            leaving = [self.connect(server) for _ in range(4)]
            for client in leaving:
                client.send("sleep 10", "echo lost", "throw")
            steady.send("sleep 1", f"echo {index}")
            for client in leaving:
                client.reset()
            self.assertEqual(steady.lines(2), ["result: slept 1 ms", f"result: {index}"])
        stats = server.wait_for_stats(lambda s: s["connections"] == 2 and not s["active_workers"], "only the steady")
        self.assertEqual((stats["queue_depth"], stats["workers"]), (0, 2))

    def replace(self, server, first):
        """Resets the client and returns a new one that has its descriptor number in the server."""
        numbers = server.process.sockets()
        first.reset()
        wait_until(lambda: len(server.process.sockets()) < len(numbers), "the reset is noticed")
        second = self.connect(server)
        wait_until(lambda: server.process.sockets() == numbers, "the descriptor number is used again")
        return second

    def check_is_itself(self, second, index):
        second.send(f"echo mine {index}", "fail", f"echo and mine {index}")
        second.finish()
        expected = [f"result: mine {index}", "ERROR: task failed", f"result: and mine {index}"]
        self.assertEqual(second.rest(), expected)
        second.close()

    def test_late_results_do_not_reach_the_next_client(self):
        """Fails when results are routed by descriptor or slot alone: the next client would get another's replies."""
        server = self.start("--workers=2")
        server.stats()
        for index in range(20):
            first = self.connect(server)
            first.send("spin 60", *["echo secret"] * 50, "sleep 60")
            server.wait_for_stats(lambda s: s["active_workers"] > 0, "the tasks run")
            self.check_is_itself(self.replace(server, first), index)
            server.wait_for_stats(lambda s: s["connections"] == 1, "the second is gone")

    def test_reset_new_client_and_late_result_in_one_round(self):
        """Fails when a stale event or result of the same loop round reaches the new owner of the descriptor."""
        server = self.start("--workers=2")
        server.stats()
        for index in range(20):
            first = self.connect(server)
            first.send("sleep 20", *["echo secret"] * 50)
            wait_until(lambda: bytes_in_flight(server.port) == 0, "the lines are read")
            server.signal(signal.SIGSTOP)
            first.reset()
            second = self.connect(server)
            second.send(f"echo early {index}")
            server.signal(signal.SIGCONT)
            self.assertEqual(second.line(), f"result: early {index}")
            self.check_is_itself(second, index)

    def test_late_timeout_does_not_reach_the_next_client(self):
        """Fails when a deadline outlives its connection and answers the next one with that slot."""
        server = self.start("--workers=2", "--task-timeout=400ms")
        server.stats()
        first = self.connect(server)
        first.send("sleep 30000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        second = self.replace(server, first)
        second.send("echo mine", *["sleep 150"] * 4)
        self.assertEqual(second.lines(5), ["result: mine"] + ["result: slept 150 ms"] * 4)
        second.finish()
        self.assertEqual(second.rest(), [])


class ClientsThatNeverRead(ServerTestCase):
    def check(self, handler, data, memory=16 * MIB):
        server = self.start("--workers=2", handler=handler)
        server.stats()
        before = server.process.resident_bytes()
        silent = self.connect(server, receive_buffer=4096)
        sent = silent.send_until_blocked(data, limit=256 * MIB)
        self.assertLess(sent, 256 * MIB, "the server read on although its replies were not read")
        if not sanitizer():
            self.assertLess(server.process.resident_bytes() - before, memory)
        idle = server.process.cpu_seconds()
        other = self.connect(server)
        for _ in range(100):
            self.assertNotEqual(other.ask("bad"), "")
        self.assertLess(server.process.cpu_seconds() - idle, 1 * SLOWDOWN)
        return server, silent, sent

    def test_long_replies(self):
        """Fails when unread replies pile up, reading goes on, others wait, or a reply is lost in the end."""
        line = b"echo " + b"r" * 50000 + b"\n"
        _, silent, sent = self.check("drill", line)
        silent.send_aside(line[sent % len(line):] if sent % len(line) else b"")
        for _ in range(-(-sent // len(line))):
            self.assertEqual(silent.line(), "result: " + "r" * 50000)

    def test_replies_much_longer_than_requests(self):
        """Fails when the bound on unread replies is checked only before a read, not for what one read brings."""
        self.check("digest", b"x\n" * 65536)

    def test_stats_that_are_never_read(self):
        """Fails when replies that need no task are not bounded like others."""
        self.check("drill", b"STATS\n" * 32768)

    def test_refusals_that_are_never_read(self):
        """Fails when replies to empty lines, one byte each, are not bounded like others."""
        self.check("drill", b"\n" * 131072)


class OddPieces(ServerTestCase):
    def test_one_byte_at_a_time(self):
        """Fails when a line is taken for ended where a read ended, or bytes between reads are lost."""
        server = self.start("--log-level=debug")
        slow, other = self.connect(server), self.connect(server)
        for number, byte in enumerate(b"echo slow\r\n\nbad\necho end", start=1):
            slow.send_bytes(bytes([byte]))
            wait_until(lambda: len(server.log_lines("read 1 bytes")) >= number, f"byte {number} is read alone")
            if number % 5 == 0:
                self.assertEqual(other.ask(f"echo {number}"), f"result: {number}")
        slow.finish()
        self.assertEqual(slow.rest(), ["result: slow", "ERROR: empty request", "ERROR: invalid input", "result: end"])

    def test_pieces_of_every_size(self):
        """Fails when a line that spans reads is cut, doubled or joined with its neighbour."""
        client = self.connect(self.start())
        data = b"".join(b"echo %d %b\n" % (index, b"p" * (index * 37 % 3000)) for index in range(200))
        offset, size = 0, 1
        while offset < len(data):
            client.send_bytes(data[offset:offset + size])
            offset, size = offset + size, size * 7 % 9973 + 1
        for index in range(200):
            self.assertEqual(client.line(), f"result: {index} {'p' * (index * 37 % 3000)}")


class ManyPipelinedLines(ServerTestCase):
    KINDS = (("echo {0}", "result: {0}"), ("fail", "ERROR: task failed"), ("echo again {0}", "result: again {0}"),
             ("", "ERROR: empty request"), ("throw", "ERROR: internal error"), ("bad", "ERROR: invalid input"),
             ("z" * 200, "ERROR: line too long (max 100 bytes)"))

    def check(self, *options):
        server = self.start("--max-line=100", *options)
        client = self.connect(server)
        pairs = [self.KINDS[index * 5 % len(self.KINDS)] for index in range(20000)]
        data = "".join(request.format(index) + "\n" for index, (request, _) in enumerate(pairs))
        client.send_aside(data.encode())
        for index, (_, reply) in enumerate(pairs):
            self.assertEqual(client.line(), reply.format(index))
        client.finish()
        self.assertEqual(client.rest(), [])
        stats = server.stats()
        tasks = sum(request not in ("", "z" * 200) for request, _ in pairs)
        errors = sum(reply.startswith("ERROR") for _, reply in pairs)
        self.assertEqual((stats["completed"], stats["errors"], stats["queue_depth"]), (tasks, errors, 0))

    def test_twenty_thousand_lines(self):
        """Fails when a reply is lost, doubled or out of place among thousands, or a failure shifts the others."""
        self.check()

    def test_twenty_thousand_lines_through_a_queue_of_eight(self):
        """Fails when pausing and resuming at a full queue loses or repeats lines already read."""
        self.check("--queue-capacity=8", "--workers=2")
