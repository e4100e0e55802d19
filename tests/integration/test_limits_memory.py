"""What clients can make the server hold is bounded: what may come of their requests counts, not what is there."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import sanitizer
from test_plugins import PluginTestCase
from timing import PATIENCE, Stopwatch, wait_until

MIB = 1 << 20
REPLY = 65_000  # bytes
# What the allocator keeps beside what is held: a string that grows is twice as large for a while, and each
# worker has an arena of its own.
OVERHEAD = 3
SLACK = 24 * MIB


@unittest.skipIf(sanitizer(), "sanitizers have memory of their own")
class HeldMemory(PluginTestCase):
    def start_long(self, *options):
        server = self.start_plugin("unruly", *options)
        self.assertEqual(self.connect(server).ask("echo warm"), "result: warm")
        return server

    def ask_and_not_read(self, server, count, request, clients=1):
        """So many clients ask so often, and read nothing."""
        silent = [self.connect(server) for _ in range(clients)]
        for client in silent:
            client.send_bytes(request.encode() * count)
        return silent

    def settled(self, server):
        """Waits until the server works no more; the highest memory it had."""
        seen = [0, -1, 0]  # completed, completed before, peak

        def quiet():
            stats = server.stats()
            seen[2] = max(seen[2], server.process.resident_bytes())
            seen[1], seen[0] = seen[0], stats["completed"]
            return not stats["active_workers"] and seen[0] == seen[1]
        wait_until(quiet, "the server has nothing more to do")
        return seen[2]

    def read_all(self, client, count, size):
        left = count * (len("result: \n") + size)
        lines = 0
        while left:
            data = client.socket.recv(1 << 20)
            self.assertTrue(data, "the server closed before all replies came")
            left -= len(data)
            lines += data.count(b"\n")
        self.assertEqual(lines, count)

    def test_one_client_is_bounded_by_max_unsent(self):
        """Fails when requests in flight do not count with their replies: 50 KiB then make the server hold 432 MiB."""
        server = self.start_long()
        before = server.process.resident_bytes()
        silent = self.ask_and_not_read(server, 1024, f"long {REPLY}\n", clients=5)
        growth = self.settled(server) - before
        self.assertLess(growth, 5 * OVERHEAD * MIB + SLACK)
        self.read_all(silent[0], 1024, REPLY)  # nothing is lost by it

    def test_long_replies_come_one_at_a_time(self):
        """Fails when a client gets as many replies of --max-reply made as it likes to ask for."""
        size = 5_000_000
        server = self.start_long("--max-reply=5MiB")
        before = server.process.resident_bytes()
        silent = self.ask_and_not_read(server, 40, f"long {size}\n")
        self.assertLess(self.settled(server) - before, 2 * OVERHEAD * size + SLACK)
        self.read_all(silent[0], 40, size)

    def test_all_clients_are_bounded_by_max_memory(self):
        """Fails when many clients together pass --max-memory, or a client that reads does not get through beside them."""
        server = self.start_long("--max-memory=16MiB")
        before = server.process.resident_bytes()
        silent = self.ask_and_not_read(server, 24, f"long {REPLY}\n", clients=24)
        polite = self.connect(server)
        self.assertLess(self.settled(server) - before, OVERHEAD * 16 * MIB + SLACK)
        for i in range(50):
            asked = Stopwatch()
            self.assertEqual(polite.ask(f"echo {i}"), f"result: {i}")
            self.assert_quick(asked.seconds, 1)
        self.assertTrue(server.log_lines("warning .*wait for memory"))
        for client in silent:
            self.read_all(client, 24, REPLY)

    def test_busy_instead_of_waiting(self):
        """Fails when --overload reject leaves a client waiting for memory instead of telling it."""
        server = self.start_long("--max-memory=1MiB", "--max-unsent=64MiB", "--overload=reject")
        (client,) = self.ask_and_not_read(server, 64, f"long {REPLY}\n")
        self.settled(server)
        replies = client.lines(64)
        busy = replies.count("ERROR: server busy")
        self.assertGreater(busy, 32)
        self.assertEqual(replies.count("result: " + "x" * REPLY), 64 - busy)

    def test_half_lines_do_not_stop_the_others(self):
        """Fails when long lines that are never completed use up the memory, and nobody is served any more."""
        server = self.start_long("--max-memory=4MiB", "--max-line=2MiB", "--line-timeout=300ms")
        halves = [self.connect(server) for _ in range(10)]
        for half in halves:
            half.send_aside(b"x" * 1_900_000)
        other = self.connect(server)
        self.assertEqual(other.ask("echo fine"), "result: fine")
        for half in halves:
            self.assertEqual(half.rest(PATIENCE)[-1:], ["ERROR: request not completed in time"])

    def test_a_half_line_whose_time_is_over(self):
        """Fails when a client that is being seen out keeps the memory of a line that it will not complete."""
        server = self.start("--max-memory=4MiB", "--max-line=2MiB", "--line-timeout=300ms")
        leaving, other = self.connect(server), self.connect(server)
        leaving.send("sleep 60000")
        leaving.send_aside(b"x" * 1_900_000)
        server.wait_for_stats(lambda stats: stats["slow_lines"] == 1, "its line took too long")
        text = "x" * 600_000
        other.send_aside(f"echo {text}\n".encode())
        self.assertEqual(other.line(), f"result: {text}")
        server.kill()

    def test_lines_that_fill_the_memory_are_answered(self):
        """Fails when requests that were read, and wait for memory, are what keeps it: nobody is served any more."""
        server = self.start("--max-memory=4MiB", "--max-line=2MiB")
        text = "x" * 1_900_000
        clients = [self.connect(server) for _ in range(4)]
        for client in clients:
            client.send_aside(f"echo {text}".encode())
        wait_until(lambda: self.connect(server).ask("echo fine") == "result: fine", "a client beside them")
        for client in clients:
            client.send_aside(b"\n")
        with ThreadPoolExecutor(len(clients)) as readers:  # one that does not read holds up the others
            self.assertEqual(set(readers.map(lambda client: client.line(), clients)), {f"result: {text}"})
        self.assertEqual(server.stop(), 0)

    def test_a_last_line_that_does_not_fit(self):
        """Fails when an unfinished last line, completed by the end of input, is never answered for want of memory."""
        server = self.start("--max-memory=4MiB", "--max-line=2MiB")
        client = self.connect(server)
        text = "x" * 1_900_000
        client.send_bytes(f"echo {text}".encode())
        client.finish()
        self.assertEqual(client.rest(), [f"result: {text}"])

    LARGE, SMALL = ((b"echo " + b"x" * size + b"\n") * (4 * MIB // size) for size in (8000, 60))

    def fill(self, clients, requests):
        """Each of them asks for all that the server lets it have, and reads nothing."""
        for client in clients:
            client.send_until_blocked(requests, len(requests), quiet=0.1)

    def test_room_is_left_for_who_comes_late(self):
        """Fails when those who came while there were few keep what is the share of those who come later."""
        server = self.start("--max-memory=4MiB")
        # The first come while there are few; small requests fill what large ones leave.
        self.fill((self.connect(server, receive_buffer=4096) for _ in range(14)), self.LARGE + self.SMALL)
        late = self.connect(server)
        self.assertEqual(late.ask("echo hi"), "result: hi")
        self.assertTrue(late.ask("STATS").startswith("stats: "))
        self.assertTrue(server.log_lines(" warning .*wait for memory"))

    def test_half_lines_leave_room(self):
        """Fails when many lines that are begun and not completed keep those waiting who ask for little."""
        server = self.start("--max-memory=1MiB", "--max-connections=600")
        before = self.connect(server)
        self.assertEqual(before.ask("echo before"), "result: before")
        halves = [self.connect(server) for _ in range(500)]
        for half in halves:
            half.send_aside(b"x" * 4000)
        server.wait_for_log("wait for memory")
        self.assertEqual(before.ask("echo after"), "result: after")
        self.assertEqual(self.connect(server).ask("echo new"), "result: new")

    def test_a_line_that_the_server_does_not_read_is_not_slow(self):
        """Fails when a client is told that it was too slow with what lies in the server's receive buffer."""
        server = self.start("--max-memory=1MiB", "--line-timeout=500ms", "--send-timeout=3s")
        self.fill([self.connect(server, receive_buffer=4096) for _ in range(8)], self.LARGE)
        client = self.connect(server)
        text = "y" * 60_000
        client.send(f"echo {text}")
        self.assertEqual(client.line(), f"result: {text}")  # once the silent ones are cut off
