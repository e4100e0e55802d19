"""processes.py BUILD_DIRECTORY [--seconds S]: what it costs to have the work done in processes of its own.

The texts of 64 clients are echoed by the handler `drill`, in the server's process and in those of --isolate yes, and by a
program in C, in lines and in frames: one request at a time, and 16 ahead. CPU time is that of the server with all processes
below it.
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time


LINES = r"""
#include <stdio.h>
int main(void) {
  static char line[1 << 17];
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (fputs(line + 5, stdout) < 0 || fflush(stdout) != 0) return 1;  /* without "echo " */
  }
  return 0;
}
"""
FRAMES = r"""
#include <string.h>
#include <unistd.h>
static int take(unsigned char *to, size_t size) {
  for (ssize_t got; size > 0; to += got, size -= (size_t)got) {
    if ((got = read(0, to, size)) <= 0) return 0;
  }
  return 1;
}
int main(void) {
  static unsigned char frame[9 + (1 << 17)];
  while (take(frame, 8)) {
    size_t size = (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
    if (size < 5 || size > 1 << 17 || !take(frame + 9, 5) || !take(frame + 9, size -= 5)) return 1;
    for (int i = 0; i < 4; ++i) frame[i] = (unsigned char)(size >> (24 - 8 * i));
    frame[8] = 0;
    if (write(1, frame, 9 + size) != (ssize_t)(9 + size)) return 1;
  }
  return 0;
}
"""


def tree(pid):
    found = [pid]
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += tree(int(entry.name))
    return found


def cpu_seconds(pids):
    """Of these and of those below them that have ended: one is, if its client leaves while it is at work."""
    ticks = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue  # its parent has its time
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def compile_program(directory, name, source):
    path = f"{directory}/{name}"
    subprocess.run(["cc", "-O2", "-x", "c", "-o", path, "-"], input=source.encode(), check=True)
    return path


def measure(build, work, ahead, seconds):
    port = free_port()
    server = subprocess.Popen([f"{build}/src/pool-server", str(port), *work, "--log-level=warning"])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None, "the server has ended"
                time.sleep(0.01)
        time.sleep(0.1)  # until all processes are there
        pids = tree(server.pid)
        before = cpu_seconds(pids)
        told = subprocess.check_output([f"{build}/tests/bench/load-generator", str(port), str(server.pid), "--exchange=echo",
                                        "--connections=64", f"--pipeline={ahead}", f"--seconds={seconds}", "--warm-up=0"])
        rate = json.loads(told)["requests_per_second"]
        return rate, (cpu_seconds(pids) - before) * 1e6 / (rate * seconds)
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        lines = compile_program(directory, "lines", LINES)
        frames = compile_program(directory, "frames", FRAMES)
        ways = {
            "handler, --isolate no": ["--handler=drill", "--isolate=no"],
            "handler, --isolate yes": ["--handler=drill", "--isolate=yes"],
            "program in C, lines": [f"--program={lines}"],
            "program in C, frames": ["--program-protocol=frames", f"--program={frames}"],
        }
        print("| 64 clients | one at a time: requests/s | CPU, us each | 16 ahead: requests/s | CPU, us each |\n|---|---|---|---|---|")
        for name, work in ways.items():
            cells = []
            for ahead in (1, 16):
                rate, cpu = measure(options.build, work, ahead, options.seconds)
                cells += [f"{rate:,.0f}", f"{cpu:.1f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
