"""Clients of every kind, whose replies are compared with their requests: for restart_clients.py.

The service has `handler=drill` and listens on both addresses below.
"""
import os
import selectors
import socket
import subprocess
import tempfile
import time

TCP, UNIX = ("127.0.0.1", 9090), "/run/pool-server-test.sock"
SLOWDOWN = float(os.environ.get("POOL_SERVER_SLOWDOWN") or 1)
PATIENCE = 40 * SLOWDOWN


class Failure(Exception):
    pass


def connected(address, receive_buffer=None):
    connection = socket.socket(socket.AF_UNIX if address == UNIX else socket.AF_INET)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PATIENCE)
    connection.connect(address)
    return connection


class Stream:
    """One connection. What it receives must be, byte for byte, the replies to its requests."""

    def __init__(self, crowd, name, address, receive_buffer=None):
        self.crowd, self.name = crowd, name
        self.socket = connected(address, receive_buffer)
        self.socket.setblocking(False)
        self.unsent, self.expected = bytearray(), bytearray()
        self.reads, self.finishing, self.ended = True, False, False
        self._watched = 0
        self.watch()
        crowd.accepted += 1

    def watch(self):
        wanted = self.reads * selectors.EVENT_READ | bool(self.unsent) * selectors.EVENT_WRITE
        if self.ended:
            wanted = 0
        if wanted == self._watched:
            return
        if self._watched:
            self.crowd.selector.unregister(self.socket)
        if wanted:
            self.crowd.selector.register(self.socket, wanted, self)
        self._watched = wanted

    def read(self, reads):
        self.reads = reads
        self.watch()

    def send(self, requests, replies):
        self.unsent += requests
        self.expected += replies
        self.on_writable()

    def finish(self):
        """Ends the input, once everything is sent."""
        self.finishing = True
        self.on_writable()

    def on_writable(self):
        try:
            while self.unsent:
                del self.unsent[:self.socket.send(self.unsent[:65536])]
            if self.finishing:
                self.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError as error:
            raise Failure(f"{self.name} cannot send: {error}") from error
        self.watch()

    def on_readable(self):
        try:
            data = self.socket.recv(65536)
        except OSError as error:
            raise Failure(f"{self.name} cannot receive, owed {len(self.expected)} bytes: {error}") from error
        if data != self.expected[:len(data)]:
            raise Failure(f"{self.name} received {data[:200]!r} instead of {bytes(self.expected[:200])!r}")
        del self.expected[:len(data)]
        if data:
            return
        if self.expected or not (self.finishing or self.crowd.ending):
            raise Failure(f"{self.name} was closed, owed {len(self.expected)} bytes")
        self.ended = True
        self.watch()
        self.socket.close()

    def settled(self):
        """Nothing is owed."""
        return not self.unsent and not self.expected and (self.ended or not self.finishing)


class Guest:
    """A client that is in a certain state whenever the service is restarted."""

    receive_buffer = None
    pause = 0.03  # between two of its turns, in seconds: many clients, one processor

    def __init__(self, crowd, number, address):
        self.crowd, self.number, self.address = crowd, number, address
        self.turns, self.asked, self._due, self._owed = 0, 0, 0, 0
        self.connect()

    def __str__(self):
        return f"{type(self).__name__} {self.number} ({'unix' if self.address == UNIX else 'tcp'})"

    def connect(self):
        self.stream = Stream(self.crowd, str(self), self.address, self.receive_buffer)

    def echoes(self, count, size=0):
        """So many requests, no two of them alike, and their replies."""
        texts = [f"{self.number}.{self.asked + index} ".ljust(size, "x") for index in range(count)]
        self.asked += count
        self.crowd.tasks += count
        return "".join(f"echo {text}\n" for text in texts).encode(), \
            "".join(f"result: {text}\n" for text in texts).encode()

    def send(self, requests, replies):
        self.stream.send(requests, replies)
        self._owed = len(self.stream.expected)

    def ask_one(self):
        self.send(*self.echoes(1))

    def begin(self):
        """Gets into its state, before the restart."""

    def begun(self):
        return True

    def first_reply_came(self):
        """All that was sent in one go has been read by the server then."""
        return len(self.stream.expected) < self._owed

    def go_on(self, now):
        """While the restart goes on, as often as nothing is owed: the next turn."""
        if not self.stream.settled():
            self._due = now + self.pause
        elif now >= self._due:
            self.turn()

    def turn(self):
        """Nothing, for a client that stays as it is."""

    def complete(self):
        """Leaves its state, after the restart."""


