"""A client of pool-server for asyncio: a pool of connections, requests sent ahead, time-outs, and further tries.

    pool = Pool("localhost:9090")
    print(await pool.ask("good data"))

pool-server(7) has the reasons. It takes Python 3.11, and `python3 pool_client.py ADDRESS [TIMEOUT [SIZE]]` answers the
lines of its input.
"""
import asyncio
import random
import socket
import struct
import sys
from collections import deque

NOT_NOW = {"server busy", "waited too long", "no worker available"}
# Said of a connection, which is closed then: nothing that is still owed on it has been run.
LAST_WORDS = {"too many connections", "too many connections from this client", "idle for too long",
              "request not completed in time"}
BROKEN = "the connection broke"
MOST_BREAKS = 5  # a request may be what ends the server: it is not sent for ever
MOST_LATE = 4  # a connection on which so many replies are owed to nobody any more is given up
Reply = asyncio.Future[str]


class ServerError(Exception):
    """The reply is an error, and would be again."""


def delay(tries: int) -> float:
    """Seconds before the next try: ever more, and not the same for all that were refused at once."""
    return min(0.05 * 2.0 ** min(tries, 10), 2) * random.uniform(0.5, 1)


class Connection(asyncio.Protocol):
    """Replies go to requests in the order in which these were sent, whether anybody still waits for them or not."""

    def __init__(self, pool: "Pool") -> None:
        self.pool, self.owed, self.late, self.begun, self.proved = pool, deque[Reply](), 0, b"", False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.pool.connections.add(self)

    def send(self, line: bytes, reply: Reply) -> None:
        self.owed.append(reply)
        reply.add_done_callback(self.look_if_late)
        self.transport.write(line)

    def look_if_late(self, reply: Reply) -> None:
        self.late += reply.cancelled()
        if self.late >= MOST_LATE:
            self.end(BROKEN)

    def data_received(self, data: bytes) -> None:
        *lines, self.begun = (self.begun + data).split(b"\n")
        for text in (line.decode(errors="surrogateescape") for line in lines):
            if text.removeprefix("ERROR: ") in LAST_WORDS:
                return self.end(text)
            if not self.owed or not text.startswith(("result: ", "ERROR: ")):
                return self.end(BROKEN)  # whatever it is, it is no reply to what was asked
            if not self.proved:
                self.proved, self.pool.failures = True, 0
            reply = self.owed.popleft()
            self.late -= reply.cancelled()
            if not reply.done():
                reply.set_result(text)
        if len(self.begun) > self.pool.max_reply + len("result: "):
            return self.end(BROKEN)
        self.pool.send_waiting()

    def connection_lost(self, error: Exception | None) -> None:
        self.end(BROKEN)

    def end(self, reply: str) -> None:
        """Ends it by a reset, so that the server does not go on with what nobody waits for."""
        if self in self.pool.connections:
            self.pool.connections.remove(self)
            self.pool.failures += not self.proved
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
            for owed in self.owed:
                if not owed.done():
                    owed.set_result(reply)
            self.pool.send_waiting()


class Pool:
    """Connections to HOST:PORT or the /PATH of a unix socket, made when they are needed."""

    def __init__(self, address: str, timeout: float = 10, size: int = 4, pipeline: int = 16,
                 max_line: int = 65536, max_reply: int = 65536) -> None:
        self.address, self.timeout, self.size, self.pipeline = address, timeout, size, pipeline
        self.max_line, self.max_reply = max_line, max_reply
        self.connections: set[Connection] = set()
        self.waiting: deque[tuple[bytes, Reply]] = deque()
        self.connecting: asyncio.Task[None] | None = None
        self.failures = 0  # connections in a row that came to nothing

    async def ask(self, request: str) -> str:
        """The result. Or ServerError, TimeoutError, ConnectionError; ValueError of what cannot be sent."""
        line = request.encode(errors="surrogateescape")
        if line in (b"", b"STATS") or b"\n" in line or line.endswith(b"\r") or len(line) > self.max_line:
            raise ValueError("that is empty, STATS, more than a line, ends with a CR, or is too long")
        tries = breaks = 0
        async with asyncio.timeout(self.timeout):
            while True:
                reply: Reply = asyncio.get_running_loop().create_future()
                self.waiting.append((line + b"\n", reply))
                self.send_waiting()
                kind, _, text = (await reply).partition(": ")
                if kind == "result":
                    return text
                if kind == "ERROR" and text not in NOT_NOW | LAST_WORDS:
                    raise ServerError(text)
                breaks += kind == BROKEN
                if breaks == MOST_BREAKS:
                    raise ConnectionError(BROKEN)
                await asyncio.sleep(delay(tries))
                tries += 1

    def send_waiting(self) -> None:
        """Sends what waits on the connection that owes least, and makes another one while each owes something."""
        while self.waiting:
            best = min(self.connections, key=lambda each: len(each.owed), default=None)
            if self.waiting[0][1].done():  # its time is over
                self.waiting.popleft()
                continue
            if (best is None or best.owed) and len(self.connections) < self.size and self.connecting is None:
                self.connecting = asyncio.create_task(self.connect())
            if best is None or len(best.owed) >= self.pipeline:
                return
            best.send(*self.waiting.popleft())

    async def connect(self) -> None:
        try:
            await asyncio.sleep(delay(self.failures) if self.failures else 0)
            async with asyncio.timeout(self.timeout):
                loop, (host, _, port) = asyncio.get_running_loop(), self.address.rpartition(":")
                if self.address.startswith("/"):
                    await loop.create_unix_connection(lambda: Connection(self), self.address)
                else:
                    await loop.create_connection(lambda: Connection(self), host.strip("[]"), int(port))
        except OSError:  # such as TimeoutError
            self.failures += 1
        self.connecting = None
        self.send_waiting()

    def close(self) -> None:
        if self.connecting:
            self.connecting.cancel()
        for connection in list(self.connections):
            connection.end(BROKEN)


async def main(address: str, timeout: str = "10", size: str = "4") -> None:
    pool, window, last = Pool(address, float(timeout), int(size)), asyncio.Semaphore(100), None

    async def answer(line: str, before: "asyncio.Task[None] | None") -> None:
        try:
            text = "result: " + await pool.ask(line)
        except ServerError as error:
            text = f"ERROR: {error}"
        except (OSError, ValueError) as error:
            text = f"FAILED: {error!r}"
        if before:
            await before
        print(text, flush=True)
        window.release()
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        await window.acquire()
        last = asyncio.create_task(answer(line.decode().removesuffix("\n"), last))
    if last:
        await last
    pool.close()

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
