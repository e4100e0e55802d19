"""balancer.py BUILD_DIRECTORY [--rounds N] [--seconds S]: what HAProxy in TCP mode, with one thread, passes on.

Two servers with the handler `digest`, reached directly (one of them) and through HAProxy: 64 clients with one request at a
time, 64 with 16 ahead, and new connections of one request each. All of it, the load generator included, is on this machine.
"""

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
from statistics import median

from processes import compile_program, cpu_seconds
from servers import Servers, free_port, wait_for_port

CONFIGURATION = """
global
  nbthread 1
  maxconn 1000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen fleet
  bind 127.0.0.1:{port}
  balance leastconn
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two}
"""

# One client: a connection, a line, its reply, and so on for so many seconds; then how many. Its own address, so that
# ports do not run out.
CONNECTOR = r"""
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
int main(int argc, char **argv) {
  if (argc != 4) return 2;
  long done = 0;
  for (double end = now() + atof(argv[2]); now() < end; ++done) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET}, from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (unsigned)atoi(argv[3]));
    to.sin_port = htons((unsigned short)atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char reply[200];
    size_t got = 0;
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to) ||
        write(fd, "a line\n", 7) != 7)
      return perror("connector"), 1;
    while (got == 0 || reply[got - 1] != '\n') {
      ssize_t more = read(fd, reply + got, sizeof reply - got);
      if (more <= 0) return fprintf(stderr, "connector: no reply\n"), 1;
      got += (size_t)more;
    }
    if (memcmp(reply, "result: ", 8) != 0) return fprintf(stderr, "connector: %.*s", (int)got, reply), 1;
    close(fd);
  }
  return printf("%ld\n", done) < 0;
}
"""
CONNECTORS = 8
WAYS = {"one request at a time": ("--connections=64",), "16 ahead": ("--connections=64", "--pipeline=16")}
NEW = "new connections"


def requests(generator, port, pid, arguments, seconds):
    told = subprocess.check_output([generator, str(port), str(pid), *arguments, f"--seconds={seconds}", "--warm-up=0.5"])
    return json.loads(told)["requests_per_second"]


def connections(connector, port, seconds):
    clients = [subprocess.Popen([connector, str(port), str(seconds), str(number)], stdout=subprocess.PIPE)
               for number in range(CONNECTORS)]
    counts = [client.communicate()[0] for client in clients]
    if any(client.returncode for client in clients):
        raise RuntimeError("a client failed")
    return sum(map(int, counts)) / seconds


@contextlib.contextmanager
def haproxy(directory, one, two):
    port = free_port()
    path = f"{directory}/haproxy.cfg"
    with open(path, "w") as file:
        file.write(CONFIGURATION.format(port=port, one=one, two=two))
    process = subprocess.Popen(["haproxy", "-db", "-f", path], stdin=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--server", help="another binary than that of the build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    servers = Servers(options.server or f"{options.build}/src/pool-server", "")
    generator = f"{options.build}/tests/bench/load-generator"
    found = {}  # way → (directly, through, CPU of HAProxy in µs each) of each round
    with tempfile.TemporaryDirectory() as directory:
        connector = compile_program(directory, "connector", CONNECTOR)
        for _ in range(options.rounds):
            with servers.running("pool-server", 4, "digest") as (one, pid), \
                    servers.running("pool-server", 4, "digest") as (two, _), haproxy(directory, one, two) as (port, balancer):
                def measure(way, rate):
                    directly = rate(one)
                    before = cpu_seconds([balancer])
                    through = rate(port)
                    # Of the warm-up, too.
                    cpu = (cpu_seconds([balancer]) - before) / (options.seconds + (0 if way == NEW else 0.5))
                    found.setdefault(way, []).append((directly, through, cpu * 1e6 / through))
                for way, arguments in WAYS.items():
                    measure(way, lambda to: requests(generator, to, pid, arguments, options.seconds))
                measure(NEW, lambda to: connections(connector, to, options.seconds))
    print(f"| {os.cpu_count()} cores | directly, /s | through HAProxy, /s | share | CPU of HAProxy, µs each |\n|---|---|---|---|---|")
    for way, runs in found.items():
        shares = [through / directly for directly, through, _ in runs]
        print(f"| {way} | {median(r[0] for r in runs):,.0f} | {median(r[1] for r in runs):,.0f} | {median(shares):.2f} "
              f"({min(shares):.2f} to {max(shares):.2f}) | {median(r[2] for r in runs):.1f} |")


if __name__ == "__main__":
    main()
