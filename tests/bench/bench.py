"""Measures pool-server and its peers side by side; see tools/bench."""

import argparse
import datetime
import json
import random
import re
import resource
import sys
from collections import defaultdict
from pathlib import Path

import report
from servers import FLOOR, MEMCACHED, OURS, PEERS, Servers
from workloads import ALONE, CORES, SIZES, WORKLOADS, measure, size

TOP = Path(__file__).resolve().parents[2]
CHART = TOP / "tests/bench/throughput.svg"
BEGIN, END = "<!-- bench: begin -->\n", "<!-- bench: end -->\n"


def runs_of_a_round(number, names, options):
    """(key, row, server, workload) of each run, in an order of its own: what a run leaves behind, in the machine's
    caches or among its sockets, is not always met by the same one."""
    wanted = [(key, name, name, workload) for key, workload in WORKLOADS.items() for name in names
              if number < max(1, round(options.rounds * workload.rounds)) and workload.takes_part(name)]
    wanted.append(("alone", OURS, OURS, ALONE))
    for connections in SIZES:
        wanted.append(("sizes", connections, OURS, size(connections)))
        wanted.append(("sizes of the floor", connections, FLOOR, size(connections)))
    return random.Random(number).sample(wanted, len(wanted))


def run_all(servers, generator, names, options):
    """Interleaved: every server once a round, so that a slow minute of the machine is everyone's."""
    runs = {key: defaultdict(list) for key in (*WORKLOADS, "alone", "sizes", "sizes of the floor")}
    failures = {}

    def attempt(key, row, name, workload):
        if name in failures:
            return
        try:
            runs[key][row].append(measure(servers, generator, name, workload, options.seconds))
        except (RuntimeError, OSError) as error:
            failures[name] = f"{key}: {error}"

    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for run in runs_of_a_round(number, names, options):
            attempt(*run)
    return runs, failures


def text_of(results, failures, options):
    today = datetime.date.today().isoformat()
    rounds = f"{options.rounds} rounds of {options.seconds:g} s, shuffled"
    lines = [f"Measured on {today} by `{options.command}` on {CORES} cores, medians of {rounds} (± half the spread).", "", report.table(results), ""]
    for name, reason in failures.items():
        lines.append(f"Not measured: {name} ({reason}).\n")
    lines.append(report.goals_text(report.goals(results, cores=CORES)))
    return "\n".join(lines) + "\n"


def publish(text, results):
    CHART.write_text(report.chart(results))
    readme = TOP / "README.md"
    old = readme.read_text()
    new = re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: BEGIN + text + END, old, flags=re.S)
    assert BEGIN in old, "README.md has no place for the results"
    readme.write_text(new)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pool_server")
    parser.add_argument("generator")
    parser.add_argument("peers", help="directory with the peers' programs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--only", nargs="+", help="servers")
    parser.add_argument("--publish", action="store_true", help="put the results into README.md")
    parser.add_argument("--command", default="tools/bench")
    parser.add_argument("--results", type=Path, help="file for the raw figures")
    options = parser.parse_args()

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # which the servers inherit
    servers = Servers(options.pool_server, options.peers)
    wanted = options.only or [OURS, *PEERS, MEMCACHED]
    names = [name for name in wanted if name in (OURS, MEMCACHED) or (servers.peers / name).exists()]
    times = [servers.start_and_stop() for _ in range(20)]
    runs, failures = run_all(servers, options.generator, names, options)
    runs["start"], runs["stop"] = map(list, zip(*times))
    failures |= {name: "it does not build" for name in wanted if name not in names}
    if options.results:
        options.results.write_text(json.dumps(runs))
    results = report.Results(runs)
    text = text_of(results, failures, options)
    print(text)
    if options.publish:
        publish(text, results)
    return 1 if OURS in failures else 0


if __name__ == "__main__":
    sys.exit(main())
