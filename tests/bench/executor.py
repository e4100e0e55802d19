"""executor.py POOL_SERVER [--seconds S] [--rounds N]: a function in Python off an asyncio loop, in two ways, side by side.

Python's own ProcessPoolExecutor, awaited by run_in_executor(), and `pool-server --program` with the same function and the
same number of processes, asked over a unix socket. Both are used as an asyncio program would: 1,024 requests are on their
way at a time. The function returns its text in capitals, so that what is measured is the hand-over.
"""

import argparse
import asyncio
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

WORKERS = 4
CONNECTIONS = 64
PIPELINED = 16
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples/program"


def work(text):
    return text.upper()


async def by_executor(seconds):
    loop = asyncio.get_running_loop()
    done = 0
    with ProcessPoolExecutor(WORKERS) as pool:
        await asyncio.gather(*[loop.run_in_executor(pool, work, "warm") for _ in range(WORKERS * 4)])
        end = time.monotonic() + seconds

        async def client(number):
            nonlocal done
            while time.monotonic() < end:
                assert await loop.run_in_executor(pool, work, f"text {number}") == f"TEXT {number}"
                done += 1

        await asyncio.gather(*[client(number) for number in range(CONNECTIONS * PIPELINED)])
    return done / seconds


async def by_pool_server(binary, seconds):
    done = 0
    with tempfile.TemporaryDirectory() as directory:
        worker = pathlib.Path(directory) / "worker.py"
        worker.write_text(f"import sys\nsys.path.insert(0, {str(EXAMPLES)!r})\n"
                          "from pool_server_worker import serve\nserve(str.upper)\n")
        socket = f"{directory}/socket"
        server = subprocess.Popen([binary, f"--workers={WORKERS}", "--log-level=warning", f"--listen={socket}",
                                   "--program", f"{sys.executable} -u {worker}"])
        try:
            while not pathlib.Path(socket).exists():
                await asyncio.sleep(0.01)
                assert server.poll() is None, "the server has ended"
            await client_of(socket, 0.2, "warm")
            counts = await asyncio.gather(*[client_of(socket, seconds, f"text {i}") for i in range(CONNECTIONS)])
            done = sum(counts)
        finally:
            server.terminate()
            server.wait()
    return done / seconds


async def client_of(socket, seconds, text):
    """Keeps PIPELINED requests on their way; returns how many were answered."""
    reader, writer = await asyncio.open_unix_connection(socket)
    want = f"result: {text.upper()}\n".encode()
    one = f"{text}\n".encode()
    writer.write(one * PIPELINED)
    end, done, owed, rest = time.monotonic() + seconds, 0, PIPELINED, b""
    while owed:
        data = rest + await reader.read(1 << 16)
        count = len(data) // len(want)
        assert data[:count * len(want)] == want * count
        rest = data[count * len(want):]
        done, owed = done + count, owed - count
        if time.monotonic() < end:
            writer.write(one * count)
            owed += count
    writer.close()
    return done


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pool_server")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rates = {"ProcessPoolExecutor": [], "pool-server --program": []}
    for _ in range(options.rounds):  # in turns, so that both see the same machine
        rates["ProcessPoolExecutor"].append(asyncio.run(by_executor(options.seconds)))
        rates["pool-server --program"].append(asyncio.run(by_pool_server(options.pool_server, options.seconds)))
    for name, values in rates.items():
        print(f"{name:24} {statistics.median(values):10,.0f} requests/s ({min(values):,.0f} to {max(values):,.0f})")
    ratios = [ours / theirs for ours, theirs in zip(rates["pool-server --program"], rates["ProcessPoolExecutor"])]
    print(f"ratio, median of {options.rounds} rounds: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
