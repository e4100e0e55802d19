#!/usr/bin/env python3
"""Do the benchmark's peers do the job they are measured at? usage: check.py OUTPUT_DIR [NAME...]

Prints `NAME ok` or what failed first for each peer, and exits with 1 when one failed.
"""

import hashlib
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time

NAMES = ["inline", "textbook", "libuv", "asio", "go", "go-inline", "java", "tokio"]
WITHOUT_POOL = {"inline", "go-inline"}
WORKERS = 2
TIMEOUT = 20
MAX_LINE = 64 * 1024
CROWD = 10_000


class Failure(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Failure(what)


def answer(line):
    if line.startswith(b"spin ") and line[5:].isdigit():
        return b"result: spun %d ms" % int(line[5:])
    return b"result: " + hashlib.sha256(line).hexdigest().encode()


class Peer:
    def __init__(self, program):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen([program, str(self.port), str(WORKERS)],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                return self.connect().close()
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    said = self.stop()
                    raise Failure(f"does not start: {said}") from None
                time.sleep(0.02)

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def stop(self):
        self.process.terminate()
        try:
            return self.process.communicate(timeout=TIMEOUT)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise Failure("SIGTERM does not end it") from None


def ask(client, lines):
    """Sends while it receives: a peer may stop reading from who does not read."""
    sender = threading.Thread(target=client.sendall, args=[b"".join(x + b"\n" for x in lines)])
    sender.start()
    with client.makefile("rb") as replies:
        for number, line in enumerate(lines):
            expect(replies.readline(), line, number)
    sender.join()


def expect(reply, line, number=0):
    require(reply == answer(line) + b"\n",
            f"reply {number}, to {line[:40]!r} of {len(line)} bytes: {reply[:90]!r}")


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def check_split_lines(peer):
    with peer.connect() as client, client.makefile("rb") as replies:
        for piece in (b"on", b"e", b"\ntw", b"o\nth", b"ree\n\nspin 1", b"\r\n"):
            client.sendall(piece)
            time.sleep(0.02)
        for line in (b"one", b"two", b"three", b"", b"spin 1\r"):
            expect(replies.readline(), line)


def check_lines_of_every_kind(peer):
    with peer.connect() as client:
        ask(client, [b"spin 0", b"spin 007", b"spin", b"spin ", b"spin 1x", b"spin -1", b" spin 1",
                     b"SPIN 1", b"bad", b"STATS", b"\x00\xff\r", b"x" * 4096, b"y" * MAX_LINE, b"z"])


def check_pipelined(peer):
    chance = random.Random(1)
    lines = [chance.randbytes(chance.choice((0, 1, 30, 60, 500, 9000))).replace(b"\n", b"\r")
             for _ in range(1000)]
    lines[100] = lines[600] = b"spin 2"
    with peer.connect() as client:
        ask(client, lines)


def check_order_behind_slow(peer):
    with peer.connect() as client:
        ask(client, [b"spin 20"] + [b"after %d" % i for i in range(50)] + [b"spin 5", b"last"])


def check_ready_is_not_held_back(peer):
    """What precedes a slow request does not wait for it, unless all is done on one thread."""
    with peer.connect() as client, client.makefile("rb") as replies:
        started = time.monotonic()
        client.sendall(b"quick\nspin 500\n")
        expect(replies.readline(), b"quick")
        require(time.monotonic() - started < 0.4, "a ready reply waits for a slow one behind it")
        expect(replies.readline(), b"spin 500")


def check_many_at_once(peer):
    failures = []

    def talk(number):
        try:
            with peer.connect() as client:
                for step in range(5):
                    ask(client, [b"%d %d %d" % (number, step, i) for i in range(20)])
        except (Failure, OSError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=talk, args=[i]) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(not failures, f"50 connections: {failures[:1]}")


def check_end_of_input(peer):
    with peer.connect() as client, client.makefile("rb") as replies:
        client.sendall(b"spin 30\nlast\n")
        client.shutdown(socket.SHUT_WR)
        expect(replies.readline(), b"spin 30")
        expect(replies.readline(), b"last")
        require(replies.read() == b"", "no end of stream after the last reply")


def check_line_too_long(peer):
    with peer.connect() as client:
        try:
            client.sendall(b"x" * (MAX_LINE + 70_000))
            require(client.recv(1) == b"", "a line without end is answered")
        except (ConnectionResetError, BrokenPipeError):
            pass


def check_who_does_not_read(peer):
    """20 MB of replies owed: they are all there once the client reads, and others are served."""
    lines = [b"%d" % i for i in range(300_000)]
    with peer.connect() as client:
        sender = threading.Thread(target=client.sendall, args=[b"\n".join(lines) + b"\n"])
        sender.start()
        time.sleep(0.3)
        with peer.connect() as other:
            ask(other, [b"other"])
        with client.makefile("rb", buffering=1 << 20) as replies:
            for number, line in enumerate(lines):
                expect(replies.readline(), line, number)
        sender.join()


def check_reset_with_work_pending(peer):
    for _ in range(5):
        clients = [peer.connect() for _ in range(20)]
        for client in clients:
            client.sendall(b"spin 2\n" + b"x\n" * 200)
        for client in clients:
            reset(client)
        with peer.connect() as client:
            ask(client, [b"mine %d" % i for i in range(100)])
    require(peer.process.poll() is None, "ended")


def check_workers(peer):
    clients = [peer.connect() for _ in range(4)]
    started = time.monotonic()
    for client in clients:
        client.sendall(b"spin 200\n")
    for client in clients:
        with client, client.makefile("rb") as replies:
            expect(replies.readline(), b"spin 200")
    took = time.monotonic() - started
    require(0.39 <= took < 0.79, f"4 x spin 200 on {WORKERS} workers took {took:.3f} s")


def check_crowd(peer):
    clients = [peer.connect() for _ in range(CROWD)]
    for client in clients:
        client.sendall(b"here\n")
    for client in clients:
        reply = b""
        while not reply.endswith(b"\n"):
            piece = client.recv(100)
            require(piece, f"one of {CROWD} connections ended")
            reply += piece
        expect(reply, b"here")
    for client in clients:
        reset(client)


def check(program, name):
    checks = [check_split_lines, check_lines_of_every_kind, check_pipelined,
              check_order_behind_slow, check_many_at_once, check_end_of_input, check_line_too_long,
              check_who_does_not_read, check_reset_with_work_pending]
    if name not in WITHOUT_POOL:
        checks += [check_ready_is_not_held_back, check_workers]
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] > CROWD + 100:
        checks.append(check_crowd)
    peer = Peer(program)
    try:
        for step in checks:
            try:
                step(peer)
            except (Failure, OSError) as failure:
                raise Failure(f"{step.__name__}: {failure or type(failure).__name__}") from None
    except Failure as failure:
        said = peer.stop()
        raise Failure(f"{failure} {said}".rstrip()) from None
    said = peer.stop()
    require(said == "", f"printed {said[:200]!r}")


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: check.py OUTPUT_DIR [NAME...]")
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    failed = False
    for name in sys.argv[2:] or NAMES:
        program = os.path.abspath(os.path.join(sys.argv[1], name))
        try:
            require(os.access(program, os.X_OK), "not built")
            check(program, name)
            print(f"{name} ok", flush=True)
        except Failure as failure:
            failed = True
            print(f"{name} FAILED: {failure}", flush=True)
    sys.exit(failed)


main()
