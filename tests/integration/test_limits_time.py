"""Limits on time: to complete a line, to read replies, to be idle. Each says why, counts, and harms nobody else."""

import selectors
import threading

from client import Client
from harness import ServerTestCase
from manager import RestartTestCase
from timing import PATIENCE, SLOWDOWN, Stopwatch, let_pass, wait_until

SLOW_LINE = "ERROR: request not completed in time"
IDLE = "ERROR: idle for too long"


class PoliteClient:
    """Asks one question after the other while the test does something else."""

    def __init__(self, address):
        self.worst, self.asked, self.fault = 0, 0, None
        self._client = Client(address)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self._over.wait(0.01):
                answer = Stopwatch()
                if self._client.ask("sleep 1") != "result: slept 1 ms":
                    raise AssertionError("a wrong reply")
                self.worst = max(self.worst, answer.seconds)
                self.asked += 1
        except (AssertionError, OSError) as fault:
            self.fault = fault

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._client.close()


class SlowLines(ServerTestCase):
    def drip(self, clients, data, pause=0.05):
        """Sends a byte to each client in turn until each has got something to read or hit an end; the seconds each
        one took."""
        took, since = {}, Stopwatch()
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client.socket, selectors.EVENT_READ, client)
            for byte in data:
                for client in clients:
                    if client not in took:
                        client.send_bytes(bytes([byte]))
                next_byte = Stopwatch()
                while len(took) < len(clients) and next_byte.seconds < pause:
                    for key, _ in selector.select(pause - next_byte.seconds):
                        took[key.data] = since.seconds
                        selector.unregister(key.fileobj)
                if len(took) == len(clients):
                    break
        return [took.get(client) for client in clients]

    def check_slow(self, data, beginning=None, said=None):
        server = self.start("--workers=2", "--line-timeout=500ms", "--max-line=2000")
        with PoliteClient(server.address) as polite:
            clients = [self.connect(server) for _ in range(30)]
            if beginning:
                for client in clients:
                    client.send_bytes(beginning)
                for client in clients:
                    self.assertEqual(client.line(), said)
            took = self.drip(clients, data)
            for client in clients:
                self.assertEqual(client.rest(), [SLOW_LINE])
        self.assertNotIn(None, took)
        if not beginning:
            self.assertGreaterEqual(min(took), 0.499)
        self.assert_quick(max(took), 1)
        self.assertIsNone(polite.fault)
        self.assertGreater(polite.asked, 10)
        self.assert_quick(polite.worst, 0.25)
        stats = server.wait_for_stats(lambda s: s["connections"] == 1, "that they are gone")
        self.assertEqual((stats["slow_lines"], stats["idle_closed"], stats["slow_readers"]), (30, 0, 0))

    def test_byte_by_byte(self):
        """Fails when each byte prolongs the time that a line may take."""
        self.check_slow(b"echo " + b"d" * 1000)

    def test_line_that_is_too_long_anyway(self):
        """Fails when the rest of a too long line, which is thrown away, may take for ever."""
        self.check_slow(b"z" * 1000, beginning=b"z" * 2001, said="ERROR: line too long (max 2000 bytes)")

    def test_half_a_line_and_no_more(self):
        """Fails when a line that was begun and left may stay for ever."""
        server = self.start("--line-timeout=400ms")
        client = self.connect(server)
        silence = Stopwatch()
        client.send_bytes(b"echo whole\necho ha")
        self.assertEqual(client.line(), "result: whole")
        self.assertEqual(client.rest(), [SLOW_LINE])
        self.assertGreaterEqual(silence.seconds, 0.399)
        self.assert_quick(silence.seconds, 0.8)

    def test_earlier_requests_are_answered_first(self):
        """Fails when the message overtakes replies, or the work that was asked for is given up."""
        server = self.start("--workers=1", "--line-timeout=300ms")
        client = self.connect(server)
        client.send_bytes(b"sleep 900\necho second\necho ha")
        self.assertEqual(client.rest(), ["result: slept 900 ms", "result: second", SLOW_LINE])
        self.assertEqual(server.stats()["cancelled"], 0)

    def test_quick_lines_in_odd_pieces(self):
        """Fails when the time runs over many lines, each of them completed soon."""
        server = self.start("--line-timeout=500ms")
        client = self.connect(server)
        client.send_bytes(b"ec")
        all_lines = Stopwatch()
        count = 0
        while all_lines.seconds < 1.5:
            client.send_bytes(b"ho x\nec")  # ends within a line, always
            self.assertEqual(client.line(), "result: x")
            count += 1
            let_pass(0.02)
        client.send_bytes(b"ho last\n")
        self.assertEqual(client.line(), "result: last")
        self.assertEqual(server.stats()["slow_lines"], 0)

    def test_time_that_the_server_does_not_read(self):
        """Fails when a client is blamed for a line that the server did not read."""
        server = self.start("--workers=1", "--line-timeout=300ms", "--max-inflight-per-connection=1")
        client = self.connect(server)
        client.send_bytes(b"sleep 1200\necho wh")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        client.send_bytes(b"ole\n")
        self.assertEqual(client.lines(2), ["result: slept 1200 ms", "result: whole"])

    def test_zero_is_any_time(self):
        """Fails when --line-timeout=0 closes at once, or after some time of its own."""
        server = self.start("--line-timeout=0")
        client = self.connect(server)
        client.send_bytes(b"echo wh")
        let_pass(1)
        client.send_bytes(b"ole\n")
        self.assertEqual(client.line(), "result: whole")


