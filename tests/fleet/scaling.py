"""scaling.py [--publish]: what doc/scaling.md says of a fleet that is too large to be run here.

Prints the tables; --publish puts them into doc/scaling.md, and the picture into doc/fleet.svg.
"""

import argparse
import math
import random
import re
import sys
from heapq import heapify, heapreplace
from pathlib import Path

from simulation import BEST, FORMS, WINDOW, Load, Rollout, simulate

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "examples" / "monitoring"))
import instances

# Of a server with the handler `drill` that was asked at random, 130 times a second, to sleep for 20 ms in the mean.
METRICS = Path(__file__).with_name("example.metrics")
METRICS_SECONDS = 61
PAGE = ROOT / "doc" / "scaling.md"
PICTURE = ROOT / "doc" / "fleet.svg"

SECONDS, SETTLED, DEGRADED = 104.0, 40.0, 64.0
BALANCERS = {
    "round robin": ("roundrobin", None),
    "leastconn": ("leastconn", None),
    "round robin, agent": ("roundrobin", BEST),
    "leastconn, agent": ("leastconn", BEST),
}
KINDS = {1 / 3: "slow", 1.0: "normal", 2.0: "fast"}

LONG = Load()
SHORT = Load(run=0.1, requests=2.0, think=0.3)  # a look of the agent's is as long as twenty requests

# How long restarts take, in seconds: nearly all of them, those of a busy machine, those that systemd gives up waiting for.
RESTARTS = ((0.989, 0.5), (0.01, 5.0), (0.001, 90.0))
DRAIN = 30.0


# The runs


def balancers():
    """Name → a run of 1,000 instances; at DEGRADED one in twenty falls to a fifth of its speed."""
    return {name: simulate(algorithm, form, 1000, SECONDS, settled=SETTLED, measured=DEGRADED, degrade=(DEGRADED, 20, 0.2))
            for name, (algorithm, form) in BALANCERS.items()}


def forms(seed=1):
    """Form → runs under (LONG, SHORT), with leastconn."""
    return {form: (simulate("leastconn", form, 100, 160.0, load=LONG, seed=seed),
                   simulate("leastconn", form, 30, 80.0, load=SHORT, seed=seed)) for form in FORMS}


def restarts(seed=1):
    """Way → a run in which all of 100 instances restart, one in ten at a time."""
    def run(seconds, rollout):
        return simulate("leastconn", BEST, 100, seconds, load=Load(share=0.85), rollout=rollout, seed=seed)
    step = DRAIN + 2
    return {"none": run(240.0, None), "connections kept": run(240.0, Rollout(SETTLED, 10, 20.0)),
            "drained": run(SETTLED + 10 * step, Rollout(SETTLED, 10, step, DRAIN))}


def restart_times(machines, extra, rng):
    cumulated, below = [], 0.0
    for share, seconds in RESTARTS:
        below += share
        cumulated.append((below, extra + seconds))
    draws = [rng.random() for _ in range(machines)]
    return [next((seconds for limit, seconds in cumulated if draw < limit), cumulated[0][1]) for draw in draws]


def in_batches(times, at_a_time):
    """Seconds until all have restarted, if each batch waits for its slowest."""
    return sum(max(times[first:first + at_a_time]) for first in range(0, len(times), at_a_time))


def flowing(times, at_a_time):
    """The same if the next one begins as soon as one is done."""
    slots = times[:at_a_time]
    heapify(slots)
    for seconds in times[at_a_time:]:
        heapreplace(slots, slots[0] + seconds)
    return max(slots)


