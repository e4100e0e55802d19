"""A stop is no restart: all that was accepted is answered, and clients get their replies however slowly they read."""

import signal
import subprocess
import threading
import time

from client import Client
from harness import RUNTIME_ERROR, ServerTestCase
from manager import RestartTestCase
from timing import Stopwatch, wait_until

ACCEPT_ALL = ("--workers=2", "--max-inflight-per-connection=100000", "--max-unsent=64MiB", "--queue-capacity=100000")


class SlowReader:
    """Takes its replies in small pieces, and notes how the stream ended."""

    def __init__(self, client, pause):
        self.client, self.pause = client, pause
        self.received, self.fault = b"", None
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self._go.wait()
        try:
            while data := self.client.socket.recv(1 << 14):
                self.received += data
                time.sleep(self.pause)  # what makes it slow
        except OSError as error:
            self.fault = error

    def begin(self):
        self._go.set()

    def finish(self):
        self._thread.join()
        if self.fault:
            raise AssertionError(f"after {len(self.received)} bytes: {self.fault}")
        return self.received.decode().splitlines()


class Stops(RestartTestCase):
    def owe(self, kind, count, size=200):
        """A client to which so many replies are owed that it has not read."""
        client = self.meet(kind)
        texts = [f"{index} ".ljust(size, "x") for index in range(count)]
        client.send(*(f"echo {text}" for text in texts))
        return client, [f"result: {text}" for text in texts]

    def wait_until_computed(self, count):
        stats = self.meet()
        wait_until(lambda: f" completed={count} " in stats.ask("STATS"), "all is computed")
        stats.close()

    def stop_beside_slow_readers(self, owed):
        """Each of them, a client and its replies, begins to read when the stop has begun, and gets all."""
        readers = [SlowReader(client, 0.002) for client, _ in owed]
        self.server.signal()
        self.server.notify.wait_for("STOPPING")
        for reader in readers:
            reader.begin()
        for reader, (_, replies) in zip(readers, owed):
            self.assertEqual(reader.finish(), replies)
        self.assertEqual(self.server.wait_exit(), 0)

    def test_every_reply_is_delivered(self):
        """Fails when SIGTERM leaves replies with the manager's store, which a stop drops, or resets slow readers."""
        self.start_next(*ACCEPT_ALL)
        owed = [self.owe(kind, 20_000) for kind in ("tcp", "unix", "tcp", "unix")]
        self.wait_until_computed(80_000)
        self.stop_beside_slow_readers(owed)
        self.assertEqual(self.store.requests, [])
        self.assertEqual(self.server.log_lines(" warning "), [])

    def test_a_client_that_goes_on_sending(self):
        """Fails when what a client sends during a stop resets it before it has read its replies."""
        self.start_next(*ACCEPT_ALL)
        client, replies = self.owe("tcp", 20_000)
        self.wait_until_computed(20_000)
        reader = SlowReader(client, 0.001)
        self.server.signal()
        self.server.notify.wait_for("STOPPING")
        client.send_aside(b"echo too late\n" * 100_000)
        reader.begin()
        self.assertEqual(reader.finish(), replies)
        client.close()
        self.assertEqual(self.server.wait_exit(), 0)

    def test_what_is_not_delivered_is_told(self):
        """Fails when a stop that runs out of time is silent about who was owed what, or calls it a success."""
        self.start_next(*ACCEPT_ALL, "--drain-timeout=300ms")
        client, _ = self.owe("unix", 5_000, size=1000)
        self.wait_until_computed(5_000)
        self.server.signal()
        self.assertEqual(self.server.wait_exit(), RUNTIME_ERROR)
        (line,) = self.server.log_lines(" warning ")
        self.assertRegex(line, r"stopped with 0 tasks not done; 1 clients have not got all: [1-9]\d+ bytes, "
                               r"and [1-9]\d* replies that were not sent")
        client.close()

    def test_clients_that_have_ended_their_input(self):
        """Fails when the hang-up of both sides is taken for a client that is not there to read."""
        self.start_next(*ACCEPT_ALL)
        owed = [self.owe(kind, 20_000) for kind in ("tcp", "unix")]
        for client, _ in owed:
            client.finish()
        self.wait_until_computed(40_000)
        self.stop_beside_slow_readers(owed)

    def test_input_that_is_not_read_any_more(self):
        """Fails when a half-closed client with requests that the stop leaves unread is reset over its replies."""
        self.start_next("--drain-timeout=10s")
        client = self.meet("tcp", receive_buffer=4096)
        client.send_aside(b"STATS\n" * 60_000)
        wait_until(client.has_input, "the first replies")
        client.finish()
        self.server.signal()
        self.server.notify.wait_for("STOPPING")
        lines = client.rest()
        self.assertGreater(len(lines), 100)
        self.assertTrue(all(line.startswith("stats: ") for line in lines))
        self.assertEqual(self.server.wait_exit(), 0)

    def test_who_does_not_read_is_waited_for_all_the_same(self):
        """Fails when a half-close, or --send-timeout, makes a stop forget what it owes, and end as a good one."""
        for ended, kind, count, option in ((True, "tcp", 8_000, "--send-timeout=0"),
                                           (False, "unix", 2_000, "--send-timeout=3s")):
            with self.subTest(ended=ended):
                self.start_next(*ACCEPT_ALL, "--drain-timeout=4s", option)
                client, _ = self.owe(kind, count, size=1000)
                if ended:
                    client.finish()
                self.wait_until_computed(count)
                self.server.signal()
                self.assertEqual(self.server.wait_exit(), RUNTIME_ERROR)
                self.assertTrue(self.server.log_lines(" warning .*clients have not got all"))
                client.close()

    def test_a_client_that_never_stops_sending(self):
        """Fails when what it goes on sending keeps a stop from ending, though it owes nothing."""
        self.start_next("--drain-timeout=15s")
        client = self.meet("unix")
        over = threading.Event()

        def send():
            try:
                while not over.is_set():
                    client.socket.send(b"\n" * 100)
            except OSError:
                pass

        def read():
            try:
                while client.socket.recv(1 << 16):
                    pass
            except OSError:
                pass
        threads = [threading.Thread(target=run, daemon=True) for run in (send, read)]
        for thread in threads:
            thread.start()
        self.server.wait_for_stats(lambda stats: stats["errors"] > 100, "it is served")
        watch = Stopwatch()
        self.server.signal()
        self.assertEqual(self.server.wait_exit(), 0)
        self.assert_quick(watch.seconds, 5)
        over.set()
        for thread in threads:
            thread.join()

    def test_an_announcement_is_withdrawn(self):
        """Fails when a restart that turns into a stop carries connections to nobody."""
        self.start_next()
        client = self.meet()
        self.assert_serves(client)
        self.server.signal(signal.SIGSTOP)  # all three are pending then
        self.server.signal(signal.SIGUSR1)
        subprocess.run(["/bin/kill", "-s", "RTMIN", str(self.server.pid)], check=True)
        self.server.signal()
        self.server.signal(signal.SIGCONT)
        self.assertEqual(self.server.wait_exit(), 0)
        self.assert_ended(client)
        self.assertEqual(self.store.requests, [])


class LameDuck(ServerTestCase):
    def test_there_and_back(self):
        """Fails when a lame duck takes newcomers, stops serving those who are there, or cannot be ended."""
        server = self.start()
        here = self.connect(server)
        self.assertEqual(here.ask("echo here"), "result: here")
        server.signal(signal.SIGUSR2)
        server.wait_for_log("no newcomers")
        newcomer = Client(server.address)
        self.addCleanup(newcomer.close)
        newcomer.send("echo hello")
        for number in range(20):
            self.assertEqual(here.ask(f"echo {number}"), f"result: {number}")
        self.assertIn(" connections=1 ", here.ask("STATS"))
        wait_until(lambda: any("lame duck" in told for _, told in server.notify.named("STATUS")), "STATUS= says it")
        server.signal(signal.SIGUSR2)
        self.assertEqual(newcomer.line(), "result: hello")
        wait_until(lambda: "lame duck" not in server.notify.named("STATUS")[-1][1], "STATUS= says it is over")

    def test_a_stop_of_a_lame_duck(self):
        """Fails when a lame duck cannot be stopped."""
        server = self.start()
        server.signal(signal.SIGUSR2)
        server.wait_for_log("no newcomers")
        self.assertEqual(server.stop(), 0)
