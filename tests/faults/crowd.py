"""Clients that know what they have to read, and say of each connection how it fared."""

import contextlib
import re
import time

from client import Client
from timing import PATIENCE

STATS = re.compile(r"stats: \S+=\S+( \S+=\S+)+")
LINE_TOO_LONG = 65_536

# What a request may be answered in place of its reply when a system call fails, and the server goes on with the next.
TOLD = re.compile(r"ERROR: (internal error|worker crashed \(.*\)|no worker available|timed out after \d+ ms)")


class Finding(Exception):
    """What must not be: its outcome, and what was seen."""

    def __init__(self, outcome, text):
        super().__init__(f"{outcome}: {text}")
        self.outcome = outcome
        self.text = text


def requests(number, of_drill=True):
    """(request, reply) pairs of one client."""
    if not of_drill:
        return [(f"echo {number}", f"result: echo {number}"), ("", "ERROR: empty request"), ("STATS", STATS),
                (f"{number} " + "p" * 3000, f"result: {number} " + "p" * 3000),
                (f"last {number}", f"result: last {number}")]
    long = "m" * 5000
    return [(f"echo {number} first", f"result: {number} first"), ("STATS", STATS), ("bad", "ERROR: invalid input"),
            ("", "ERROR: empty request"), ("sleep 2", "result: slept 2 ms"), ("fail", "ERROR: task failed"),
            (f"echo {long}{number}", f"result: {long}{number}"),
            ("w" * (LINE_TOO_LONG + 1), f"ERROR: line too long (max {LINE_TOO_LONG} bytes)"),
            (f"echo {number} last", f"result: {number} last")]


class Guest:
    def __init__(self, address, number, of_drill=True):
        self.number = number
        self.owed = []
        self.told = 0  # errors that were said in place of a reply
        self.ended = ""  # how, if before it had all
        self._of_drill = of_drill
        try:
            self.client = Client(address)
        except OSError as error:
            self.client = None
            self.ended = f"not connected: {error}"

    def ask(self, pairs=None):
        pairs = requests(self.number, self._of_drill) if pairs is None else pairs
        if self.ended:
            return
        self.owed += [reply for _, reply in pairs]
        try:
            self.client.send(*(request for request, _ in pairs))
        except OSError:
            pass  # it shows when it reads

    def read(self, patience=None):
        """All that is owed, or the end of the stream; what comes within some seconds where there is a `patience`."""
        while self.owed and not self.ended:
            try:
                line = self.client.line(PATIENCE if patience is None else patience)
            except AssertionError as error:
                if "in time" in str(error):
                    if patience is not None:
                        return
                    raise Finding("STUCK", f"client {self.number} has no reply, {len(self.owed)} are due") from None
                self.ended = str(error)
                return
            self._check(line, self.owed.pop(0))

    def read_to_the_end(self):
        self.read()
        if self.ended:
            return
        try:
            more = self.client.rest()
        except AssertionError as error:
            if "in time" in str(error):
                raise Finding("STUCK", f"client {self.number} sees no end of its connection") from None
            self.ended = str(error)
            return
        if more:
            raise Finding("WRONG", f"client {self.number} got more than it asked for: {more[0][:100]!r}")

    def finish(self):
        if not self.ended:
            with contextlib.suppress(OSError):  # it shows when it reads
                self.client.finish()

    def _check(self, line, wanted):
        right = wanted.fullmatch(line) if wanted is STATS else line == wanted
        if right:
            return
        if not TOLD.fullmatch(line):
            due = getattr(wanted, "pattern", wanted)
            raise Finding("WRONG", f"client {self.number} got {line[:100]!r}, not {due[:100]!r}")
        self.told += 1

    @property
    def fared_well(self):
        return not self.ended and not self.told

    def close(self):
        if self.client:
            self.client.close()


class Crowd:
    """Twenty clients, who come by turns by each of the addresses."""

    def __init__(self, addresses, count=20, of_drill=True):
        self.guests = [Guest(addresses[number % len(addresses)], number, of_drill) for number in range(count)]

    def ask(self):
        for guest in self.guests:
            guest.ask()
        return self

    def read(self):
        for guest in self.guests:
            guest.read()
        return self

    def read_for(self, seconds):
        """What comes in that time."""
        end = time.monotonic() + seconds
        for guest in self.guests:
            guest.read(max(0.001, end - time.monotonic()))
        return self

    def read_to_the_end(self):
        for guest in self.guests:
            guest.read_to_the_end()
        return self

    def leave(self):
        """Half of them end their input, and see the end of the stream."""
        for guest in self.guests[::2]:
            guest.finish()
            guest.read_to_the_end()

    def harmed(self):
        return [guest for guest in self.guests if not guest.fared_well]

    def check_harm(self, most):
        """That at most so many were harmed."""
        harmed = self.harmed()
        if len(harmed) > most:
            guest = harmed[0]
            what = guest.ended or f"{guest.told} replies are errors"
            raise Finding("LOST", f"{len(harmed)} connections harmed, {most} may be; client {guest.number}: {what}")

    def close(self):
        for guest in self.guests:
            guest.close()