def rollouts():
    """(machines, at a time, drain, machine-seconds missing, seconds in batches, seconds without) of each, in the mean."""
    found = []
    for machines in (10, 100, 1000):
        for extra in (0.0, DRAIN):
            rng = random.Random(1)
            rounds = [restart_times(machines, extra, rng) for _ in range(20_000 // machines)]
            for at_a_time in sorted({1, machines // 10}):
                found.append((machines, at_a_time, extra, sum(map(sum, rounds)) / len(rounds),
                              *(sum(takes(times, at_a_time) for times in rounds) / len(rounds)
                                for takes in (in_batches, flowing))))
    return found


# The tables


def example():
    reading = instances.parse(METRICS.read_text(), 0)
    reading.at = reading.begun + METRICS_SECONDS
    return reading


def estimate(arguments):
    """What instances.py says of the example."""
    lines = instances.report([example()], instances.arguments([*arguments, "example"]))
    return "\n".join(f"    {line}" for line in lines.splitlines())


def instances_table(p99=0.05):
    rows = []
    for load in (100, 1_000, 10_000, 100_000):
        for workers in (4, 16):
            number, queue = instances.needed(example(), instances.arguments(
                [f"--load={load}", f"--p99={p99}", f"--workers={workers}", "example"]))
            rows.append((f"{load:,}", str(workers), f"{number:,}", f"{queue.utilisation:.0%}", instances.duration(queue.mean_wait()),
                         instances.duration(queue.wait(0.99))))
    return table(("requests/s", "workers of an instance", "instances", "utilisation", "mean wait", "p99"), rows)

def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def answered(run, begin, end):
    return sum(map(len, run.waits[int(begin / WINDOW):int(end / WINDOW)])) / (end - begin)


def balancers_table(runs):
    rows = [(name, f"{answered(run, SETTLED, DEGRADED):,.0f}", f"{run.wait(0.5, SETTLED, DEGRADED):.2f}",
             f"{run.wait(0.99, SETTLED, DEGRADED):.1f}",
             *(f"{busy:.0%}" for busy in run.busy.values()),
             f"{run.wait(0.99, DEGRADED, DEGRADED + 20):.1f}", f"{run.wait(0.99, DEGRADED + 20, SECONDS):.1f}")
            for name, run in runs.items()]
    return table(("1,000 instances", "requests/s", "wait p50", "p99", *(f"{kind} ones busy" for kind in KINDS.values()),
                  "p99, 20 s from the fault on", "p99 after that"), rows)


def forms_table(runs):
    rows = []
    for form, pair in runs.items():
        cells = [f"**{form}**" if form == BEST else form]
        for run, load in zip(pair, (LONG, SHORT)):
            cells += [f"{run.wait(0.99) / load.run:.1f}", f"{run.step():.0f}", f"{run.swing():.2f}"]
        rows.append(cells)
    return table(("weight", "long: p99", "step", "swing", "short: p99", "step", "swing"), rows)


def restarts_table(runs):
    rows = [(way, f"{run.wait(0.5):.2f}", f"{run.wait(0.99):.1f}", f"{run.wait(0.999):.1f}", f"{run.cut:,}")
            for way, run in runs.items()]
    return table(("restart of all", "wait p50", "p99", "p99.9", "connections cut"), rows)


def spoken(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def rollouts_table(found):
    rows = [(f"{machines:,}", f"{at_a_time}", "drained" if extra else "kept", f"{at_a_time / machines:.1%}",
             *(text for seconds in ways for text in (spoken(seconds), f"{missing / machines / seconds:.1%}")))
            for machines, at_a_time, extra, missing, *ways in found]
    return table(("machines", "at a time", "connections", "missing at most", "in batches", "missing in the mean",
                  "always so many", "missing in the mean"), rows)


# The picture


COLOURS = {"round robin": "robin", "leastconn": "least", "round robin, agent": "robin dashed", "leastconn, agent": "ours"}
STYLE = ("text{font:13px sans-serif;fill:#24292f}.title{font-weight:bold}.grid{stroke:#d0d7de}path{fill:none;stroke-width:2}"
         ".robin{stroke:#8c959f}.least{stroke:#bf8700}.ours{stroke:#1a7f37}.idle{stroke:#cf222e}.dashed{stroke-dasharray:5 4}")


def line(points, kind):
    return f'<path class="{kind}" d="M' + " L".join(f"{x:.0f} {y:.0f}" for x, y in points) + '"/>'


def waits_panel(runs, left, top, width, height):
    """p99 of the wait in each window, on a logarithmic scale from 0.5 to 50."""
    def y_of(wait):
        return top + height * (1 - math.log(max(0.5, min(50.0, wait)) / 0.5) / math.log(100))
    parts = [f'<text x="0" y="{top - 14}" class="title">p99 of the wait, in run times of a normal machine: '
             '1,000 instances, 75% load</text>']
    for wait in (0.5, 1, 2, 5, 10, 20, 50):
        parts.append(f'<path class="grid" d="M{left} {y_of(wait):.0f} h{width}"/>'
                     f'<text x="{left - 8}" y="{y_of(wait) + 4:.0f}" text-anchor="end">{wait:g}</text>')
    for second in range(0, int(SECONDS) + 1, 20):
        parts.append(f'<text x="{left + second / SECONDS * width:.0f}" y="{top + height + 18}" '
                     f'text-anchor="middle">{second} s</text>')
    fault = left + DEGRADED / SECONDS * width
    parts.append(f'<path class="grid" d="M{fault:.0f} {top} v{height}"/><text x="{fault + 5:.0f}" y="{top + 12}">'
                 '1 in 20 slows to a fifth</text>')
    for number, (name, run) in enumerate(runs.items()):
        points = [(left + (window + 0.5) * WINDOW / SECONDS * width, y_of(run.wait(0.99, window * WINDOW, (window + 1) * WINDOW)))
                  for window in range(len(run.waits))]
        x, y = left + width + 12, top + 12 + 22 * number
        parts += [line(points, COLOURS[name]), line([(x, y - 4), (x + 22, y - 4)], COLOURS[name]),
                  f'<text x="{x + 28}" y="{y}">{name}</text>']
    return parts


def connections_panel(runs, left, top, width, height):
    """How many connections one instance has, by what its agent reports."""
    shown = {"idle": ("idle", "idle"), BEST: ("ours", BEST)}
    begin, end = 40.0, 80.0
    traces = {form: [(now, count) for now, count in runs[form][1].watched if now >= begin] for form in shown}
    most = max(count for trace in traces.values() for _, count in trace)
    parts = [f'<text x="0" y="{top - 14}" class="title">Connections of one instance, by the weight that its agent reports '
             '(leastconn, short connections)</text>']
    for share in (0, 1):
        y = top + height * (1 - share)
        parts.append(f'<path class="grid" d="M{left} {y} h{width}"/><text x="{left - 8}" y="{y + 4}" '
                     f'text-anchor="end">{most * share}</text>')
    for second in range(int(begin), int(end) + 1, 10):
        parts.append(f'<text x="{left + (second - begin) / (end - begin) * width:.0f}" y="{top + height + 18}" '
                     f'text-anchor="middle">{second} s</text>')
    for number, (form, (kind, label)) in enumerate(shown.items()):
        points = [(left + (now - begin) / (end - begin) * width, top + height * (1 - count / most)) for now, count in traces[form]]
        x, y = left + width + 12, top + 12 + 22 * number
        parts += [line(points, kind), line([(x, y - 4), (x + 22, y - 4)], kind), f'<text x="{x + 28}" y="{y}">{label}</text>']
    return parts


def picture(runs, by_form):
    parts = waits_panel(runs, 40, 30, 480, 240) + connections_panel(by_form, 40, 340, 480, 120)
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -6 740 500" width="740" height="500">'
            f'<style>{STYLE}</style><rect x="-10" y="-6" width="740" height="500" style="fill:#fff"/>' + "\n".join(parts)
            + "</svg>\n")


def put(text, name, content):
    """The text with what is between the marks of that name replaced."""
    found = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.S)
    if not found.search(text):
        raise ValueError(f"there is no place for {name}")
    return found.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def tables(runs, by_form, by_way, of_rollouts):
    """Name of its place in the page → what is to be there."""
    return {"estimate": estimate(["--load=5000", "--p99=0.05"]), "instances": instances_table(),
            "balancers": balancers_table(runs), "weights": forms_table(by_form), "restarts": restarts_table(by_way),
            "rollouts": rollouts_table(of_rollouts)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    runs, by_form = balancers(), forms()
    found = tables(runs, by_form, restarts(), rollouts())
    for content in found.values():
        print(content, end="\n\n")
    if options.publish:
        text = PAGE.read_text()
        for name, content in found.items():
            text = put(text, name, content)
        PAGE.write_text(text)
        PICTURE.write_text(picture(runs, by_form))


if __name__ == "__main__":
    main()
