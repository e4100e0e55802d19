"""What the server says to a service manager, and what it takes from one."""

import os
import shutil
import signal
import socket
import tempfile
import unittest

from harness import RUNTIME_ERROR, ServerTestCase, free_port
from strace import Strace
from timing import SLOWDOWN, Stopwatch, let_pass, wait_until


class Notifications(ServerTestCase):
    def test_ready_when_it_really_serves(self):
        """Fails when READY=1 comes before the listeners are open, twice, or without them."""
        server = self.start()
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        self.assertEqual([value for _, value in server.notify.named("READY")], ["1"])
        with socket.create_server(("127.0.0.1", 0)) as taken:
            failing = self.launch(listen=(f"127.0.0.1:{taken.getsockname()[1]}",))
            self.assertEqual(failing.wait_exit(), RUNTIME_ERROR)
            self.assertEqual(failing.notify.named("READY"), [])

    def test_stopping(self):
        """Fails when STOPPING=1 is missing, or comes only after the drain."""
        server = self.start()
        client = self.connect(server)
        client.send("sleep 1000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        self.assertEqual(server.notify.named("STOPPING"), [])
        server.signal()
        server.notify.wait_for("STOPPING")
        self.assertFalse(client.has_input(), "STOPPING=1 came after the work was done")
        self.assertEqual(client.rest(), ["result: slept 1000 ms"])
        self.assertEqual(server.wait_exit(), 0)
        self.assertEqual(len(server.notify.named("STOPPING")), 1)

    def test_status_at_most_once_a_second_and_only_when_changed(self):
        """Fails when STATUS floods the service manager, repeats itself, or does not tell what goes on."""
        server = self.start("--workers=2")
        client = self.connect(server)
        load = Stopwatch()
        while load.seconds < 3.5:
            client.send("sleep 5", "fail")
            client.lines(2)
        wait_until(lambda: len(server.notify.named("STATUS")) >= 3, "STATUS follows the load")
        shown = server.notify.named("STATUS")
        # The very last one may be the stop's; all others keep their distance.
        for (when, text), (next_time, next_text) in zip(shown, shown[1:]):
            self.assertGreater(next_time - when, 0.9)
            self.assertNotEqual(text, next_text)
        for word in ("worker", "queue", "done", "error", "p99"):
            self.assertIn(word, shown[-1][1])

    def test_no_status_while_nothing_changes(self):
        """Fails when the server repeats its STATUS although nothing changed; the watchdog keeps its loop turning."""
        server = self.start(env={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "{pid}"})
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        wait_until(lambda: server.notify.named("STATUS"), "STATUS tells something")
        let_pass(1.5)  # until the last change is told
        count = len(server.notify.named("STATUS"))
        let_pass(2.5)
        self.assertEqual(len(server.notify.named("STATUS")), count)

    def test_without_a_service_manager(self):
        """Fails when the server needs NOTIFY_SOCKET, or a broken one stops it."""
        for env in ({}, {"NOTIFY_SOCKET": "/no/such/socket", "WATCHDOG_USEC": "100000"},
                    {"NOTIFY_SOCKET": "nonsense", "WATCHDOG_USEC": "nonsense"}):
            with self.subTest(env=env):
                server = self.start(notify=False, env=env)
                client = self.connect(server)
                client.send("sleep 300", "echo x")
                self.assertEqual(client.lines(2), ["result: slept 300 ms", "result: x"])
                self.assertEqual(server.stop(), 0)
                self.assertEqual(server.log_lines("(?i)notify"), [])


class Watchdog(ServerTestCase):
    INTERVAL = 0.4 * SLOWDOWN

    def start_watched(self, pid="{pid}"):
        return self.start("--workers=2", env={"WATCHDOG_USEC": str(int(self.INTERVAL * 1e6)), "WATCHDOG_PID": pid})

    def check_beat(self, server, count=8):
        have = len(server.notify.named("WATCHDOG"))
        wait_until(lambda: len(server.notify.named("WATCHDOG")) >= have + count, f"{count} more WATCHDOG=1")
        times = [when for when, _ in server.notify.named("WATCHDOG")][have:have + count]
        gaps = sorted(after - before for before, after in zip(times, times[1:]))
        self.assertLess(gaps[-1], self.INTERVAL)
        self.assertAlmostEqual(gaps[len(gaps) // 2], self.INTERVAL / 2, delta=self.INTERVAL / 8)

    def test_half_the_interval_while_idle(self):
        """Fails when an idle loop does not wake to feed the watchdog, or feeds it at another pace."""
        self.check_beat(self.start_watched())

    def test_half_the_interval_under_load(self):
        """Fails when load delays the watchdog, or each loop round feeds it."""
        server = self.start_watched()
        client = self.connect(server)
        client.send(*["spin 20"] * 150)
        self.check_beat(server)
        client.lines(150)

    def test_not_without_being_asked(self):
        """Fails when WATCHDOG=1 is sent without WATCHDOG_USEC, or with another process's WATCHDOG_PID."""
        for server in (self.start(), self.start_watched(pid="1")):
            let_pass(2 * self.INTERVAL)
            self.assertEqual(server.notify.named("WATCHDOG"), [])

    def test_a_stuck_loop_is_not_covered_up(self):
        """Fails when a thread of its own feeds the watchdog while the loop stands still."""
        server = self.start_watched()
        stuck_once = f"epoll_wait,epoll_pwait:delay_enter={int(8 * self.INTERVAL * 1e6)}:when=2"
        with Strace(server.pid, threads=[server.pid], inject=(stuck_once,)):
            wait_until(lambda: server.notify.messages[-1][1] == "WATCHDOG", "the watchdog is fed")
            count = len(server.notify.named("WATCHDOG"))
            let_pass(5 * self.INTERVAL)
            self.assertLessEqual(len(server.notify.named("WATCHDOG")), count + 2)
        self.check_beat(server, count=3)


class PassedSockets(ServerTestCase):
    def start_with(self, *files, names=None, options=(), **settings):
        env = {"LISTEN_FDS": str(len(files)), "LISTEN_PID": "{pid}"}
        if names:
            env["LISTEN_FDNAMES"] = ":".join(names)
        return self.launch(*options, listen=(), env=env, **{"pass": [file.fileno() for file in files]}, **settings)

    def tcp_listener(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.assertTrue(listener.getblocking())
        return listener

    def test_blocking_listeners_of_both_kinds(self):
        """Fails when passed listeners are not served, stay blocking, or are inherited further."""
        tcp, unix = self.tcp_listener(), socket.socket(socket.AF_UNIX)
        path = f"{self.temporary_directory()}/socket"
        self.addCleanup(unix.close)
        unix.bind(path)
        unix.listen()
        server = self.start_with(tcp, unix, names=("tcp", "local"))
        server.wait_ready()
        for address in (tcp.getsockname(), path, tcp.getsockname()):
            self.assertEqual(self.connect(address).ask("echo x"), "result: x")
        for fd in (3, 4):
            self.assertTrue(server.process.flags(fd) & os.O_NONBLOCK)
            self.assertTrue(server.process.flags(fd) & os.O_CLOEXEC)

    def test_they_replace_the_default(self):
        """Fails when port 9090 is opened although sockets were passed."""
        server = self.start_with(self.tcp_listener())
        server.wait_ready()
        listeners = server.process.sockets() & server.process.polled_descriptors()
        self.assertEqual(listeners, {3})

    def test_a_client_gone_before_accept_does_not_block_the_loop(self):
        """Fails when accept on a passed listener blocks the loop."""
        tcp = self.tcp_listener()
        server = self.start_with(tcp)
        server.wait_ready()
        steady = self.connect(tcp.getsockname())
        for index in range(50):
            self.connect(tcp.getsockname()).reset()
            self.assertEqual(steady.ask(f"echo {index}"), f"result: {index}")

    def test_names_of_another_process_are_ignored(self):
        """Fails when LISTEN_PID is not checked."""
        tcp = self.tcp_listener()
        server = self.start(env={"LISTEN_FDS": "1", "LISTEN_PID": "1"}, **{"pass": [tcp.fileno()]})
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        self.assertNotEqual(server.address, tcp.getsockname())

    def test_wrong_kinds(self):
        """Fails when a descriptor that is no listening stream socket is polled, kept, hidden, or ends the service."""
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", 0))
        unbound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        pair = socket.socketpair()
        for file in (datagram, unbound, *pair, regular := tempfile.TemporaryFile()):
            self.addCleanup(file.close)
        for wrong in (datagram, unbound, pair[0], regular):
            with self.subTest(wrong=wrong):
                good = self.tcp_listener()
                server = self.start_with(good, wrong, names=("good", "odd-one"))
                server.wait_ready()
                self.assertEqual(self.connect(good.getsockname()).ask("echo x"), "result: x")
                self.assertIn("odd-one", server.log())
                server.notify.wait_for("FDNAME", "odd-one")  # of FDSTOREREMOVE=1
                self.assertEqual(server.stop(), 0)
                server = self.start_with(wrong, names=("odd-one",))
                self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
                self.assertEqual(server.notify.named("READY"), [])
                self.assertIn("none of the passed descriptors", server.log())

    def test_stop_leaves_the_listener_to_the_service_manager(self):
        """Fails when a stop shuts down the passed socket, so that the next start cannot use it."""
        tcp = self.tcp_listener()
        for _ in range(2):
            server = self.start_with(tcp)
            server.wait_ready()
            self.assertEqual(self.connect(tcp.getsockname()).ask("echo x"), "result: x")
            self.assertEqual(server.stop(), 0)


@unittest.skipUnless(shutil.which("systemd-socket-activate"), "systemd-socket-activate is not installed")
class SocketActivation(ServerTestCase):
    def test_started_by_its_first_client(self):
        """Fails when the server, started on demand, does not serve the client it was started for."""
        port = free_port()
        passed_on = ("NOTIFY_SOCKET", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
        prefix = ["systemd-socket-activate", "--listen", f"127.0.0.1:{port}", "--fdname=clients",
                  *(f"--setenv={name}" for name in passed_on if name == "NOTIFY_SOCKET" or name in os.environ)]
        server = self.launch(listen=(), prefix=prefix)
        server.wait_for_log("Listening on .* as 3")
        client = self.connect(("127.0.0.1", port))
        client.send("echo first", "bad", "sleep 20")
        self.assertEqual(client.lines(3), ["result: first", "ERROR: invalid input", "result: slept 20 ms"])
        server.wait_ready()
        self.assertEqual(self.connect(("127.0.0.1", port)).ask("echo second"), "result: second")
        server.signal(signal.SIGTERM)
        self.assertEqual(client.rest(), [])
        self.assertEqual(server.wait_exit(), 0)