class SlowReaders(ServerTestCase):
    LINE = b"echo " + b"r" * 50000 + b"\n"

    def test_who_does_not_read_is_cut_off(self):
        """Fails when replies may stay unread for ever, when it is not counted, or others wait meanwhile."""
        server = self.start("--workers=2", "--send-timeout=700ms")
        with PoliteClient(server.address) as polite:
            silent = [self.connect(server, receive_buffer=4096) for _ in range(3)]
            for client in silent:
                client.send_aside(self.LINE * 400)
            stats = server.wait_for_stats(lambda s: s["slow_readers"] == 3, "that they were given up")
        self.assertIsNone(polite.fault)
        self.assert_quick(polite.worst, 0.5)
        self.assertEqual((stats["idle_closed"], stats["slow_lines"]), (0, 0))
        server.wait_for_stats(lambda s: s["connections"] == 1, "that they are gone")

    def test_who_reads_slowly_is_not(self):
        """Fails when the time runs on although the client takes some of its replies now and then."""
        server = self.start("--workers=2", "--send-timeout=1s")
        client = self.connect(server, receive_buffer=4096)
        client.send_aside(self.LINE * 100)
        slow = Stopwatch()
        while slow.seconds < 3:
            self.assertEqual(len(client.line()), 50008)
            let_pass(0.1)
        self.assertEqual(server.stats()["slow_readers"], 0)
        while slow.seconds < PATIENCE and client.has_input():
            self.assertEqual(len(client.line()), 50008)

    def test_time_in_which_nothing_is_owed(self):
        """Fails when a client that waits for its reply is taken for one that does not read."""
        server = self.start("--send-timeout=200ms")
        client = self.connect(server)
        self.assertEqual(client.ask("sleep 900"), "result: slept 900 ms")
        self.assertEqual(server.stats()["slow_readers"], 0)


class SlowReadersOverARestart(RestartTestCase):
    def test_time_begins_anew(self):
        """Fails when a client with unread replies is cut off by a restart, as if it had left them for too long."""
        line = b"echo " + b"r" * 5000 + b"\n"
        self.start_next("--workers=2", "--send-timeout=30s")
        for kind in ("tcp", "unix"):
            with self.subTest(kind=kind):
                client = self.meet(kind, receive_buffer=4096)
                whole = client.send_until_blocked(line, limit=64 << 20, quiet=0.5) // len(line)
                self.restart("--workers=2", "--send-timeout=30s")
                for _ in range(whole):
                    self.assertEqual(client.line(), "result: " + "r" * 5000)
                client.reset()


class IdleClients(ServerTestCase):
    def test_message_end_and_counter(self):
        """Fails when an idle client is closed without a word, early, late, never, or is not counted."""
        server = self.start("--idle-timeout=500ms")
        never, once = self.connect(server), self.connect(server)
        silence = Stopwatch()
        self.assertEqual(once.ask("echo x"), "result: x")
        self.assertEqual(once.rest(), [IDLE])
        self.assertGreaterEqual(silence.seconds, 0.499)
        self.assert_quick(silence.seconds, 0.9)
        self.assertEqual(never.rest(), [IDLE])
        stats = server.stats()
        self.assertEqual((stats["idle_closed"], stats["slow_lines"], stats["errors"]), (2, 0, 2))

    def test_who_waits_for_a_reply_is_not_idle(self):
        """Fails when the time runs while a task of the client waits or runs."""
        server = self.start("--workers=1", "--idle-timeout=300ms")
        first, second = self.connect(server), self.connect(server)
        first.send("sleep 900")
        second.send("sleep 300")
        self.assertEqual(first.line(), "result: slept 900 ms")
        self.assertEqual(second.line(), "result: slept 300 ms")
        self.assertEqual(first.rest(), [IDLE])

    def test_who_asks_now_and_then_is_not_idle(self):
        """Fails when the time runs from the connect, not from the last request or reply."""
        server = self.start(f"--idle-timeout={int(600 * SLOWDOWN)}ms")
        client = self.connect(server)
        for index in range(12):
            self.assertEqual(client.ask(f"echo {index}"), f"result: {index}")
            let_pass(0.15)
        self.assertEqual(server.stats()["idle_closed"], 0)

    def test_nobody_is_idle_by_default(self):
        """Fails when idle clients are closed though nobody asked for that."""
        server = self.start()
        client = self.connect(server)
        let_pass(1)
        self.assertFalse(client.has_input())
        wait_until(lambda: client.ask("echo x") == "result: x", "it is served")
