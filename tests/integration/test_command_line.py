"""The command line: what is accepted, what it does, and how a mistake is told."""

import socket
import unittest
from pathlib import Path

from client import Client
from harness import RUNTIME_ERROR, USAGE_ERROR, ServerTestCase, free_port, has_ipv6, run_to_end
from timing import Stopwatch, wait_until

OPTIONS = ("--listen", "--workers", "--queue-capacity", "--task-timeout", "--worker-idle-timeout", "--handler",
           "--max-line", "--max-connections", "--idle-timeout", "--drain-timeout", "--log-level", "--config",
           "--help", "--version")


class Help(unittest.TestCase):
    def test_help(self):
        """Fails when --help fails, goes to stderr, or leaves an option out."""
        ended = run_to_end("--help")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        for option in OPTIONS:
            self.assertIn(option, ended.stdout)
        self.assertIn("PORT", ended.stdout)

    def test_version(self):
        """Fails when --version fails or tells no number."""
        ended = run_to_end("--version")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertRegex(ended.stdout, r"^pool-server \d+\.\d+")


class Mistakes(ServerTestCase):
    def check(self, status, *options, names="", env=None):
        """The server ends with that status and one line on stderr that names the culprit."""
        ended = run_to_end(*options, env=env)
        self.assertEqual(ended.returncode, status, ended.stderr)
        self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
        self.assertIn(names, ended.stderr)
        self.assertEqual(ended.stdout, "")

    def test_wrong_values(self):
        """Fails when a wrong value is taken, told in several lines, or ends in an uncaught exception."""
        wrong = {"--workers": ("0", "-1", "x", "8-2", "2-", "0-4", "1.5", "", "99999999999"),
                 "--queue-capacity": ("0", "-5", "many", "", "1e3"),
                 "--task-timeout": ("-1", "5parsecs", "ms", "", "1s2"),
                 "--worker-idle-timeout": ("-1s", "soon"),
                 "--idle-timeout": ("-1s", "never"),
                 "--drain-timeout": ("-1s", "x"),
                 "--max-line": ("0", "-1", "12XB", "KiB", "", "99999999999999999999GiB"),
                 "--max-connections": ("0", "-1", "x"),
                 "--handler": ("nosuch", ""),
                 "--log-level": ("loud", ""),
                 "--listen": ("70000", "host:", "127.0.0.1:x", "[::1", "1.2.3:9090:7", "", "127.0.0.1:65536")}
        for option, values in wrong.items():
            for value in values:
                with self.subTest(option=option, value=value):
                    self.check(USAGE_ERROR, f"{option}={value}", names=option)

    def test_unknown_option(self):
        """Fails when an unknown option or a second PORT is passed over."""
        self.check(USAGE_ERROR, "--no-such-option", names="--no-such-option")
        self.check(USAGE_ERROR, "-Z")
        self.check(USAGE_ERROR, "9090", "9091", names="9091")
        self.check(USAGE_ERROR, "--workers")

    def test_wrong_port(self):
        """Fails when PORT is not checked."""
        for value in ("65536", "-1", "http", "90x"):
            with self.subTest(value=value):
                self.check(USAGE_ERROR, "--", value)

    def test_port_in_use(self):
        """Fails when a port in use is not noticed, not named, or announced as ready."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.check(RUNTIME_ERROR, f"--listen=127.0.0.1:{port}", names=str(port))
            self.check(RUNTIME_ERROR, str(port), names=str(port))

    def test_one_bad_address_among_good_ones(self):
        """Fails when the server starts with only a part of what --listen asked for."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = run_to_end("--listen=127.0.0.1:0", f"--listen=127.0.0.1:{port}")
            self.assertEqual(ended.returncode, RUNTIME_ERROR)

    def test_unix_path_that_cannot_be(self):
        """Fails when a bad path is no clear error, or a file in its place is removed."""
        directory = self.temporary_directory()
        self.check(RUNTIME_ERROR, f"--listen={directory}/no/such/directory", names="/no/such/directory")
        precious = Path(directory, "precious")
        precious.write_text("text")
        self.check(RUNTIME_ERROR, f"--listen={precious}", names="precious")
        self.assertEqual(precious.read_text(), "text")
        self.check(RUNTIME_ERROR, "--listen=/" + "p" * 200, names="/pppp")

    def test_missing_config_file(self):
        """Fails when a configuration file that is not there is passed over."""
        self.check(RUNTIME_ERROR, "--config=/no/such/file", names="/no/such/file")

    def test_bad_config_file(self):
        """Fails when a mistake in the configuration file is passed over, or does not tell what is wrong."""
        config = Path(self.temporary_directory(), "config")
        for text, names in (("workers = 0\n", "workers"), ("no-such-key = 1\n", "no-such-key"),
                            ("workers =\n", "workers"), ("handler = nosuch\n", "nosuch")):
            with self.subTest(text=text):
                config.write_text(text)
                self.check(USAGE_ERROR, f"--config={config}", "--listen=127.0.0.1:0", names=names)


