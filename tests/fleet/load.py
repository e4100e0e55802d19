"""Clients that check every reply, in a process of their own: load.py PLAN

PLAN is JSON: the address to connect to, and groups of clients, each with its name, `kind`, `count`, `task` ("echo", or
"sleep MS"), how long a client pauses between its turns, and how many requests are its `window`.

  steady    stays connected and asks so many requests at a time. With "reconnect" it comes back when it is cut off, and
            asks anew for what was not answered.
  flood     stays connected, and always has so many requests on their way. At the end it does not wait for them but resets.
  visitor   connects, sends its requests and the end of its input, reads to the end, and comes back.
  caller    connects, asks its requests one after the other, leaves, and comes back.
  hesitant  stays connected, and pauses in the middle of a line.
  heavy     stays connected, and does not read its long replies before it has paused.

"ready" is written when each client has been served once; the end of the standard input ends it all; then all connections
and what became of them are written as JSON. Times are those of time.monotonic().
"""

import asyncio
import collections
import contextlib
import json
import random
import socket
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from timing import PATIENCE  # noqa: E402

BUSY = b"ERROR: server busy\n"
SOON = 0.02  # seconds, until a client that found nobody tries again
now = time.monotonic


class Broken(Exception):
    """The connection ended where it should not have; the message says how."""