class Idle(Guest):
    def complete(self):
        self.turns += 1
        if self.turns % 5 == 0:
            self.ask_one()


class HalfALine(Guest):
    def begin(self):
        line, reply = self.echoes(1, size=100)
        self.rest = line[50:]
        # That half a line is no request is seen when the service ends for good.
        self.send(line[:50], b"" if self.crowd.ending else reply)

    def begun(self):
        return not self.stream.unsent

    def complete(self):
        self.send(self.rest, b"")


class Pipelined(Guest):
    def begin(self):
        self.send(*self.echoes(500))

    turn = begin
    begun = Guest.first_reply_came


class RepliesUnread(Guest):
    """A megabyte of replies that it reads only after the restart."""

    receive_buffer = 16384

    def begin(self):
        self.stream.read(False)
        # At the end it is owed no more than the kernel holds: who reads nothing is not waited for.
        self.send(*(self.echoes(40, size=100) if self.crowd.ending else self.echoes(40, size=25000)))

    def begun(self):
        try:
            return self.stream.socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return False

    def complete(self):
        self.stream.read(True)


class Slow(Guest):
    """Has tasks that run while the server is told to stop."""

    sleep = 20  # ms

    def begin(self):
        first, first_reply = self.echoes(1)
        last, last_reply = self.echoes(1)
        ms = 300 if self.crowd.ending else self.sleep
        self.crowd.tasks += 2
        self.send(first + b"sleep %d\nfail\n" % ms + last,
                  first_reply + b"result: slept %d ms\nERROR: task failed\n" % ms + last_reply)

    turn = begin
    begun = Guest.first_reply_came


class HalfClosed(Slow):
    """The same, and has ended its input; then it comes back as a new client."""

    sleep = 10

    def begin(self):
        if self.stream.ended:
            self.connect()
        super().begin()
        self.stream.finish()

    def turn(self):
        self.begin()

    def complete(self):
        if not self.stream.finishing:
            self.stream.finish()


KINDS = (Idle, HalfALine, Pipelined) * 4 + (HalfClosed, RepliesUnread, HalfClosed, Slow)


class Crowd:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.guests = []
        self.tasks = self.accepted = 0
        self.ending = False  # it is the server that ends the connections

    def invite(self, count, kinds=KINDS):
        for number in range(count):
            # Each kind by TCP and by the unix socket.
            address = TCP if number // len(kinds) % 2 == 0 else UNIX
            self.guests.append(kinds[number % len(kinds)](self, number, address))

    def serve(self, until, what):
        """Sends and receives until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not until():
            for key, events in self.selector.select(0.005):
                if events & selectors.EVENT_READ:
                    key.data.on_readable()
                if events & selectors.EVENT_WRITE and not key.data.ended:
                    key.data.on_writable()
            if time.monotonic() > deadline:
                raise Failure(f"waited in vain: {what}")

    def serve_all(self, each, what):
        """The same for a condition on every guest."""
        left = list(self.guests)

        def all_done():
            left[:] = [guest for guest in left if not each(guest)]
            return not left
        try:
            self.serve(all_done, what)
        except Failure as failure:
            raise Failure(f"{failure} ({', '.join(map(str, left[:10]))})" if left else failure) from failure

    def begin(self):
        for guest in self.guests:
            guest.begin()
        self.serve_all(lambda guest: guest.begun(), "a client could not begin")

    def settle(self):
        self.serve_all(lambda guest: guest.stream.settled(), "a client is owed replies")

    def complete(self):
        for guest in self.guests:
            guest.complete()
        self.settle()

    def during(self, command, going_on=True):
        """Serves the clients while the command runs. When it began and ended."""
        begin = time.monotonic()
        with tempfile.TemporaryFile() as output, \
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process:
            def over():
                now = time.monotonic()
                for guest in self.guests if going_on else ():
                    guest.go_on(now)
                return process.poll() is not None
            self.serve(over, f"for the end of {' '.join(command)}")
            if process.returncode != 0:
                output.seek(0)
                raise Failure(f"{' '.join(command)}: status {process.returncode}\n{output.read().decode()}")
        return begin, time.monotonic()
