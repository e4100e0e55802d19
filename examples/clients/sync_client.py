"""A plain client of pool-server: one connection, for one thread; requests sent ahead, time-outs, and further tries.

    client = Client("localhost:9090")
    print(client.ask("good data"))
    for result in client.ask_all(["one", "two"]): ...

pool-server(7) has the reasons. `python3 sync_client.py ADDRESS [TIMEOUT]` answers the lines of its input.
"""
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator

NOT_NOW = {"server busy", "waited too long", "no worker available"}
# Said of a connection, which is closed then: nothing that is still owed on it has been run.
LAST_WORDS = {"too many connections", "too many connections from this client", "idle for too long",
              "request not completed in time"}
MOST_BREAKS = 5  # a request may be what ends the server: it is not sent for ever
MOST_LATE = 4  # a connection on which so many replies are owed to nobody any more is given up


class ServerError(Exception):
    """The reply is an error, and would be again."""


def delay(tries: int) -> float:
    """Seconds before the next try: ever more, and not the same for all that were refused at once."""
    return min(0.05 * 2.0 ** min(tries, 10), 2) * random.uniform(0.5, 1)


class Request:
    def __init__(self, text: str, timeout: float, max_line: int) -> None:
        self.line = text.encode(errors="surrogateescape")
        self.due, self.over = 0.0, time.monotonic() + timeout  # when it is to be sent, and when it is too late
        self.sent, self.tries, self.breaks = False, 0, 0
        self.outcome: str | Exception | None = None
        if self.line in (b"", b"STATS") or b"\n" in self.line or self.line.endswith(b"\r") or len(self.line) > max_line:
            self.outcome = ValueError("that is empty, STATS, more than a line, ends with a CR, or is too long")

    def try_again(self, broken: bool = False) -> None:
        self.due, self.sent, self.tries = time.monotonic() + delay(self.tries), False, self.tries + 1
        self.breaks += broken
        if self.breaks == MOST_BREAKS and not self.outcome:
            self.outcome = ConnectionError("the connection broke")


class Client:
    """A connection to HOST:PORT or the /PATH of a unix socket, made when it is needed."""

    def __init__(self, address: str, timeout: float = 10, pipeline: int = 16,
                 max_line: int = 65536, max_reply: int = 65536) -> None:
        self.address, self.timeout, self.pipeline = address, timeout, pipeline
        self.max_line, self.max_reply = max_line, max_reply
        self.socket: socket.socket | None = None
        self.owed: deque[Request] = deque()  # as sent, whether anybody still waits for the reply or not
        self.input, self.output, self.proved = b"", b"", False
        self.failures, self.connect_at = 0, 0.0  # connections in a row that came to nothing, and when to try the next

    def ask(self, text: str) -> str:
        """The result. Or ServerError, TimeoutError, ConnectionError; ValueError of what cannot be sent."""
        outcome, = self.ask_all([text])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def ask_all(self, texts: Iterable[str]) -> Iterator[str | Exception]:
        """For each request in turn its result, or the exception that ask() would raise."""
        left, window = iter(texts), deque[Request]()
        while True:
            while len(window) < self.pipeline and (text := next(left, None)) is not None:
                window.append(Request(text, self.timeout, self.max_line))
            if not window:
                return
            while (outcome := window[0].outcome) is None:
                self.step([each for each in window if each.outcome is None])
            window.popleft()
            yield outcome

    def step(self, window: list[Request]) -> None:
        """Sends what is due, and waits until something happens."""
        now = time.monotonic()
        if self.socket is None and now >= self.connect_at:
            self.connect()
        for each in window if self.socket else ():
            if not each.sent and each.due <= now and len(self.owed) < self.pipeline:
                each.sent = True
                self.owed.append(each)
                self.output += each.line + b"\n"
        waits = [each.over for each in window] + [each.due for each in window if now < each.due]
        wait = max(0, min(waits + [self.connect_at] * (self.socket is None)) - time.monotonic())
        if self.socket is None:
            time.sleep(wait)
        else:
            ready = select.select([self.socket], [self.socket] if self.output else [], [], wait)
            try:
                if ready[1]:
                    self.output = self.output[self.socket.send(self.output):]
                if ready[0]:
                    self.receive(self.socket.recv(65536))
            except OSError:
                self.end()
        for each in window:
            if each.outcome is None and time.monotonic() >= each.over:
                each.outcome = TimeoutError(f"no result within {self.timeout} s")
        if sum(isinstance(each.outcome, TimeoutError) for each in self.owed) >= MOST_LATE:
            self.end()

    def connect(self) -> None:
        self.input, self.output, self.proved = b"", b"", False
        try:
            if self.address.startswith("/"):
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.settimeout(self.timeout)
                self.socket.connect(self.address)
            else:
                host, _, port = self.address.rpartition(":")
                self.socket = socket.create_connection((host.strip("[]"), int(port)), self.timeout)
            self.socket.setblocking(False)
        except OSError:
            self.end()

    def receive(self, data: bytes) -> None:
        *lines, self.input = (self.input + data).split(b"\n")
        for text in (line.decode(errors="surrogateescape") for line in lines):
            kind, _, words = text.partition(": ")
            if kind == "ERROR" and words in LAST_WORDS:
                return self.end(broken=False)
            if not self.owed or kind not in ("result", "ERROR"):
                return self.end()  # whatever it is, it is no reply to what was asked
            self.proved, self.failures = True, 0
            request = self.owed.popleft()
            if kind == "ERROR" and words in NOT_NOW:
                request.try_again()
            elif request.outcome is None:
                request.outcome = words if kind == "result" else ServerError(words)
        if not data or len(self.input) > self.max_reply + len("result: "):
            self.end()

    def end(self, broken: bool = True) -> None:
        """Ends it by a reset, so that the server does not go on with what nobody waits for."""
        if self.socket:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()
        self.socket = None
        if not self.proved:
            self.failures += 1
            self.connect_at = time.monotonic() + delay(self.failures)
        while self.owed:
            self.owed.popleft().try_again(broken)


def main(address: str, timeout: str = "10") -> None:
    client, begun = Client(address, float(timeout)), b""
    while data := os.read(0, 65536) or begun and b"\n":
        *lines, begun = (begun + data).split(b"\n")
        for outcome in client.ask_all(line.decode() for line in lines):
            told = {ServerError: f"ERROR: {outcome}", str: f"result: {outcome}"}
            print(told.get(type(outcome), f"FAILED: {outcome!r}"), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
