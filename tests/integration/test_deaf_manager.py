"""A service manager that does not read, and a server that has used up its descriptors."""

import os
import socket
import unittest

from harness import ServerTestCase, sanitizer
from manager import CONNECTIONS, RestartTestCase
from timing import SLOWDOWN, Stopwatch, let_pass, wait_until


class DeafSocket:
    """The manager's end of $NOTIFY_SOCKET, so full that it takes nothing more until it is read."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)
        self.fill()

    def fill(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                while True:
                    sender.sendto(b"X_FILL=1", self.path)
            except BlockingIOError:
                pass

    def hear(self):
        """What has come, and room for more."""
        heard = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 8)
            except BlockingIOError:
                return heard
            for fd in descriptors:
                os.close(fd)
            if data != b"X_FILL=1":
                heard.append(data.decode())

    def named(self, _):
        return []

    def close(self):
        self._socket.close()


class DeafManager(ServerTestCase):
    TOLD = "warning .*service manager does not take notifications"

    def start_unheard(self, *options, **settings):
        server = self.launch(*options, notify=DeafSocket, **settings)
        server.wait_for_log("serves")
        return server

    def test_is_not_waited_for_and_hears_it_all_later(self):
        """Fails when a manager that does not read holds up the loop, or misses READY=1 for good."""
        server = self.start_unheard(env={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "{pid}"})
        client = self.connect(server)
        for _ in range(100):
            self.assertEqual(client.ask("echo x"), "result: x")
        server.wait_for_log(self.TOLD)
        let_pass(0.5)
        self.assertEqual(client.ask("echo x"), "result: x")
        heard = []

        def listen():
            nonlocal heard
            heard += server.notify.hear()
            return "WATCHDOG=1" in heard and "READY=1" in heard
        wait_until(listen, "the manager hears what it missed")
        self.assertEqual(heard.count("READY=1"), 1)
        self.assertLess(heard.count("WATCHDOG=1"), 3)  # the newest will do
        self.assertEqual(len(server.log_lines(self.TOLD)), 1)
        self.assertEqual(server.stop(), 0)

    def test_hears_of_the_end(self):
        """Fails when a stop waits for a manager that does not read for longer than its bound, or harms clients."""
        server = self.start_unheard()
        client = self.connect(server)
        client.send("sleep 300")
        server.wait_for_log(self.TOLD)
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the request has come")
        stop = Stopwatch()
        server.signal()
        self.assertEqual(client.rest(), ["result: slept 300 ms"])
        self.assertEqual(server.wait_exit(), 0)
        self.assert_quick(stop.seconds, 3)

    def test_a_reload_while_it_is_deaf(self):
        """Fails when the manager is told of a reload in the wrong order, so that it waits for ever."""
        server = self.start_unheard()
        server.notify.hear()
        wait_until(lambda: "READY=1" in server.notify.hear(), "READY=1")
        server.notify.fill()
        for _ in range(3):
            server.signal(1)
        server.wait_for_log("reloaded")
        names = []

        # Of what waits, the newer replaces the older: the READY=1 of a reload may come before the
        # RELOADING=1 of the next one. What counts is how it ends.
        def listen():
            names.extend(message.split("=")[0] for message in server.notify.hear())
            kept = [name for name in names if name in ("RELOADING", "READY")]
            return "RELOADING" in kept and kept[-1] == "READY"
        wait_until(listen, "READY=1 after the reload")
        self.assertEqual(server.stop(), 0)


@unittest.skipIf(sanitizer() in ("address", "undefined"), "the sanitizer's runtime needs descriptors itself")
class OutOfDescriptors(RestartTestCase):
    LIMIT = 64

    def fill(self, **settings):
        """A server that has no descriptor left for one more client; returns those it has, and some that wait."""
        self.start_next("--workers=2", limits={"NOFILE": self.LIMIT}, **settings)
        clients = [self.meet(kind) for _ in range(self.LIMIT) for kind in ("tcp", "unix")]
        self.server.wait_for_log("cannot accept")
        for client in clients:
            client.send("echo hello")
        let_pass(0.2 * SLOWDOWN)
        served = [client for client in clients if client.has_input()]
        for client in served:
            self.assertEqual(client.line(), "result: hello")
        self.assertGreater(len(served), self.LIMIT / 2)
        waiting = [client for client in clients if client not in served]
        self.assertTrue(waiting)
        return served, waiting

    def test_the_watchdog_is_fed(self):
        """Fails when a server that works is taken for one that hangs since it has no descriptor to say so."""
        self.fill(env={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "{pid}"})
        count = len(self.server.notify.named("WATCHDOG"))
        wait_until(lambda: len(self.server.notify.named("WATCHDOG")) > count + 5, "the watchdog is fed")
        self.server.kill()

    def test_a_restart_carries_the_connections(self):
        """Fails when the hand-over needs a descriptor that there is none left for."""
        served, waiting = self.fill()
        self.end()
        self.assertEqual(self.store.names(), [CONNECTIONS])
        self.assertIn(f"handed over {len(served)} connections", self.server.log())
        self.start_next("--workers=2", limits={"NOFILE": self.LIMIT})
        self.assert_serves(*served)
        for client in served:
            client.close()
        for client in waiting:
            self.assertEqual(client.line(), "result: hello")
            client.close()

    def test_a_reload_reads_its_file(self):
        """Fails when the configuration cannot be read since there is no descriptor left for it."""
        config = os.path.join(self.temporary_directory(), "config")
        with open(config, "w") as file:
            file.write("workers=2\n")
        self.start_next("--config", config, limits={"NOFILE": self.LIMIT})
        clients = [self.meet() for _ in range(self.LIMIT)]
        self.server.wait_for_log("cannot accept")
        self.server.signal(1)
        self.server.wait_for_log("configuration reloaded")
        for client in clients:
            client.close()