class Connection:
    """Counts what it asks and reads, and holds each reply against its request."""

    def __init__(self, group, number):
        self.group, self.number = group, number
        self.began, self.opened, self.ended = now(), None, None
        self.port, self.how = None, "open"
        self.asked = self.answered = self.busy = self.wrong = self.doubled = 0
        self.waits = []  # of each reply: when the request was sent, and when the reply came
        self.owed = collections.deque()  # (request, reply, when it was sent)
        self._last = None

    async def open(self, address):
        source = self.group.get("source")
        try:
            async with asyncio.timeout(PATIENCE):
                self.reader, self.writer = await asyncio.open_connection(*address, local_addr=source and (source, 0))
        except OSError as error:  # TimeoutError is one
            raise Broken(f"not connected: {error!r}") from error
        self.opened = now()
        self.port = self.writer.get_extra_info("sockname")[1]

    def request(self):
        """A request and its reply."""
        task = self.group["task"]
        if task != "echo":
            return task.encode() + b"\n", b"result: slept %s ms\n" % task.split()[1].encode()
        text = b"%016x" % random.getrandbits(64) + b"x" * self.group.get("size", 0)
        return b"echo " + text + b"\n", b"result: " + text + b"\n"

    def send(self, requests, skip=0):
        """The first bytes, so many, have been sent already. Who has been told that it is over asks nothing more there."""
        if self.reader.at_eof():
            raise Broken("ended")
        sent = now()
        self.owed.extend((*request, sent) for request in requests)
        self.asked += len(requests)
        self.writer.write(b"".join(request for request, _ in requests)[skip:])

    async def receive(self, count):
        """So many replies."""
        try:
            async with asyncio.timeout(PATIENCE):
                for _ in range(count):
                    self._check(await self.reader.readuntil(b"\n"))
        except asyncio.IncompleteReadError as error:
            raise Broken("cut within a reply" if error.partial else "ended") from error
        except TimeoutError as error:
            raise Broken("no reply came") from error
        except OSError as error:
            raise Broken("reset") from error

    def _check(self, line):
        _, wanted, sent = self.owed[0]
        if line == BUSY and self.group.get("busy"):
            self.busy += 1
        elif line == self._last and line != wanted:
            self.doubled += 1
            raise Broken("a reply came twice")
        elif line != wanted:
            self.wrong += 1
            raise Broken(f"{line[:60]!r} instead of {wanted[:60]!r}")
        self._last = line
        self.owed.popleft()
        self.answered += 1
        self.waits.append((sent, now()))

    async def finish(self):
        """The end of the input; everything owed, and then a clean end."""
        self.writer.write_eof()
        await self.receive(len(self.owed))
        try:
            async with asyncio.timeout(PATIENCE):
                surplus = await self.reader.read()
        except OSError as error:
            raise Broken("no clean end") from error
        if surplus:
            self.doubled += 1
            raise Broken(f"more than was asked for: {surplus[:60]!r}")
        self.how = "finished"

    def leave(self):
        """At once, with a reset. What it is owed then it did not ask for."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.asked -= len(self.owed)
        self.how = "finished"

    def close(self):
        self.ended = now()
        if self.opened is not None:
            self.writer.close()

    def told(self):
        names = ("number", "began", "opened", "ended", "port", "how", "asked", "answered", "busy", "wrong", "doubled", "waits")
        return {name: getattr(self, name) for name in names} | {"group": self.group["name"]}


class Crowd:
    def __init__(self, plan):
        self.plan, self.connections = plan, []
        self.stop = asyncio.Event()
        self._unserved = {(group["name"], number) for group in plan["groups"] for number in range(group["count"])}

    def served(self, connection):
        """That client has been, at least once."""
        if self._unserved:
            self._unserved.discard((connection.group["name"], connection.number))
            if not self._unserved:
                print("ready", flush=True)

    async def pause(self, group):
        """A client's pause, or less if that is the end. Clients do not keep in step."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(group["pause"] * random.uniform(0.5, 1.5)):
                await self.stop.wait()

    async def client(self, group, number):
        """Connection after connection, as long as there is to be one."""
        owed = []
        while not self.stop.is_set():
            connection = Connection(group, number)
            self.connections.append(connection)
            try:
                await connection.open(self.plan["address"])
                connection.send(owed)
                await connection.receive(len(owed))
                await getattr(self, group["kind"])(group, connection)
            except (Broken, OSError) as error:
                connection.how = str(error)
            finally:
                connection.close()
            if connection.wrong or connection.doubled or (connection.how != "finished" and not group.get("reconnect")):
                return
            owed = [(request, reply) for request, reply, _ in connection.owed]
            if not connection.answered:
                await asyncio.sleep(SOON)

    async def steady(self, group, connection):
        while not self.stop.is_set():
            connection.send([connection.request() for _ in range(group["window"])])
            await connection.receive(group["window"])
            self.served(connection)
            await self.pause(group)
        await connection.finish()

    async def flood(self, group, connection):
        part = group["window"] // 4
        connection.send([connection.request() for _ in range(group["window"])])
        while not self.stop.is_set():
            await connection.receive(part)
            self.served(connection)
            await self.pause(group)
            connection.send([connection.request() for _ in range(part)])
        connection.leave()

    async def hesitant(self, group, connection):
        while not self.stop.is_set():
            request, reply = connection.request()
            connection.writer.write(request[:9])
            await self.pause(group)
            connection.send([(request, reply)], skip=9)
            await connection.receive(1)
            self.served(connection)
        await connection.finish()

    async def heavy(self, group, connection):
        while not self.stop.is_set():
            connection.send([connection.request() for _ in range(group["window"])])
            await self.pause(group)
            await connection.receive(group["window"])
            self.served(connection)
        await connection.finish()

    async def visitor(self, group, connection):
        connection.send([connection.request() for _ in range(group["window"])])
        await connection.finish()
        self.served(connection)
        await self.pause(group)

    async def caller(self, group, connection):
        for _ in range(group["window"]):
            connection.send([connection.request()])
            await connection.receive(1)
        connection.how = "finished"
        self.served(connection)
        await self.pause(group)

    async def run(self):
        loop = asyncio.get_running_loop()

        def told_to_stop():
            loop.remove_reader(sys.stdin)
            self.stop.set()
        loop.add_reader(sys.stdin, told_to_stop)
        clients = [self.client(group, number) for group in self.plan["groups"] for number in range(group["count"])]
        await asyncio.gather(*clients)


def main():
    crowd = Crowd(json.loads(sys.argv[1]))
    asyncio.run(crowd.run())
    json.dump([connection.told() for connection in crowd.connections], sys.stdout)


main()
