"""What goes wrong with stored descriptors elsewhere: duplicates, limits, clients that leave, managers that refuse."""

import os
import random
import shutil
import socket
import subprocess
import unittest

from harness import BINARY, sanitizer
from manager import CONNECTIONS, RestartTestCase
from timing import Stopwatch, wait_until


def kinds(server):
    """What the server has open, regular files (its log) left out."""
    return [kind for kind in server.process.kinds() if not kind.startswith("/")]


class TheStore(RestartTestCase):
    def test_is_emptied_as_soon_as_it_is_picked_up(self):
        """Fails when the manager keeps a duplicate, so that a client never sees the server close its connection."""
        self.start_next()
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        self.assert_serves(*clients)
        self.end()
        self.assertEqual(self.store.names(), [CONNECTIONS])
        self.start_next("--idle-timeout=1s")
        self.assertEqual(self.store.names(), [])
        names = [name for _, name, _ in self.server.notify.messages]
        self.assertLess(names.index("FDSTOREREMOVE"), names.index("READY"))
        for client in clients:
            self.assert_ended(client, ["ERROR: idle for too long"])

    def test_closing_after_a_restart_leaves_nothing_behind(self):
        """Fails when restored sockets stay open, or their events keep coming, after their clients have left."""
        self.start_next()
        at_rest = kinds(self.server)
        clients = [self.meet(kind) for kind in ("tcp", "unix") for _ in range(50)]
        self.assert_serves(*clients)
        for _ in range(2):
            self.restart()
        self.assert_serves(*clients)
        for client in clients:
            client.close()
        wait_until(lambda: kinds(self.server) == at_rest, "the descriptors of the start")
        self.assertEqual(self.server.wait_for_stats(lambda s: s["connections"] == 1, "one connection")["dropped"], 0)

    def test_a_stop_ends_the_connections_in_good_order(self):
        """Fails when a client loses replies, is reset, or is left hanging once the manager drops the store."""
        self.start_next("--workers=1")
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        for client in clients:
            client.send("sleep 200", *(f"echo {index}" for index in range(200)))
        self.wait_for_busy(1)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.store.names(), [])
        for client in clients:
            self.assert_ended(client, ["result: slept 200 ms", *(f"result: {index}" for index in range(200))])

    def test_restored_descriptors_block_nobody_and_are_not_inherited(self):
        """Fails when a restored socket is blocking or not close-on-exec, or the server keeps the channel open."""
        self.start_next()
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        self.assert_serves(*clients)
        at_rest = kinds(self.server)
        self.restart()
        self.assertEqual(kinds(self.server), at_rest)
        process = self.server.process
        polled = process.polled_descriptors() & process.sockets()
        self.assertEqual(len(polled), len(clients) + 2)
        for fd in polled:
            self.assertTrue(process.flags(fd) & os.O_NONBLOCK, fd)
            self.assertTrue(process.flags(fd) & os.O_CLOEXEC, fd)

    def test_unknown_names_are_closed_and_removed(self):
        """Fails when a descriptor of a name that is not ours is served, kept open, or left in the store."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.store.add("left-by-another", theirs.detach())
        self.store.add("a-file", os.open(os.devnull, os.O_RDONLY))
        self.start_next()
        self.assertEqual(self.store.names(), [])
        for name in ("left-by-another", "a-file"):
            self.assertRegex(self.server.log(), f"(?m) warning .*{name}")
        ours.settimeout(1)
        self.assertEqual(ours.recv(1), b"")
        self.assert_serves(self.meet())


class ClientsThatLeave(RestartTestCase):
    def test_while_they_are_stored(self):
        """Fails when a connection that broke while it was stored is an error, or disturbs the others."""
        self.start_next()
        staying = self.meet()
        resetting = [self.meet() for _ in range(5)]
        closing = [self.meet(kind) for kind in ("tcp", "unix") for _ in range(5)]
        asking = [self.meet(kind) for kind in ("tcp", "unix") for _ in range(5)]
        self.assert_serves(staying, *resetting, *closing, *asking)
        self.end()
        for client in resetting:
            client.reset()
        for client in asking:
            client.send("echo gone before the reply")
        for client in closing + asking:
            client.close()
        self.start_next()
        self.assert_serves(staying)
        self.server.wait_for_stats(lambda s: s["connections"] == 2, "only those who stayed")
        self.assertEqual(self.server.log_lines(" (warning|error) "), [])

    def test_a_request_sent_while_stored_is_answered(self):
        """Fails when bytes, or the end of input, that come in between two processes are lost."""
        self.start_next()
        asking, ending = self.meet(), self.meet("unix")
        self.assert_serves(asking, ending)
        self.end()
        asking.send("echo meanwhile")
        ending.send_bytes(b"echo the last")
        ending.finish()
        self.start_next()
        self.assertEqual(asking.line(), "result: meanwhile")
        self.assert_ended(ending, ["result: the last"])


class ManagersThatRefuse(RestartTestCase):
    def start_busy(self, *options):
        self.start_next("--workers=1", *options)
        busy, idle = self.meet(), self.meet("unix")
        self.assert_serves(idle)
        busy.send("sleep 200", "echo queued")
        self.wait_for_busy(1)
        return busy, idle

    def assert_ordinary_drain(self, busy, idle):
        self.assertEqual(self.server.wait_exit(), 0)
        self.assert_ended(busy, ["result: slept 200 ms", "result: queued"])
        self.assert_ended(idle)

    def test_a_store_that_drops_everything(self):
        """Fails when the server trusts a manager that does not keep descriptors (FileDescriptorStoreMax=0)."""
        self.store.keeps = False
        busy, idle = self.start_busy()
        self.ask_for_restart()
        self.assert_ordinary_drain(busy, idle)
        self.assertEqual(len(self.store.requests), 1)

    def test_a_barrier_that_is_never_answered(self):
        """Fails when a manager that hangs makes the stop hang, or costs the clients their replies."""
        self.store.answers = False
        self.store.keeps = False
        busy, idle = self.start_busy()
        time_to_end = Stopwatch()
        self.ask_for_restart()
        self.assert_ordinary_drain(busy, idle)
        self.assert_quick(time_to_end.seconds, 2)

    def test_a_manager_that_is_slow_to_answer_leaves_nothing_unclear(self):
        """Fails when a descriptor kept without an answer spoils the next start."""
        self.store.answers = False
        busy, idle = self.start_busy()
        self.ask_for_restart()
        self.assert_ordinary_drain(busy, idle)
        self.start_next()
        self.assertEqual(self.store.names(), [])
        self.assert_serves(self.meet())

    def test_option_turns_it_off(self):
        """Fails when --preserve-connections=no still stores anything, or does not end the connections."""
        busy, idle = self.start_busy("--preserve-connections=no")
        self.ask_for_restart()
        self.assert_ordinary_drain(busy, idle)
        self.assertEqual(self.store.requests, [])
        self.start_next()
        self.assert_serves(self.meet())

    def test_without_a_manager(self):
        """Fails when a server that nobody keeps descriptors for waits for one, or does not end its connections."""
        server = self.start(notify=False)
        client = self.connect(server)
        self.assert_serves(client)
        self.assertEqual(server.stop(), 0)
        self.assert_ended(client)


class Crashes(RestartTestCase):
    def test_listeners_survive_and_established_clients_see_the_end(self):
        """Fails when a crash loses who waits at the listener, or leaves established clients hanging."""
        self.start_next()
        established = [self.meet(kind) for kind in ("tcp", "unix")]
        self.assert_serves(*established)
        self.server.kill()
        for client in established:
            self.assert_ended(client)
        waiting = [self.meet(kind) for kind in ("tcp", "unix")]
        for client in waiting:
            client.send("echo waited")
        self.start_next()
        for client in waiting:
            self.assertEqual(client.line(), "result: waited")

    def test_in_the_middle_of_a_stop(self):
        """Fails when a process killed before it handed over (a stop that took too long) stops the next from serving."""
        self.start_next("--workers=1")
        client = self.meet()
        client.send("sleep 30000")
        self.wait_for_busy(1)
        self.ask_for_restart()
        wait_until(lambda: self.store.names(), "the channel is stored")
        self.server.kill()
        self.assert_ended(client)
        self.start_next()
        self.assertEqual(self.store.names(), [])
        self.assert_serves(self.meet())

    def test_a_restored_connection_sees_a_later_crash(self):
        """Fails when something still holds a restored socket after its process was killed."""
        self.start_next()
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        self.assert_serves(*clients)
        self.restart()
        self.assert_serves(*clients)
        self.server.kill()
        for client in clients:
            self.assert_ended(client)


class Limits(RestartTestCase):
    COUNT = 700
    LIMIT = 300  # descriptors in flight; checked before each message of 253

    def some_user(self):
        if os.geteuid() != 0 or not shutil.which("prlimit"):
            self.skipTest("needs to start the server as another user, and prlimit(1)")
        user = random.randrange(1 << 20, 1 << 30)  # in-flight descriptors are counted by user
        try:
            self.run_as(user, BINARY, "--version")
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("another user cannot run the binary")
        return user

    def run_as(self, user, *command):
        subprocess.run(command, user=user, group=user, extra_groups=[], cwd="/", check=True, capture_output=True)

    def fill(self, *options, **settings):
        """Starts a server with connections, some of whose low descriptors are free again."""
        self.start_next(*options, **settings)
        early = [self.meet() for _ in range(40)]
        clients = [self.meet() for _ in range(self.COUNT)]
        self.assert_serves(*early, *clients)
        for client in early:
            client.close()
        control = self.meet()
        wait_until(lambda: f" connections={self.COUNT + 1} " in control.ask("STATS"), "the early ones are gone")
        return clients, control

    def test_in_flight_descriptors_that_do_not_fit(self):
        """Fails when connections beyond RLIMIT_NOFILE are forgotten silently: left hanging, or not told in the log."""
        user = self.some_user()
        clients, control = self.fill(user=user)
        control.close()
        self.run_as(user, "prlimit", f"--pid={self.server.pid}", f"--nofile={self.LIMIT}")
        self.end()
        found = self.server.wait_for_log(r"handed over (\d+) connections .* closed ([1-9]\d*) that did not fit")
        stored, closed = int(found[1]), int(found[2])
        self.assertEqual(stored + closed, self.COUNT)
        self.assertGreaterEqual(stored, self.LIMIT)
        self.start_next()
        self.assertEqual(self.server.log_lines(" (warning|error) "), [])  # what was told once is not told again
        ended = [client for client in clients if client.has_input()]
        self.assertEqual(len(ended), closed)
        for client in ended:
            self.assert_ended(client)
        self.assert_serves(*[client for client in clients if client not in ended])

    @unittest.skipIf(sanitizer() in ("address", "undefined"), "the sanitizer's runtime needs descriptors itself")
    def test_next_process_may_open_fewer_descriptors(self):
        """Fails when connections that the next process has no descriptors for are left hanging, or not told."""
        clients, control = self.fill()
        control.close()
        self.end()
        self.start_next(limits={"NOFILE": 100})
        ended = [client for client in clients if client.has_input()]
        self.assertGreater(len(ended), self.COUNT - 100)
        for client in ended:
            self.assert_ended(client)
        self.assertRegex(self.server.log(), rf" (warning|error) .*\b{len(ended)}\b")
        self.assert_serves(*[client for client in clients if client not in ended])

    def test_restored_clients_count_against_the_limits(self):
        """Fails when a restart lets a peer, or all of them together, have more connections than they may."""
        for option, reason in (("--max-connections=3", "too many connections"),
                               ("--max-connections-per-peer=3", "too many connections from this client")):
            with self.subTest(option):
                self.start_next(option)
                clients = [self.meet() for _ in range(3)]
                self.assert_serves(*clients)
                self.restart(option)
                self.assert_ended(self.meet(), [f"ERROR: {reason}"])
                self.assert_serves(*clients)
                clients.pop().close()
                wait_until(lambda: self.welcome(), "room for one more")
                self.end()
                self.store.drop()

    def welcome(self):
        client = self.meet()
        try:
            return client.ask("echo x") == "result: x"
        except (AssertionError, OSError):
            return False
        finally:
            client.close()
