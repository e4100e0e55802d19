"""What checking passwords does to everything else that an asyncio program serves.

The program here answers pings of another process while logins come in, each one verification of a hash. It is checked
in the event loop, in a thread, or by pool-server, in turns; the table has the median of the rounds. Each kind of hash is
verified by what Python programs use for it, as far as it is installed, and by pool-server:

    yescrypt    the module crypt, which Python 3.13 has no more
    bcrypt      python3-bcrypt
    argon2id    python3-argon2, in as many threads as the hash has lanes: here one

    pool-server --handler password --listen /tmp/password.sock --workers 2 &
    python3 latency.py --socket /tmp/password.sock
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

PASSWORD = "correct horse"
PING_INTERVAL = 0.002
STAMP = struct.Struct("d")


# The kinds of hashes: one of PASSWORD, and what checks it; None: not installed

def yescrypt():
    hash = "$y$j9T$LdJMENpBABJJ3hIHjB1Bi.$CbmXE/O/0bCHlsAzIaBSSe6Q31ZVeM4OxkjSOnAQ3C6"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import crypt
    except ImportError:
        return hash, None
    return hash, lambda hash, password: hmac.compare_digest(crypt.crypt(password, hash), hash)


def bcrypt():
    hash = "$2b$10$LdJMENpBABJJ3hIHjB1Bi.JtYWqiAZtus46CgqyIEuf38Ie.oqD0i"
    try:
        import bcrypt
    except ImportError:
        return hash, None
    return hash, lambda hash, password: bcrypt.checkpw(password.encode(), hash.encode())


def argon2id():
    # The least that OWASP recommends.
    hash = "$argon2id$v=19$m=19456,t=2,p=1$TGRKTUVOcEJBQkpKM2hJSA$uvEztCyu7xYmrfVkorzjq+nxmQT8bx46zhd9ylfVFtw"
    try:
        import argon2
    except ImportError:
        return hash, None

    def matches(hash, password):
        try:
            return argon2.PasswordHasher().verify(hash, password)
        except argon2.exceptions.VerifyMismatchError:
            return False
    return hash, matches


# The ways to check one

async def in_event_loop(matches, hash, password):
    return matches(hash, password)


async def in_thread(matches, hash, password):
    return await asyncio.to_thread(matches, hash, password)


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


async def login(check, hash, number, durations):
    begin = time.monotonic()
    right = number % 2 == 0
    if await check(hash, PASSWORD if right else "wrong horse") != right:
        raise RuntimeError(f"wrong answer to a {'right' if right else 'wrong'} password")
    durations.append(time.monotonic() - begin)


async def program(connection, check, hash, rate, seconds):
    """Returns the logins done per second, and how long each took."""
    durations = []
    begin = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(answer_pings(connection))
        for number in range(round(rate * seconds)):
            await asyncio.sleep(begin + number / rate - time.monotonic())
            tasks.create_task(login(check, hash, number, durations))
    return len(durations) / max(seconds, time.monotonic() - begin), durations


def measure(check, hash, rate, seconds):
    """One row of the table."""
    here, there = socket.socketpair()
    receive, send = multiprocessing.Pipe(duplex=False)
    pinger = multiprocessing.get_context("fork").Process(target=ping, args=(there, seconds, send), daemon=True)
    pinger.start()
    there.close()
    logins, durations = asyncio.run(program(here, check, hash, rate, seconds))
    pings = sorted(receive.recv())
    pinger.join()
    p99 = pings[len(pings) * 99 // 100]
    return [1000 * statistics.median(pings), 1000 * p99, 1000 * pings[-1], logins, 1000 * statistics.median(durations)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", default="/run/pool-server/password.sock", help="of pool-server --handler password")
    parser.add_argument("--rate", type=float, default=10, help="logins per second (default 10)")
    parser.add_argument("--seconds", type=float, default=4, help="of each way in each round (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    options = parser.parse_args()
    if min(options.rate * options.seconds, options.rounds) < 1:
        parser.error("that is no login at all")

    in_pool_server = functools.partial(verify, path=options.socket)
    ways = {}
    for kind in (yescrypt, bcrypt, argon2id):
        hash, matches = kind()
        if matches is not None:
            ways[f"{kind.__name__}, in the event loop"] = functools.partial(in_event_loop, matches), hash
            ways[f"{kind.__name__}, in a thread"] = functools.partial(in_thread, matches), hash
        ways[f"{kind.__name__}, by pool-server"] = in_pool_server, hash
        try:
            asyncio.run(in_pool_server(hash, PASSWORD))
        except OSError as error:
            sys.exit(f"No pool-server at {options.socket} ({error}). Start one:\n"
                     f"    pool-server --handler password --listen {options.socket} --workers 2")
        except ValueError as error:
            sys.exit(f"What listens at {options.socket} is no pool-server --handler password with {kind.__name__}: {error}")

    rows = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (check, hash) in ways.items():
            rows[name].append(measure(check, hash, options.rate, options.seconds))

    print(f"{'':28}  ping p50     p99   worst   logins/s  login p50   (times in ms)")
    for name in ways:
        p50, p99, worst, logins, duration = map(statistics.median, zip(*rows[name]))
        print(f"{name:28}{p50:10.2f}{p99:8.2f}{worst:8.2f}{logins:11.1f}{duration:11.1f}")


if __name__ == "__main__":
    main()
