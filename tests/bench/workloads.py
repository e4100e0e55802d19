"""What the servers are asked to do, and how one such measurement is taken."""

import json
import os
import subprocess
from dataclasses import dataclass

from servers import MEMCACHED, OURS, UNPOOLED

CORES = os.cpu_count()


@dataclass(frozen=True)
class Workload:
    title: str
    exchange: str
    load: tuple  # arguments of the load generator
    workers: int
    rounds: float = 1  # of those asked for, as a share

    def takes_part(self, name):
        if name == MEMCACHED:  # for orientation only
            return self.exchange == "digest" and "--idle=10000" not in self.load
        # Without a pool there is nothing to be fair about, and one core is not two.
        return self.exchange == "digest" or name not in UNPOOLED or name == OURS


WORKLOADS = {
    "W1": Workload("64 clients, one request at a time", "digest", ("--connections=64",), 4),
    "W2": Workload("64 clients × 16 pipelined", "digest", ("--connections=64", "--pipeline=16"), 4),
    "W3": Workload("1 ms tasks, 16 clients × 4", "spin", ("--connections=16", "--pipeline=4"), CORES, 0.5),
    "W4": Workload("10,000 idle connections and one client", "digest",
                   ("--connections=1", "--idle=10000"), 4, 0.5),
    "W5": Workload("one client at a time beside a greedy one, 1 ms tasks", "spin",
                   ("--connections=1", "--greedy=256"), CORES, 0.5),
}
# Ours alone: does a request cost the same however many connections there are?
ALONE = Workload("one client alone", "digest", ("--connections=1",), 4)
SIZES = (10, 100, 1_000, 10_000)


def size(connections):
    return Workload(f"{connections} clients", "digest", (f"--connections={connections}",), 4)


def measure(servers, generator, name, workload, seconds):
    """One run of the load generator against a fresh server: its figures."""
    with servers.running(name, workload.workers, workload.exchange) as (port, pid):
        exchange = "memcached" if name == MEMCACHED else workload.exchange
        command = [generator, str(port), str(pid), f"--exchange={exchange}", *workload.load,
                   f"--seconds={seconds}", f"--warm-up={seconds}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stderr.strip()}")
        return json.loads(done.stdout)
