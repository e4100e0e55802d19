"""SIGTERM without a word, where both stops and restarts are announced: the manager has left ExecStop= out."""

import signal

from manager import CONNECTIONS, RestartTestCase
from timing import wait_until

ANNOUNCED = {"POOL_SERVER_STOPS_ARE_ANNOUNCED": "yes"}


class Unannounced(RestartTestCase):
    def start_next(self, *options, **settings):
        return super().start_next(*options, env=ANNOUNCED, **settings)

    def stop_without_a_word(self):
        self.server.signal()
        self.assertEqual(self.server.wait_exit(), 0)

    def test_connections_stay(self):
        """Fails when a restart that nobody could announce is a stop to clients."""
        self.start_next()
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        self.assert_serves(*clients)
        for client in clients:
            client.send_bytes(b"echo ha")
        self.stop_without_a_word()
        self.assertIn(CONNECTIONS, self.store.names())
        self.start_next()
        for client in clients:
            client.send_bytes(b"lf\n")
            self.assertEqual(client.line(), "result: half")
        self.assertRegex(self.servers[0].log(), "finishing the work that was accepted, then handing over")

    def test_it_may_be_a_stop(self):
        """Fails when work that was accepted is not done and delivered before, as a stop would have lost it."""
        self.start_next("--workers=1", "--handover-wait=0", "--drain-timeout=20s")
        client = self.meet()
        client.send(*["sleep 50"] * 10, *[f"echo {number}" for number in range(500)])
        idle = self.meet("unix")
        self.assert_serves(idle)
        self.server.wait_for_stats(lambda stats: stats["queue_depth"] > 400, "it is accepted")
        self.server.signal()
        self.assertEqual(client.lines(510), ["result: slept 50 ms"] * 10 + [f"result: {n}" for n in range(500)])
        self.assertEqual(self.server.wait_exit(), 0)
        self.assertRegex(self.server.log(), "handed over [0-9]+ connections with 0 requests")
        self.store.drop()
        self.assert_ended(client)
        self.assert_ended(idle)

    def test_slow_readers_are_waited_for(self):
        """Fails when replies that a client has not taken in yet are left to a next process that may not come."""
        self.start_next("--max-unsent=32MiB", "--drain-timeout=20s")
        client = self.meet(receive_buffer=4096)
        client.send_aside(b"".join(b"echo %d %s\n" % (i, b"x" * 3000) for i in range(4000)))
        self.server.wait_for_stats(lambda stats: stats["completed"] == 4000, "all are computed")
        self.server.signal()
        self.server.notify.wait_for("STOPPING")
        self.assertEqual([line.split(" ")[1] for line in client.lines(4000)], [str(i) for i in range(4000)])
        self.assertEqual(self.server.wait_exit(), 0)
        self.store.drop()
        self.assert_ended(client)

    def test_the_end_of_its_time(self):
        """Fails when what cannot be delivered in time is lost, though it may be carried over."""
        self.start_next("--workers=1", "--drain-timeout=200ms")
        client = self.meet()
        client.send("sleep 2000", "echo after")
        self.wait_for_busy(1)
        self.stop_without_a_word()
        self.start_next()
        self.assertEqual(client.lines(2), ["result: slept 2000 ms", "result: after"])

    def test_who_has_ended_its_input(self):
        """Fails when a client that has ended its input does not get all, and then the end."""
        self.start_next("--workers=1")
        client = self.meet()
        client.send("sleep 300", "echo more")
        client.finish()
        self.wait_for_busy(1)
        self.server.signal()
        self.assert_ended(client, ["result: slept 300 ms", "result: more"])
        self.assertEqual(self.server.wait_exit(), 0)

    def test_a_stop_that_was_announced(self):
        """Fails when a stop that was announced is not one."""
        self.start_next()
        client = self.meet()
        self.assert_serves(client)
        self.server.signal(signal.SIGRTMIN)
        self.stop_without_a_word()
        self.assertNotIn(CONNECTIONS, self.store.names())
        self.assert_ended(client)

    def test_a_restart_that_was_announced(self):
        """Fails when a restart that was announced waits for the backlog."""
        self.start_next("--workers=1", "--handover-wait=0")
        client = self.meet()
        client.send(*["sleep 300"] * 20)
        self.wait_for_busy(1)
        self.end()
        self.assertRegex(self.server.log(), "handed over 1 connections with [12][0-9] requests")
        wait_until(lambda: CONNECTIONS in self.store.names(), "it is stored")

    def test_without_a_store(self):
        """Fails when it is no stop where nothing can be handed over."""
        self.store.answers = False
        self.start_next()
        client = self.meet()
        self.assert_serves(client)
        self.stop_without_a_word()
        self.assert_ended(client)
