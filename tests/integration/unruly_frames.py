"""What test_program.py has pool-server run with --program-protocol frames: a frame in, a frame out, and ways to misbehave."""

import os
import struct
import sys
import time

requests, replies = sys.stdin.buffer, sys.stdout.buffer


def write(number, text, outcome=0, length=None):
    replies.write(struct.pack(">IIB", len(text) if length is None else length, number, outcome) + text)
    replies.flush()


while len(header := requests.read(8)) == 8:
    length, number = struct.unpack(">II", header)
    request = requests.read(length)
    verb, _, rest = request.partition(b" ")
    if verb == b"error":
        write(number, rest, 1)
    elif verb == b"twice":
        write(number, rest)
        write(number, b"again")
    elif verb == b"later":
        write(number, rest)
        time.sleep(0.05)
        write(number, b"again")
    elif verb == b"before":
        write(number - 1, b"for another")
        write(number, rest)
    elif verb == b"pieces":
        for byte in struct.pack(">IIB", len(rest), number, 0) + rest:
            replies.write(bytes([byte]))
            replies.flush()
    elif verb == b"nonsense":
        write(number, rest, 7)
    elif verb == b"lines":
        replies.write(b"result: a line and no frame\n")
        replies.flush()
    elif verb == b"huge":
        write(number, b"", length=1 << 31)
    elif verb == b"cut":
        write(number, rest, length=len(rest) + 1)
        os._exit(3)
    elif verb == b"exit":
        os._exit(3)
    elif verb == b"long":
        write(number, b"x" * int(rest))
    elif verb == b"deaf":
        write(number, rest)
        os.close(0)
        time.sleep(600)
    elif verb == b"endless":  # faster than they are read
        for _ in range(4):
            if os.fork() == 0:
                frames = struct.pack(">IIB", 0, number - 1, 0) * (1 << 16)
                while True:
                    os.write(1, frames)
        time.sleep(600)
    elif verb == b"pid":
        write(number, str(os.getpid()).encode())
    else:
        write(number, b"" if verb == b"empty" else request)
