"""What a previous process left in the store, sound or not. The test plays that process."""

import fcntl
import os
import socket

import snapshot
from harness import parse_stats
from manager import CONNECTIONS, RestartTestCase
from timing import PATIENCE, Stopwatch


class Predecessor(RestartTestCase):
    """Accepts the connections itself, as a process that has gone did."""

    def setUp(self):
        super().setUp()
        self.accepted = []

    def accept(self, kind="tcp"):
        client = self.meet(kind)
        listener = self.sockets[kind]
        listener.settimeout(PATIENCE)  # a server that shared it may have changed that
        sock, _ = listener.accept()
        self.addCleanup(sock.close)
        self.accepted.append(sock)
        return client, sock

    def leave(self, *bunches):
        """Ends the previous process: only the store has its descriptors now."""
        numbers = [[each if isinstance(each, int) else each.fileno() for each in bunch] for bunch in bunches]
        self.store.add(CONNECTIONS, snapshot.channel(*numbers))
        for sock in self.accepted:
            sock.close()
        for each in {each for bunch in bunches for each in bunch if isinstance(each, int)}:
            os.close(each)

    def leave_snapshot(self, content, *sockets, seals=snapshot.ALL_SEALS):
        self.leave([snapshot.memfd(content, seals)], *([sockets] if sockets else []))


class SoundSnapshots(Predecessor):
    def test_everything_it_can_tell(self):
        """Fails when a field is not read, not acted on, or acted on in another order."""
        client, sock = self.accept()
        fields = snapshot.connection(
            sock, serial=42, unsent=b"of it\nresult: two\n", undecoded=b"echo seven\necho ei", partial=b"",
            owed=[snapshot.answer(snapshot.REQUEST, b"echo three"), snapshot.answer(snapshot.STATS, b""),
                  snapshot.answer(snapshot.REPLY, b"ERROR: five\n", failed=True),
                  snapshot.answer(snapshot.REQUEST, b"fail")])
        sock.send(b"result: one, the rest ")
        self.leave_snapshot(snapshot.snapshot(snapshot.payload([fields], totals=[1000, 2, 300])), sock)
        self.start_next()
        self.assertEqual(client.lines(3), ["result: one, the rest of it", "result: two", "result: three"])
        stats = parse_stats(client.line())
        self.assertEqual((stats["accepted"], stats["refused"]), (1000, 2))
        self.assertIn(stats["completed"], range(301, 304))  # those behind it may have ended, too
        self.assertEqual(client.lines(3), ["ERROR: five", "ERROR: task failed", "result: seven"])
        client.send("ght", "STATS")
        self.assertEqual(client.line(), "result: eight")
        self.assertEqual(parse_stats(client.line())["errors"], 2)

    def test_state_of_its_input(self):
        """Fails when the end of input, or a line that is being skipped, is forgotten."""
        ended, ended_sock = self.accept("unix")
        skipping, skipping_sock = self.accept("unix")
        begun, begun_sock = self.accept("unix")
        records = [snapshot.connection(ended_sock, end_of_input=True, partial=b"echo last"),
                   snapshot.connection(skipping_sock, skipping=True),
                   snapshot.connection(begun_sock, partial=b"echo be")]
        self.leave_snapshot(snapshot.snapshot(snapshot.payload(records)), ended_sock, skipping_sock, begun_sock)
        self.start_next()
        self.assert_ended(ended, ["result: last"])
        skipping.send("the end of what was too long", "echo next")
        self.assertEqual(skipping.line(), "result: next")
        begun.send("gun")
        self.assertEqual(begun.line(), "result: begun")

    def check_older(self, count):
        client, sock = self.accept()
        fields = snapshot.connection(sock, serial=9)[:count]
        self.leave_snapshot(snapshot.snapshot(snapshot.payload([fields], totals=[10])), sock)
        self.start_next()
        self.assert_serves(client)
        self.assertEqual(parse_stats(client.ask("STATS"))["accepted"], 10)

    def test_of_an_older_release_that_wrote_no_owed_answers(self):
        """Fails when a record that lacks its last field is refused instead of being filled up with the default."""
        self.check_older(7)

    def test_of_an_older_release_that_wrote_no_texts(self):
        """Fails when a record that lacks several fields is refused instead of being filled up with defaults."""
        self.check_older(4)

    def test_of_a_newer_release_that_is_compatible(self):
        """Fails when fields or totals that a newer release has added are not skipped."""
        client, sock = self.accept()
        other, other_sock = self.accept()
        records = [[*snapshot.connection(sock, partial=b"echo "), b"more of it"],
                   [*snapshot.connection(other_sock, partial=b"echo "), b"more"]]
        content = snapshot.payload(records, totals=range(1, 40)) + b"and more"
        self.leave_snapshot(snapshot.snapshot(content), sock, other_sock)
        self.start_next()
        for each in (client, other):
            each.send("x")
            self.assertEqual(each.line(), "result: x")

    def test_two_of_them(self):
        """Fails when what two processes left (one did not live to pick up the other's) is not all restored."""
        clients = []
        for number in range(2):
            client, sock = self.accept()
            clients.append(client)
            self.leave_snapshot(snapshot.snapshot(snapshot.payload([snapshot.connection(sock)])), sock)
        self.start_next()
        self.assert_serves(*clients)
        self.assertEqual(self.store.names(), [])

    def test_a_socket_it_does_not_tell_about(self):
        """Fails when a socket without a record is served or left hanging, or a record without a socket matters."""
        told, told_sock = self.accept()
        untold, untold_sock = self.accept()
        gone, gone_sock = self.accept()
        records = [snapshot.connection(gone_sock), snapshot.connection(told_sock)]
        self.leave_snapshot(snapshot.snapshot(snapshot.payload(records)), untold_sock, told_sock)
        self.start_next()
        self.assert_serves(told)
        self.assert_ended(untold)
        self.assert_ended(gone)


