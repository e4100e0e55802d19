"""Calls that fail, and processes that die, while connections are handed over: each costs what it concerns, and no more."""

import os
import resource
import signal
import socket
import tempfile
import unittest

import snapshot
from harness import RUNTIME_ERROR, parse_stats, sanitizer
from manager import CONNECTIONS, RestartTestCase
from strace import TRACED, Strace, require_strace
from test_handover_snapshot import Predecessor
from timing import wait_until

TOLD = "ERROR: internal error"
NO_LIBRARIES = 127  # the dynamic linker's exit status: its calls count, too


class FaultsTestCase(RestartTestCase):
    CLIENTS = 3

    def start_with_clients(self, *options):
        self.start_next(*options, env=TRACED)
        clients = [self.meet(kind) for kind in ("tcp", "unix", "tcp")[:self.CLIENTS]]
        self.assert_serves(*clients)
        return clients

    def launch_with(self, rule, **settings):
        """Launches the next process with calls of its main thread made to fail; tells of calls that happened."""
        require_strace()
        directory = self.temporary_directory()
        self.calls = f"{directory}/calls"
        # -D: the server keeps the process id that the environment names.
        self.server = self.launch_next(prefix=["strace", "-D", "-o", self.calls, "-e", f"trace={rule.split(':')[0]}",
                                               "-e", f"inject={rule}"], env=TRACED, **settings)
        return self.server

    def injected(self):
        with open(self.calls, errors="replace") as calls:
            return "(INJECTED" in calls.read()

    def ready_or_failed(self):
        """Whether the launched process gets ready; its exit status is 1 if not."""
        wait_until(lambda: self.server.child.poll() is not None or self.server.notify.named("READY"), "a start")
        if self.server.notify.named("READY"):
            return True
        self.assertIn(self.server.wait_exit(), (RUNTIME_ERROR, NO_LIBRARIES))
        return False

    def check_each(self, call, error, most):
        """Makes the first, second... call of a start fail. Returns how many of these starts lost a client."""
        lost = 0
        for number in range(1, most + 1):
            with self.subTest(call=call, number=number):
                clients = self.start_with_clients()
                self.end()
                self.launch_with(f"{call}:error={error}:when={number}")
                ready = self.ready_or_failed()
                if not ready:
                    self.start_next()
                ended = [client for client in clients if client.has_input()]
                for client in ended:
                    self.assertIn(client.rest(), ([], [TOLD]))
                self.assertLessEqual(len(ended), 1 if ready else 0)
                self.assert_serves(*(client for client in clients if client not in ended))
                self.assertEqual(self.store.names(), [])
                lost += len(ended)
                self.end()
                self.store.drop()
        return lost


class FaultsAtTheNextStart(FaultsTestCase):
    def test_epoll_takes_one_descriptor_less(self):
        """Fails when epoll_ctl failing for one connection, or for a listener, loses any other connection."""
        lost = self.check_each("epoll_ctl", "ENOSPC", 7)
        self.assertEqual(lost, self.CLIENTS)  # each of them once

    def test_reading_what_was_left_fails_for_now(self):
        """Fails when a read that fails once, of the channel or the snapshot, loses what the next start could read."""
        for call, most in (("recvmsg", 4), ("pread64", 6)):
            self.assertEqual(self.check_each(call, "ENOMEM", most), 0)

    def test_looking_at_what_was_left_fails_for_now(self):
        """Fails when a failing look at one descriptor costs more than its connection."""
        for call, most in (("fcntl", 16), ("setsockopt", 4), ("getsockopt", 8)):
            self.check_each(call, "ENOMEM", most)

    def test_told_before_it_is_closed(self):
        """Fails when a client whose connection cannot be set up is not told, or is reset over what it has sent."""
        self.start_next()
        talking = self.meet()
        self.assert_serves(talking)
        self.end()
        talking.send("echo meanwhile")
        self.launch_with("epoll_ctl:error=ENOSPC:when=5")
        self.server.wait_ready()
        self.assert_ended(talking, [TOLD])
        self.end()

    def test_gets_what_is_due_before_it_is_closed(self):
        """Fails when replies that the kernel would take are kept from a client whose connection cannot be set up."""
        self.start_next()
        client = self.meet("unix", receive_buffer=4096)
        text = "u" * 50_000
        client.send_aside(f"echo {text}\n".encode() * 18)
        control = self.meet()
        wait_until(lambda: parse_stats(control.ask("STATS"))["completed"] == 18, "all replies")
        control.close()
        self.end()
        self.launch_with("epoll_ctl:error=ENOSPC:when=5")
        self.server.wait_ready()
        # As much as the kernel takes at once, then what follows of it when there is room.
        self.assertEqual(set(client.rest(cut_off=True)), {f"result: {text}"})
        self.assertRegex(self.server.log(), r" error .*closed 1 connections .*No space left")
        self.assert_serves(self.meet())


