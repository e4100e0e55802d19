"""What checking passwords does to everything else that an asyncio program serves.

The program here answers pings of another process while logins come in, each one yescrypt verification. They are
checked (a) in the event loop, (b) in a thread, (c) by pool-server, in turns; the table has the median of the rounds.

    pool-server --handler password --listen /tmp/password.sock --workers 2 &
    python3 latency.py --socket /tmp/password.sock

Needs Python 3.11 or 3.12: later ones have no module crypt.
"""

import argparse
import asyncio
import functools
import hmac
import multiprocessing
import socket
import statistics
import struct
import sys
import threading
import time
import warnings

from verify import verify

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

PASSWORD = "correct horse"
HASH = crypt.crypt(PASSWORD, "$y$j9T$LdJMENpBABJJ3hIHjB1Bi.")  # yescrypt at its default cost, as in /etc/shadow
PING_INTERVAL = 0.002
STAMP = struct.Struct("d")


# The three ways

def matches(hash, password):
    return hmac.compare_digest(crypt.crypt(password, hash), hash)


async def in_event_loop(hash, password):
    return matches(hash, password)


async def in_thread(hash, password):
    return await asyncio.to_thread(matches, hash, password)  # crypt.crypt keeps the GIL: the loop waits all the same


# The other process: pings at a fixed pace, however long the answers take

def ping(connection, seconds, results):
    def send():
        begin = time.monotonic()
        for number in range(round(seconds / PING_INTERVAL)):
            time.sleep(max(0, begin + number * PING_INTERVAL - time.monotonic()))
            connection.sendall(STAMP.pack(time.monotonic()))
        connection.shutdown(socket.SHUT_WR)

    connection.recv(1)  # the program is ready
    threading.Thread(target=send, daemon=True).start()
    with connection.makefile("rb") as answers:
        results.send([time.monotonic() - STAMP.unpack(stamp)[0] for stamp in iter(lambda: answers.read(8), b"")])


# The program

async def answer_pings(connection):
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    writer.write(b"!")
    while data := await reader.read(4096):
        writer.write(data)
    writer.write_eof()  # closing would not do: the fork has the socket, too
    writer.close()


async def login(check, number, durations):
    begin = time.monotonic()
    right = number % 2 == 0
    if await check(HASH, PASSWORD if right else "wrong horse") != right:
        raise RuntimeError(f"wrong answer to a {'right' if right else 'wrong'} password")
    durations.append(time.monotonic() - begin)


async def program(connection, check, rate, seconds):
    """Returns the logins done per second, and how long each took."""
    durations = []
    begin = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(answer_pings(connection))
        for number in range(round(rate * seconds)):
            await asyncio.sleep(begin + number / rate - time.monotonic())
            tasks.create_task(login(check, number, durations))
    return len(durations) / max(seconds, time.monotonic() - begin), durations


def measure(check, rate, seconds):
    """One row of the table."""
    here, there = socket.socketpair()
    receive, send = multiprocessing.Pipe(duplex=False)
    pinger = multiprocessing.get_context("fork").Process(target=ping, args=(there, seconds, send), daemon=True)
    pinger.start()
    there.close()
    logins, durations = asyncio.run(program(here, check, rate, seconds))
    pings = sorted(receive.recv())
    pinger.join()
    p99 = pings[len(pings) * 99 // 100]
    return [1000 * statistics.median(pings), 1000 * p99, 1000 * pings[-1], logins, 1000 * statistics.median(durations)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", default="/run/pool-server/password.sock", help="of pool-server --handler password")
    parser.add_argument("--rate", type=float, default=20, help="logins per second (default 20)")
    parser.add_argument("--seconds", type=float, default=4, help="of each way in each round (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    options = parser.parse_args()
    if min(options.rate * options.seconds, options.rounds) < 1:
        parser.error("that is no login at all")

    in_pool_server = functools.partial(verify, path=options.socket)
    try:
        asyncio.run(in_pool_server(HASH, PASSWORD))
    except OSError as error:
        sys.exit(f"No pool-server at {options.socket} ({error.strerror}). Start one:\n"
                 f"    pool-server --handler password --listen {options.socket} --workers 2")
    except RuntimeError as error:
        sys.exit(f"What listens at {options.socket} is no pool-server --handler password: {error}")

    ways = {"(a) event loop": in_event_loop, "(b) thread": in_thread, "(c) pool-server": in_pool_server}
    rows = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, check in ways.items():
            rows[name].append(measure(check, options.rate, options.seconds))

    print(f"{'':16}  ping p50     p99   worst   logins/s  login p50   (times in ms)")
    p99 = {}
    for name in ways:
        p50, p99[name], worst, logins, duration = map(statistics.median, zip(*rows[name]))
        print(f"{name:16}{p50:10.2f}{p99[name]:8.2f}{worst:8.2f}{logins:11.1f}{duration:11.1f}")
    a, b, c = p99.values()
    print(f"p99 of pings: (a)/(c) = {a / c:.1f}, (b)/(c) = {b / c:.1f}")


if __name__ == "__main__":
    main()
