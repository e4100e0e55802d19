"""Limits on connections and on what is unsent: each with its message and its counter, and nobody else pays."""

import os
import signal
import unittest
from pathlib import Path

from client import Client
from harness import ServerTestCase
from procfs import bytes_in_flight
from timing import PATIENCE, wait_until

ESTABLISHED, KEEP_ALIVE = "01", "02"  # of /proc/net/tcp
TOO_MANY = "ERROR: too many connections"
TOO_MANY_OF_ONE = "ERROR: too many connections from this client"


class ConnectionLimit(ServerTestCase):
    def start_full(self, limit=3, *options):
        server = self.start(f"--max-connections={limit}", *options)
        clients = [self.connect(server) for _ in range(limit)]
        for client in clients:
            self.assertEqual(client.ask("echo in"), "result: in")
        return server, clients

    def test_message_end_and_counter(self):
        """Fails when a client over --max-connections is served, left without a word, or not counted."""
        server, clients = self.start_full()
        for _ in range(5):
            self.assertEqual(self.connect(server).rest(), [TOO_MANY])
        self.assertEqual(len(server.log_lines("warning .*refusing connections, 3 are open")), 1)
        clients.pop().close()

        def served():
            newcomer = Client(server.address)
            newcomer.send("STATS")
            if newcomer.line().startswith("stats:"):
                return newcomer
            newcomer.close()
        newcomer = wait_until(served, "a newcomer takes the place that became free")
        self.addCleanup(newcomer.close)
        newcomer.send("STATS")
        stats = newcomer.line()
        self.assertRegex(stats, r" connections=3 accepted=4 ")
        self.assertGreaterEqual(int(stats.partition("refused=")[2].split()[0]), 5)

    def test_message_reaches_a_client_that_sent_already(self):
        """Fails when data in flight at the refusal resets the connection, and the message is lost with it."""
        server, clients = self.start_full()
        server.signal(signal.SIGSTOP)
        refused = [self.connect(server) for _ in range(10)]
        for client in refused:
            client.send(*["echo in flight"] * 2000)
        server.signal(signal.SIGCONT)
        for client in refused:
            self.assertEqual(client.rest(), [TOO_MANY])
        self.assertEqual(clients[0].ask("echo still in"), "result: still in")

    def test_message_reaches_a_client_that_keeps_sending(self):
        """Fails when what a refused client sends after the refusal resets the connection before it has read why."""
        server, _ = self.start_full()
        client = self.connect(server)
        wait_until(client.has_input, "the refusal came")
        for _ in range(20):
            client.send(*["echo more"] * 500)
        wait_until(lambda: bytes_in_flight(server.port) == 0, "the server has taken it all")
        self.assertEqual(client.rest(), [TOO_MANY])

    def test_the_refused_do_not_pile_up(self):
        """Fails when a refused client that does not close keeps its descriptor in the server."""
        server, _ = self.start_full()
        before = len(server.process.sockets())
        refused = [self.connect(server) for _ in range(200)]
        for client in refused:
            wait_until(client.has_input, "the refusal came")
        wait_until(lambda: len(server.process.sockets()) == before, "the refused are gone from the server")
        for client in refused[:50]:
            self.assertEqual(client.line(), TOO_MANY)

    def test_those_inside_do_not_notice(self):
        """Fails when a storm of refused clients keeps a client that is served waiting."""
        server, clients = self.start_full()
        for _ in range(30):
            storm = [self.connect(server) for _ in range(10)]
            self.assertEqual(clients[0].ask("echo calm", timeout=PATIENCE / 20), "result: calm")
            for client in storm:
                client.reset()