class UnsoundSnapshots(Predecessor):
    def check(self, reason, leave):
        """The connections are closed cleanly and at once, the log tells why, and everyone else is served."""
        pairs = [self.accept(kind) for kind in ("tcp", "unix", "tcp")]
        pairs[2][0].send("echo never read")
        leave([sock for _, sock in pairs])
        self.start_next()
        time_to_end = Stopwatch()
        for client, _ in pairs:
            self.assert_ended(client)
        self.assert_quick(time_to_end.seconds, 1)
        line, = self.server.log_lines("snapshot")
        self.assertRegex(line, f" error .*{reason}")
        self.assertEqual(self.store.names(), [])
        newcomer = self.meet()
        self.assert_serves(newcomer)
        self.restart()
        self.assert_serves(newcomer)

    def sound(self, sockets):
        return snapshot.snapshot(snapshot.payload([snapshot.connection(sock) for sock in sockets]))

    def leave_spoilt(self, spoil, **settings):
        return lambda sockets: self.leave_snapshot(spoil(self.sound(sockets)), *sockets, **settings)

    def test_unreadable(self):
        """Fails when something that is no snapshot hangs the connections or the server."""
        self.check("not a snapshot", self.leave_spoilt(lambda sound: b"x" + sound[1:]))

    def test_empty(self):
        """Fails when an empty snapshot hangs the connections or the server."""
        self.check("not a snapshot", self.leave_spoilt(lambda sound: b""))

    def test_truncated(self):
        """Fails when a snapshot that ends too early is used."""
        self.check("truncated", self.leave_spoilt(lambda sound: sound[:-1]))

    def test_cut_within_its_head(self):
        """Fails when a snapshot without a whole head is used."""
        self.check("truncated", self.leave_spoilt(lambda sound: sound[:12]))

    def test_wrong_checksum(self):
        """Fails when a snapshot with a flipped bit is used."""
        self.check("checksum", self.leave_spoilt(lambda sound: sound[:-30] + bytes([sound[-30] ^ 4]) + sound[-29:]))

    def test_newer_version(self):
        """Fails when a snapshot of a version that is not known is used."""
        self.check("version", lambda sockets: self.leave_snapshot(
            snapshot.snapshot(snapshot.payload([snapshot.connection(sock) for sock in sockets]), version=2),
            *sockets))

    def check_senseless(self, count=None, **fields):
        """Records with these fields, of which only so many are written."""
        self.check("makes no sense", lambda sockets: self.leave_snapshot(snapshot.snapshot(
            snapshot.payload([snapshot.connection(sock, **fields)[:count] for sock in sockets])), *sockets))

    def test_unknown_kind_of_answer(self):
        """Fails when an answer of a kind that no release has written is used."""
        self.check_senseless(owed=[snapshot.answer(17, b"?")])

    def test_unknown_kind_of_proxied_connection(self):
        """Fails when what no release has written of a client behind a proxy is used."""
        self.check_senseless(proxied=3)

    def test_address_that_is_none(self):
        """Fails when a client behind a proxy is taken over with an address that cannot be one."""
        self.check_senseless(proxied=2, client=b"123")

    def test_record_cut_within_a_field(self):
        """Fails when a record that ends in the middle of a field is used."""
        self.check_senseless(owed=[b"\0\0\5\0"], count=8)

    def test_unsealed(self):
        """Fails when a snapshot is used that its writer did not complete, or that can still change."""
        self.check("not completed", self.leave_spoilt(lambda sound: sound, seals=0))

    def test_sealed_in_part(self):
        """Fails when a snapshot is used that could still be written to."""
        self.check("not completed", self.leave_spoilt(lambda sound: sound, seals=fcntl.F_SEAL_SHRINK))

    def test_missing_with_sockets(self):
        """Fails when a socket is taken for the snapshot."""
        self.check("not completed", lambda sockets: self.leave(sockets))

    def test_missing(self):
        """Fails when an empty channel (its reader died before it took it out of the store) stops the start."""
        self.leave()
        self.start_next()
        self.assertRegex(self.server.log(), " error .*snapshot.*missing")
        self.assertEqual(self.store.names(), [])
        self.assert_serves(self.meet())

    def test_no_channel_at_all(self):
        """Fails when a descriptor of our name that is no channel stops the start or blocks it."""
        pipe, writer = os.pipe()
        self.addCleanup(os.close, writer)
        pair, other = socket.socketpair()
        self.addCleanup(other.close)
        for fd in (os.open(os.devnull, os.O_RDONLY), pipe, pair.detach()):
            self.store.add(CONNECTIONS, fd)
        self.start_next()
        self.assertEqual(self.store.names(), [])
        self.assert_serves(self.meet())

    def test_a_channel_whose_sender_lives(self):
        """Fails when the server waits for more from a sender that does not end."""
        client, sock = self.accept()
        sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(sender.close)
        memfd = snapshot.memfd(self.sound([sock]))
        socket.send_fds(sender, [b"\0"], [memfd])
        socket.send_fds(sender, [b"\0"], [sock.fileno()])
        os.close(memfd)
        sock.close()
        self.store.add(CONNECTIONS, receiver.detach())
        self.start_next()
        self.assert_serves(client)
