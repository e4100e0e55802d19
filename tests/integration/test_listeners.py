"""Listeners that cannot accept, and the files of unix sockets: whose they are and when they go."""

import os
import socket

from harness import RUNTIME_ERROR, ServerTestCase
from strace import Strace
from test_service_manager import PassedSockets as WithPassedSockets
from timing import SLOWDOWN, let_pass, wait_until

WINDOW = 1.5
SOON = 5 * SLOWDOWN
PAUSED = " warning .*cannot accept connections"
RESUMED = " info .*accepting connections .*again"


class ListenersThatFail(ServerTestCase):
    start_with = WithPassedSockets.start_with

    def listener(self, family=socket.AF_INET):
        listener = socket.socket(family, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else f"{self.temporary_directory()}/socket")
        listener.listen()
        return listener

    def assert_idle(self, server):
        cpu = server.process.cpu_seconds()
        let_pass(WINDOW)
        self.assertLess(server.process.cpu_seconds() - cpu, 0.2 * WINDOW * SLOWDOWN)

    def test_shut_down(self):
        """Fails when a passed listener that somebody shuts down keeps the loop busy, is not told, or takes others along."""
        for family, how in ((socket.AF_INET, socket.SHUT_RDWR), (socket.AF_UNIX, socket.SHUT_RDWR),
                            (socket.AF_UNIX, socket.SHUT_RD)):
            with self.subTest(family=family.name, how=how):
                dead, alive = self.listener(family), self.listener()
                server = self.start_with(dead, alive)
                server.wait_ready()
                client = self.connect(dead.getsockname())
                self.assertEqual(client.ask("echo x"), "result: x")
                dead.shutdown(how)
                server.wait_for_log(" error .*no more connections on ", SOON)
                self.assert_idle(server)
                self.assertEqual(client.ask("echo still"), "result: still")
                self.assertEqual(self.connect(alive.getsockname()).ask("echo new"), "result: new")
                self.assertEqual(len(server.log_lines("no more connections on ")), 1)
                self.assertEqual(server.stop(), 0)

    def test_forbidden(self):
        """Fails when accept failing with EPERM or EACCES is tried in every round, told each time, or for ever."""
        for error in ("EPERM", "EACCES"):
            with self.subTest(error=error):
                server = self.start()
                client = self.connect(server)
                self.assertEqual(client.ask("echo x"), "result: x")
                with Strace(server.pid, threads=[server.pid], inject=(f"accept4:error={error}",)) as strace:
                    waiting = self.connect(server)
                    server.wait_for_log(PAUSED, SOON)
                    let_pass(WINDOW)
                    self.assertEqual(client.ask("echo meanwhile"), "result: meanwhile")
                    tries = len(strace.calls())
                self.assertLess(tries, 20 * SLOWDOWN)
                self.assertEqual(waiting.ask("echo allowed"), "result: allowed")
                self.assertEqual(len(server.log_lines(PAUSED)), 1)
                self.assertEqual(len(server.log_lines(RESUMED)), 1)

    def test_one_of_two(self):
        """Fails when one listener's failure pauses another, or its end is announced by a client of the other."""
        server = self.start(listen=("127.0.0.1:0", f"{self.temporary_directory()}/socket"))
        with Strace(server.pid, threads=[server.pid], inject=("accept4:error=EPERM:when=1",)):
            first = self.connect(server.addresses()[0])
            server.wait_for_log(PAUSED, SOON)
            second = self.connect(server.address)
            self.assertEqual(second.ask("echo second"), "result: second")
            self.assertEqual(first.ask("echo first"), "result: first")
        self.assertEqual(len(server.log_lines(PAUSED)), 1)
        self.assertEqual(len(server.log_lines(RESUMED)), 1)

    def test_all_have_left(self):
        """Fails when an error of the connection itself, if it never ends, keeps the loop busy."""
        server = self.start()
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        with Strace(server.pid, threads=[server.pid], inject=("accept4:error=ECONNABORTED",)) as strace:
            waiting = self.connect(server)
            server.wait_for_log(PAUSED, SOON)
            let_pass(WINDOW)
            self.assertLess(len(strace.calls()), 400 * SLOWDOWN)
        self.assertEqual(waiting.ask("echo in"), "result: in")


class SocketFiles(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.path = f"{self.temporary_directory()}/socket"

    def test_another_servers_file_is_left_alone(self):
        """Fails when a stop removes the socket that another server has at the same path by now."""
        first = self.start(listen=(self.path,))
        os.unlink(self.path)
        second = self.start(listen=(self.path,))
        self.assertEqual(first.stop(), 0)
        self.assertEqual(self.connect(second).ask("echo x"), "result: x")
        self.assertEqual(second.stop(), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_a_start_that_fails_leaves_no_file(self):
        """Fails when a later address that cannot be had leaves the file of an earlier one, which nobody listens on."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = self.launch(listen=(self.path, f"127.0.0.1:{taken.getsockname()[1]}"))
            self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertFalse(os.path.exists(self.path))
