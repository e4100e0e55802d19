"""One client of the server: lines out, lines in, every wait with an end."""

import collections
import select
import socket
import struct
import threading
import time

from timing import PATIENCE, SLOWDOWN


def encode(line):
    return line if isinstance(line, bytes) else line.encode()


class Client:
    def __init__(self, address, receive_buffer=None, timeout=PATIENCE, source=None):
        """Connects to a (host, port), perhaps from a `source` host, or to the path of a unix socket."""
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        try:
            if source:
                self.socket.bind((source, 0))
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise
        self._lines = collections.deque()
        self._half_line = b""
        self._ended = False

    # Sending

    def send(self, *lines):
        self.send_bytes(b"".join(encode(line) + b"\n" for line in lines))

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send_aside(self, data):
        """Sends from a thread of its own, so that the test can read meanwhile. Ends when the socket does."""
        def run():
            try:
                self.socket.sendall(data)
            except OSError:
                pass  # what is missing shows in the replies
        threading.Thread(target=run, daemon=True).start()

    def send_until_blocked(self, data, limit, quiet=1.0):
        """Sends data over and over until the server takes no more for `quiet` seconds, stretched, or limit bytes.

        Returns the number of bytes sent; whole repetitions plus perhaps a part of one.
        """
        sent = 0
        while sent < limit:
            if not select.select([], [self.socket], [], quiet * SLOWDOWN)[1]:
                break
            offset = sent % len(data)
            try:
                sent += self.socket.send(data[offset:offset + (1 << 18)], socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
        return sent

    def finish(self):
        """Half-closes, as `nc -N` does at the end of its input."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with a TCP RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    # Receiving

    def _receive(self, deadline):
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            raise AssertionError("no reply came in time") from None
        except ConnectionResetError:
            raise AssertionError("the server reset the connection") from None
        finally:
            self.socket.settimeout(PATIENCE)
        self._ended = not data
        *whole, self._half_line = (self._half_line + data).split(b"\n")
        self._lines.extend(whole)

    def line(self, timeout=PATIENCE):
        """The next reply, without its LF."""
        deadline = time.monotonic() + timeout
        while not self._lines:
            if self._ended:
                raise AssertionError("the server closed the connection where a reply was due")
            self._receive(deadline)
        return self._lines.popleft().decode(errors="surrogateescape")

    def lines(self, count, timeout=PATIENCE):
        return [self.line(timeout) for _ in range(count)]

    def rest(self, timeout=PATIENCE, cut_off=False):
        """Every line up to the end of the stream, which must be clean: no reset, no half line (unless `cut_off`)."""
        deadline = time.monotonic() + timeout
        while not self._ended:
            self._receive(deadline)
        if self._half_line and not cut_off:
            raise AssertionError(f"the stream ended within a line: {self._half_line[:80]!r}")
        lines = [line.decode(errors="surrogateescape") for line in self._lines]
        self._lines.clear()
        return lines

    def has_input(self):
        """Whether a reply or an end of stream is waiting, without waiting for it."""
        return bool(self._lines) or bool(select.select([self.socket], [], [], 0)[0])

    def ask(self, line, timeout=PATIENCE):
        self.send(line)
        return self.line(timeout)