class KilledAtTheNextStart(FaultsTestCase):
    def test_before_it_serves(self):
        """Fails when a start that is killed has taken the connections out of the store already."""
        for call, most in (("epoll_ctl", 7), ("recvmsg", 4), ("pread64", 4)):
            for number in range(1, most + 1):
                with self.subTest(call=call, number=number):
                    clients = self.start_with_clients()
                    self.end()
                    self.launch_with(f"{call}:signal=KILL:when={number}")
                    self.assertEqual(self.server.wait_exit(), -signal.SIGKILL)
                    self.server.kill()
                    self.assertIn(CONNECTIONS, self.store.names())
                    self.start_next()
                    self.assert_serves(*clients)
                    self.end()
                    self.store.drop()

    def test_the_last_step_of_a_start(self):
        """Fails when something that can fail comes after the connections were taken over, or READY=1 before."""
        clients = self.start_with_clients()
        self.end()
        self.launch_with("epoll_ctl,recvmsg,recvfrom,bind,listen,clone,clone3:error=EINVAL:when=1000")
        self.server.wait_ready()
        with open(self.calls, errors="replace") as calls:
            made = [line.split("(")[0] for line in calls]
        taken = made.index("recvfrom")  # out of the channel
        before_loop = made[taken:]
        for call in ("epoll_ctl", "recvmsg", "bind", "listen", "clone", "clone3"):
            self.assertNotIn(call, before_loop)
        self.assert_serves(*clients)


class FaultsAtTheHandover(FaultsTestCase):
    def test_a_snapshot_with_room_for_all_but_one(self):
        """Fails when a connection whose state cannot be written costs any other, or is left hanging."""
        clients = self.start_with_clients()
        large = self.meet("unix", receive_buffer=4096)
        text = "u" * 50_000
        large.send_aside(f"echo {text}\n".encode() * 18)
        late = self.meet()
        wait_until(lambda: parse_stats(late.ask("STATS"))["completed"] == self.CLIENTS + 18, "all replies")
        room = 300_000  # bytes; the log does not come near it
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (room, room))
        self.end(status=RUNTIME_ERROR)  # replies were lost
        self.server.wait_for_log("handed over 4 connections .* closed 1 that did not fit")
        self.assertEqual(set(large.rest(cut_off=True)), {f"result: {text}"})
        self.start_next()
        self.assert_serves(*clients, late)
        self.assertEqual(self.server.log_lines(" (warning|error) "), [])

    def check_none_handed_over(self, clients):
        self.assertEqual(self.server.wait_exit(), 0)
        for client in clients:
            self.assert_ended(client)
        wait_until(lambda: self.store.names() == [], "the channel is taken out of the store")
        self.start_next()
        self.assertEqual(self.server.log_lines(" (warning|error) "), [])
        self.assert_serves(self.meet())

    def test_a_snapshot_that_cannot_be_sealed(self):
        """Fails when sockets are sent without their state, or a snapshot is left that the next start must refuse."""
        clients = self.start_with_clients()
        with Strace(self.server.pid, threads=[self.server.pid], inject=("fcntl:error=EPERM",)):
            self.ask_for_restart()
            self.server.wait_for_log(" error .*no connection can be handed over: .*Operation not permitted")
            self.assertEqual(self.server.wait_exit(), 0)
        self.check_none_handed_over(clients)

    def test_a_snapshot_that_has_no_room_at_all(self):
        """Fails when a stop without room for the snapshot ends badly, or its clients are not ended in good order."""
        clients = self.start_with_clients()
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (0, 0))  # the log is lost, too
        self.ask_for_restart()
        self.check_none_handed_over(clients)

    def test_each_message(self):
        """Fails when a message that cannot be sent loses sockets that others can take, or leaves something unclear."""
        sockets_refused = False
        for number in range(1, 9):
            with self.subTest(number=number):
                clients = self.start_with_clients()
                with Strace(self.server.pid, threads=[self.server.pid],
                            inject=(f"sendmsg:error=ETOOMANYREFS:when={number}",)) as strace:
                    self.ask_for_restart()
                    self.assertEqual(self.server.wait_exit(), 0)
                    refused = [line for line in strace.lines() if "(INJECTED)" in line]
                handed_over = bool(self.server.log_lines("handed over 3 connections"))
                if any(f"cmsg_len={16 + 4 * len(clients)}" in line for line in refused):
                    sockets_refused = True
                    self.assertTrue(handed_over)
                self.start_next()
                self.assertEqual(self.server.log_lines(" (warning|error) "), [])
                if handed_over:
                    self.assert_serves(*clients)
                else:
                    for client in clients:
                        self.assert_ended(client)
                self.end()
                self.store.drop()
        self.assertTrue(sockets_refused)

    def test_no_stale_entry_of_a_manager_that_is_slow(self):
        """Fails when what a manager kept without telling in time is left for the next start to complain of."""
        self.store.answers = False
        clients = self.start_with_clients()
        self.ask_for_restart()
        self.assertEqual(self.server.wait_exit(), 0)
        for client in clients:
            self.assert_ended(client)
        wait_until(lambda: self.store.names() == [], "the channel is taken out of the store")
        self.start_next()
        self.assertEqual(self.server.log_lines(" (warning|error) "), [])


