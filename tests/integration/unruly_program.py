"""What test_program.py has pool-server run: a line in, a line out, and every way to misbehave on request."""

import os
import signal
import subprocess
import sys
import time

leaked = []


def write(text):
    sys.stdout.buffer.write(text if isinstance(text, bytes) else text.encode())
    sys.stdout.buffer.flush()


def answer(verb, rest):
    if verb == "echo":
        write("".join(sys.argv[1:]) + rest + "\n")
    elif verb == "error":
        write("ERROR: " + rest + "\n")
    elif verb == "pid":
        write(f"{os.getpid()}\n")
    elif verb == "die":
        sys.stderr.write("first words\nlast words\n")
        sys.stderr.flush()
        os.kill(os.getpid(), getattr(signal, rest))
    elif verb == "exit":
        os._exit(int(rest))
    elif verb == "answer-and-exit":
        write("gone\n")
        os._exit(int(rest))
    elif verb == "two":
        write("first\nsecond\n")
    elif verb == "two-writes":
        write("first\n")
        write("second\n")
    elif verb == "two-later":
        write("first\n")
        time.sleep(0.05)
        write("second\n")
    elif verb == "hang":
        time.sleep(600)
    elif verb == "hang-deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    elif verb == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif verb == "sleep":
        time.sleep(int(rest) / 1000)
        write(f"slept {rest}\n")
    elif verb == "long":
        write("x" * int(rest) + "\n")
    elif verb == "endless":
        while True:
            write(b"x" * (1 << 20))
    elif verb == "control":
        write("a\tb\n")
    elif verb == "close":
        os.close(1)
        time.sleep(600)
    elif verb == "deaf":  # and says something more after so many ms
        write("deaf\n")
        os.close(0)
        if rest:
            time.sleep(int(rest) / 1000)
            write("unasked\n")
        time.sleep(600)
    elif verb == "say":
        sys.stderr.write(rest + "\n")
        sys.stderr.flush()
        write("said\n")
    elif verb == "flood":
        line = b"noise " * 10 + b"\n"
        for _ in range(int(rest)):
            os.write(2, line * 1000)
        write("flooded\n")
    elif verb == "leak":
        leaked.append(bytearray(os.urandom(1024)) * (int(rest) * 1024))
        write("leaked\n")
    elif verb == "child":  # in the same group, or a session of its own
        child = subprocess.Popen(["sleep", "600"], start_new_session=rest == "session", stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        write(f"{child.pid}\n")
    elif verb == "descriptors":
        write(" ".join(sorted(os.listdir("/proc/self/fd"), key=int)) + "\n")
    elif verb == "signals":
        status = open("/proc/self/status").read()
        fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        write(f"{int(fields['SigBlk'], 16)} {int(fields['SigIgn'], 16)} {os.getpid() == os.getsid(0)}\n")
    elif verb == "environment":
        write(f"{os.environ.get(rest)}\n")
    else:
        write("ERROR: unknown\n")


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "die":
        sys.exit(3)
    for line in sys.stdin.buffer:
        verb, _, rest = line.decode(errors="surrogateescape").rstrip("\n").partition(" ")
        answer(verb, rest)


main()