class WhatOptionsDo(ServerTestCase):
    def test_port_means_localhost(self):
        """Fails when PORT does not listen on 127.0.0.1 and ::1, or listens on every address."""
        port = free_port()
        server = self.start(str(port), listen=())
        expected = {("127.0.0.1", port)} | ({("::1", port)} if has_ipv6() else set())
        self.assertEqual(set(server.addresses()), expected)
        for address in expected:
            self.assertEqual(self.connect(address).ask("echo x"), "result: x")

    def test_default_port(self):
        """Fails when the default is not port 9090 on localhost."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family == socket.AF_INET or has_ipv6():
                with socket.socket(family) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind((host, 9090))
                    except OSError:
                        self.skipTest("port 9090 is in use on this machine")
        server = self.start(listen=())
        self.assertEqual({port for _, port in server.addresses()}, {9090})
        self.assertEqual(self.connect(("127.0.0.1", 9090)).ask("echo x"), "result: x")

    def test_several_addresses(self):
        """Fails when --listen is not repeatable, or one of its forms is not understood."""
        port = free_port()
        path = f"{self.temporary_directory()}/socket"
        listen = ["127.0.0.1:0", "localhost:0", path, str(port)] + (["[::1]:0"] if has_ipv6() else [])
        server = self.start(listen=listen)
        addresses = server.addresses()
        self.assertIn(path, addresses)
        self.assertIn(("127.0.0.1", port), addresses)
        if has_ipv6():
            self.assertTrue([host for host, number in (a for a in addresses if a != path)
                             if host == "::1" and number != port])
        for address in addresses:
            self.assertEqual(self.connect(address).ask("echo x"), "result: x")

    def test_unix_socket_can_be_used_again(self):
        """Fails when the file of an earlier run keeps the server from starting."""
        path = f"{self.temporary_directory()}/socket"
        for ending in ("stop", "kill", "stop"):
            server = self.start(listen=(path,))
            self.assertEqual(self.connect(path).ask("echo x"), "result: x")
            if ending == "stop":
                self.assertEqual(server.stop(), 0)
            else:
                server.kill()

    def test_unix_socket_of_a_living_server_is_not_taken(self):
        """Fails when a second server removes the socket of one that runs."""
        path = f"{self.temporary_directory()}/socket"
        self.start(listen=(path,))
        ended = run_to_end(f"--listen={path}")
        self.assertEqual(ended.returncode, RUNTIME_ERROR)
        self.assertEqual(self.connect(path).ask("echo x"), "result: x")

    def test_max_connections(self):
        """Fails when one client too many is served, or refused without a word, or a free place is not given."""
        server = self.start("--max-connections=3")
        clients = [self.connect(server) for _ in range(3)]
        for client in clients:
            self.assertEqual(client.ask("echo in"), "result: in")
        for _ in range(5):
            self.assertEqual(self.connect(server).rest(), ["ERROR: too many connections"])
        impatient = self.connect(server)
        impatient.send("echo sent before the refusal is read")
        self.assertEqual(impatient.rest(), ["ERROR: too many connections"])
        clients[0].close()
        clients[0] = wait_until(lambda: self.admitted(server), "a place is free")
        for client in clients:
            self.assertEqual(client.ask("echo still in"), "result: still in")

    def admitted(self, server):
        client = Client(server.address)
        self.addCleanup(client.close)
        return client if client.ask("echo in") == "result: in" else None

    def test_idle_timeout(self):
        """Fails when an idle client is kept, or one that waits for its reply or is at work is sent away."""
        server = self.start("--idle-timeout=400ms", "--workers=2")
        idle, waiting, busy = (self.connect(server) for _ in range(3))
        silence = Stopwatch()
        waiting.send("sleep 1200")

        def reply_after_more_work():
            self.assertEqual(busy.ask("sleep 20"), "result: slept 20 ms")
            return waiting.has_input()
        wait_until(reply_after_more_work, "the long task is answered")
        self.assertEqual(waiting.line(), "result: slept 1200 ms")
        self.assertEqual(idle.rest(), ["ERROR: idle for too long"])
        self.assertGreater(silence.seconds, 0.35)
        silence = Stopwatch()
        self.assertEqual(busy.rest() + waiting.rest(), ["ERROR: idle for too long"] * 2)
        self.assert_quick(silence.seconds, 1.2)

    def test_times_and_sizes(self):
        """Fails when a unit is misread: a bare number is seconds."""
        for text, milliseconds in (("150ms", 150), ("1s", 1000), ("1", 1000)):
            with self.subTest(text=text):
                client = self.connect(self.start(f"--task-timeout={text}"))
                self.assertEqual(client.ask("sleep 30000"), f"ERROR: timed out after {milliseconds} ms")
        client = self.connect(self.start("--task-timeout=1min", "--max-line=1MiB"))
        self.assertEqual(client.ask("sleep 200"), "result: slept 200 ms")
        self.assertEqual(client.ask("z" * ((1 << 20) + 1)), f"ERROR: line too long (max {1 << 20} bytes)")

    def test_times_of_0(self):
        """Fails when 0 keeps idle workers for ever, or makes a stop wait for the work that was accepted."""
        server = self.start("--drain-timeout=0", "--worker-idle-timeout=0", "--workers=1-3")
        client = self.connect(server)
        client.send("sleep 300\n" * 2 + "sleep 300")
        server.wait_for_workers(3)
        for _ in range(3):
            client.line()
        server.wait_for_workers(1)
        client.send("sleep 30000")
        server.wait_for_stats(lambda stats: stats["active_workers"] == 1, "the task runs")
        silence = Stopwatch()
        self.assertEqual(server.stop(), RUNTIME_ERROR)
        self.assert_quick(silence.seconds, 2)
        server.kill()  # it ended as it was to

    def test_config_file(self):
        """Fails when --config is not read, or wins over the command line."""
        config = Path(self.temporary_directory(), "config")
        config.write_text("# a comment\nworkers = 3\nqueue-capacity = 55\nmax-line = 2KiB\ntask-timeout = 100ms\n")
        server = self.start(f"--config={config}", "--queue-capacity=66")
        stats = server.stats()
        self.assertEqual((stats["workers"], stats["queue_capacity"]), (3, 66))
        client = self.connect(server)
        self.assertEqual(client.ask("sleep 30000"), "ERROR: timed out after 100 ms")
        self.assertEqual(client.ask("z" * 2049), "ERROR: line too long (max 2048 bytes)")

    def test_default_handler_is_digest(self):
        """Fails when the default of --handler changes."""
        path = f"{self.temporary_directory()}/socket"
        server = self.start(listen=(path,), handler=None)
        self.assertRegex(self.connect(server).ask("echo x"), r"^result: [0-9a-f]{64}$")