class OddDescriptors(Predecessor):
    def test_among_the_passed_ones(self):
        """Fails when a passed descriptor that is nothing of ours, of whatever kind, ends the start."""
        client, sock = self.accept()
        self.leave_snapshot(snapshot.snapshot(snapshot.payload([snapshot.connection(sock)])), sock)
        reader, writer = os.pipe()
        os.close(writer)
        for number, fd in enumerate((os.open("/", os.O_PATH), os.open(os.devnull, os.O_RDONLY), reader,
                                     os.memfd_create("odd"))):
            self.store.add(f"odd-{number}", fd)
        self.store.add(CONNECTIONS, os.open("/", os.O_PATH))
        self.start_next()
        self.assertEqual(self.store.names(), [])
        self.assertEqual(len(self.server.log_lines(" warning .*'odd-")), 4)
        self.assert_serves(client, self.meet())

    def test_in_the_channel(self):
        """Fails when a descriptor in the channel that is no socket is served, ends the start, or costs a connection."""
        client, sock = self.accept()
        nameless = [b"\0" * 8, *snapshot.connection(sock)[1:]]  # whose cookie could not be had
        records = snapshot.payload([nameless, snapshot.connection(sock)])
        with tempfile.TemporaryFile() as regular:
            self.leave([snapshot.memfd(snapshot.snapshot(records))],
                       [os.dup(regular.fileno()), os.open("/", os.O_PATH), sock])
        self.start_next()
        self.assertEqual(self.store.names(), [])
        self.assertRegex(self.server.log(), " warning .*2 descriptors")
        self.assert_serves(client)

    @unittest.skipIf(sanitizer() in ("address", "thread"), "its shadow memory needs more than the limit")
    def test_a_size_that_cannot_be_true(self):
        """Fails when memory is asked for because a size says so."""
        client, sock = self.accept()
        vast = os.memfd_create("snapshot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(vast, 1 << 36)
        snapshot.seal(vast)
        self.leave([vast], [sock])
        self.start_next(limits={"AS": 1 << 30})
        self.assertRegex(self.server.log(), " error .*snapshot.*its size cannot be true")
        self.assert_ended(client)
        self.assert_serves(self.meet())


class PassedListeners(FaultsTestCase):
    def test_one_that_cannot_be_told(self):
        """Fails when a listener is closed because a call that looks at it failed: its clients wait for ever."""
        self.start_with_clients()
        self.end()
        for number in (1, 2):
            with self.subTest(number=number):
                self.launch_with(f"getsockopt:error=ENOMEM:when={number}")
                self.assertEqual(self.server.wait_exit(), RUNTIME_ERROR)
                line, = self.server.log().splitlines()
                self.assertIn("Cannot allocate memory", line)

    def test_more_announced_than_passed(self):
        """Fails when descriptors of the server's own are taken for passed ones, and closed."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = self.launch(listen=(), env={"LISTEN_FDS": "3", "LISTEN_PID": "{pid}"},
                                 **{"pass": [listener.fileno()]})
            self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
            line, = server.log().splitlines()
            self.assertRegex(line, "LISTEN_FDS.*Bad file descriptor")