class PeerLimit(ServerTestCase):
    OPTION = "--max-connections-per-peer=2"

    def check_own_limit(self, server, source=None):
        """Two clients from there are served, the third is told why not."""
        clients = [self.connect(server, source=source) for _ in range(2)]
        for client in clients:
            self.assertEqual(client.ask("echo in"), "result: in")
        self.assertEqual(self.connect(server, source=source).rest(), [TOO_MANY_OF_ONE])
        return clients

    def test_addresses_are_told_apart(self):
        """Fails when one address can take all, when it takes the places of another, or the limit is not kept."""
        server = self.start(self.OPTION)
        first = self.check_own_limit(server, "127.0.0.1")
        self.check_own_limit(server, "127.0.0.2")
        self.check_own_limit(server, "127.1.2.3")
        first[0].close()

        def served_again():
            client = self.connect(server, source="127.0.0.1")
            client.send("STATS")
            return client.line() != TOO_MANY_OF_ONE and client
        client = wait_until(served_again, "a place becomes free again")
        client.send("STATS")
        self.assertRegex(client.line(), r" connections=6 accepted=7 refused=[3-9]")

    def test_a_place_is_given_back_however_it_was_left(self):
        """Fails when a reset, an end of input or a half line does not free the place of its client."""
        server = self.start("--max-connections-per-peer=1", "--line-timeout=100ms")

        def reset(client):
            client.send("sleep 60000")
            client.reset()

        def end(client):
            client.finish()
            self.assertEqual(client.rest(), [])

        def time_out(client):
            client.send_bytes(b"half a li")
            self.assertEqual(client.rest(), ["ERROR: request not completed in time"])
            client.close()

        def served():
            client = self.connect(server)
            client.send("echo in")
            return client.line() == "result: in" and client
        for leave in (reset, end, time_out) * 3:
            leave(wait_until(served, "the place is free"))
        wait_until(served, "the place is free")

    def test_no_limit_by_default(self):
        """Fails when clients of one address are refused though nobody asked for that."""
        server = self.start()
        clients = [self.connect(server) for _ in range(100)]
        for client in clients:
            self.assertEqual(client.ask("echo in"), "result: in")
        self.assertEqual(server.stats()["refused"], 0)

    def test_set_by_a_reload(self):
        """Fails when a limit set by a reload ignores who is connected already, or one taken away and set again counts on."""
        config = f"{self.temporary_directory()}/config"

        def configure(limit):
            with open(config, "w") as file:
                file.write(f"max-connections-per-peer={limit}\n")
        configure(0)
        server = self.start(f"--config={config}")
        clients = [self.connect(server) for _ in range(3)]
        for client in clients:
            self.assertEqual(client.ask("echo in"), "result: in")
        for number, limit in enumerate((2, 0, 3)):
            configure(limit)
            server.signal(signal.SIGHUP)
            wait_until(lambda: len(server.log_lines("configuration reloaded")) == number + 1, "the reload")
            if limit:
                self.assertEqual(self.connect(server).rest(), [TOO_MANY_OF_ONE])
        clients.pop().close()

        def served():
            client = self.connect(server)
            client.send("echo in")
            return client.line() == "result: in"
        wait_until(served, "a place is free again")

    def start_unix(self):
        directory = self.temporary_directory()
        os.chmod(directory, 0o755)
        return self.start(self.OPTION, listen=(f"{directory}/socket",))

    def test_unix_clients_of_one_user(self):
        """Fails when clients on a unix socket are not counted by their user."""
        server = self.start_unix()
        self.check_own_limit(server)

    @unittest.skipUnless(os.geteuid() == 0, "only root can be two users")
    def test_unix_users_are_told_apart(self):
        """Fails when one user's connections on a unix socket take the places of another's."""
        server = self.start_unix()
        self.check_own_limit(server)
        os.chmod(server.address, 0o777)
        os.seteuid(65534)  # which the kernel remembers for those who connect meanwhile
        try:
            others = self.check_own_limit(server)
        finally:
            os.seteuid(0)
        self.assertEqual(self.connect(server).rest(), [TOO_MANY_OF_ONE])
        self.assertEqual(others[0].ask("echo still in"), "result: still in")


class VanishedPeers(ServerTestCase):
    def keep_alive_seconds(self, port):
        """What the kernel's timers say of connections to the server: seconds until it asks the peer."""
        found = []
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            kind, left = fields[5].split(":")
            if int(fields[1].split(":")[1], 16) == port and fields[3] == ESTABLISHED and kind == KEEP_ALIVE:
                found.append(int(left, 16) / os.sysconf("SC_CLK_TCK"))
        return found

    def test_tcp_keep_alive(self):
        """Fails when a client that vanished without a word keeps its place for ever."""
        server = self.start()
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        left = wait_until(lambda: self.keep_alive_seconds(server.port), "a keep-alive timer runs", PATIENCE / 4)
        self.assertEqual(len(left), 1)
        self.assertLessEqual(left[0], 60.5)
        self.assertGreater(left[0], 60 - PATIENCE)


class UnsentLimit(ServerTestCase):
    def answered_unread(self, limit):
        """The bytes of replies that the server makes for a client that reads none."""
        path = f"{self.temporary_directory()}/socket"  # its buffers do not grow by themselves
        server = self.start("--workers=2", f"--max-unsent={limit}", listen=(path,))
        silent = self.connect(server)
        silent.send_until_blocked((b"echo " + b"r" * 991 + b"\n") * 20, limit=64 << 20, quiet=0.5)
        stats = server.wait_for_stats(lambda s: not s["active_workers"] and not s["queue_depth"], "nothing to do")
        other = self.connect(server)
        self.assertEqual(other.ask("echo fine"), "result: fine")
        return stats["completed"] * 1000

    def test_bound(self):
        """Fails when --max-unsent does not bound what is made for a client that does not read."""
        small, large = self.answered_unread("64KiB"), self.answered_unread("4MiB")
        in_the_kernel = 512 << 10
        self.assertLess(small, (64 << 10) + in_the_kernel)
        self.assertGreater(large, 4 << 20)
        self.assertLess(large, (4 << 20) + 2 * in_the_kernel)
