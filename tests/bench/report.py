"""What was measured, as a table, as goals that were reached or not, and as a chart."""

import html
from statistics import median

from servers import FLOOR, MEMCACHED, OURS, PEERS, TEXTBOOK

LABELS = {OURS: "**pool-server**", **PEERS, MEMCACHED: "memcached, `get` of one key (another job)"}


class Results:
    """Figures by workload, server and name; each a list, one of each round."""

    def __init__(self, runs):
        self.runs = runs

    def servers(self, workload):
        return [name for name in LABELS if self.runs.get(workload, {}).get(name)]

    def all(self, workload, server, figure):
        return [run[figure] for run in self.runs[workload][server]]

    def get(self, workload, server, figure):
        return median(self.all(workload, server, figure))

    def spread(self, workload, server, figure):
        values = self.all(workload, server, figure)
        return (max(values) - min(values)) / median(values)

    def peers(self, workload):
        """The competitors: those that do our job, and hand it to a pool."""
        return [name for name in self.servers(workload) if name not in (OURS, FLOOR, MEMCACHED)]

    def best_peer(self, workload, figure, best=max):
        return best(self.get(workload, name, figure) for name in self.peers(workload))

    def bytes_per_idle(self, server):
        return median((run["memory_with_idle"] - run["memory_before"]) / 10_000
                      for run in self.runs["W4"][server])


def per_second(value):
    return f"{value / 1000:,.0f}k" if value >= 10_000 else f"{value:,.0f}"


def milliseconds(us):
    return f"{us / 1000:.1f}" if us >= 1000 else f"{us / 1000:.2f}"


def table(results):
    """The table of the README."""
    lines = ["| | W1: req/s · p99 ms · CPU µs/req | W2: req/s · p99 ms · CPU µs/req "
             "| W3: req/s · p99 ms | W4: bytes per idle connection | W5: p50 · p99 ms |",
             "|---|---|---|---|---|---|"]
    for name, label in LABELS.items():
        cells = []
        for workload in ("W1", "W2"):
            if name not in results.servers(workload):
                cells.append("–")
                continue
            rate = results.get(workload, name, "requests_per_second")
            cells.append(f"{per_second(rate)} ±{results.spread(workload, name, 'requests_per_second') * 50:.0f}% · "
                         f"{milliseconds(results.get(workload, name, 'p99_us'))} · "
                         f"{results.get(workload, name, 'cpu_us_per_request'):.2f}")
        cells.append(f"{per_second(results.get('W3', name, 'requests_per_second'))} · "
                     f"{milliseconds(results.get('W3', name, 'p99_us'))}"
                     if name in results.servers("W3") else "–")
        cells.append(f"{results.bytes_per_idle(name):,.0f}" if name in results.servers("W4") else "–")
        cells.append(f"{milliseconds(results.get('W5', name, 'p50_us'))} · "
                     f"{milliseconds(results.get('W5', name, 'p99_us'))}"
                     if name in results.servers("W5") else "–")
        if any(cell != "–" for cell in cells):
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def goals(results, task_ms=1, cores=2):
    """(what, figure, bound, reached) of each goal."""
    found = []

    def at_least(what, figure, bound):
        found.append((what, f"{figure:.2f}", f"≥ {bound}", figure >= bound))

    def at_most(what, figure, bound, unit=""):
        found.append((what, f"{figure:.2f}{unit}", f"≤ {bound}{unit}", figure <= bound))

    for workload, floor, best, textbook, cpu in (("W1", 0.93, 1.3, 1.9, 1.12), ("W2", 1.0, 1.25, 12, 1.15)):
        ours = results.get(workload, OURS, "requests_per_second")
        at_least(f"{workload} throughput, of the floor's",
                 ours / results.get(workload, FLOOR, "requests_per_second"), floor)
        at_least(f"{workload} throughput, of the best peer's",
                 ours / results.best_peer(workload, "requests_per_second"), best)
        at_least(f"{workload} throughput, of the textbook's",
                 ours / results.get(workload, TEXTBOOK, "requests_per_second"), textbook)
        at_most(f"{workload} CPU per request, of the floor's",
                results.get(workload, OURS, "cpu_us_per_request") /
                results.get(workload, FLOOR, "cpu_us_per_request"), cpu)
    rate = results.get("W3", OURS, "requests_per_second")
    at_least("W3 throughput, of cores ÷ task time", rate / (cores * 1000 / task_ms), 0.98)
    at_least("W3 throughput, of the best peer's", rate / results.best_peer("W3", "requests_per_second"), 1)
    at_most("W3 p99, of the best peer's",
            results.get("W3", OURS, "p99_us") / results.best_peer("W3", "p99_us", min), 1)
    at_most("W4 memory per idle connection, beyond the floor's",
            results.bytes_per_idle(OURS) - results.bytes_per_idle(FLOOR), 100, " bytes")
    for figure in ("p50_us", "cpu_us_per_request"):
        at_most(f"W4 {figure.split('_')[0]} of a request, of that without idle connections",
                results.get("W4", OURS, figure) / results.get("alone", OURS, figure), 1.1)
    def total(name):
        return results.get("W5", name, "requests_per_second") + results.get("W5", name, "greedy_per_second")

    at_least("W5 throughput of both, of the best peer's, which all serve first come first",
             total(OURS) / max(total(name) for name in results.peers("W5")), 0.97)
    at_most("W5 polite client's p50", results.get("W5", OURS, "p50_us") / 1000, 4, " ms")
    at_most("W5 polite client's p99", results.get("W5", OURS, "p99_us") / 1000, 8, " ms")
    at_most("start to READY", median(results.runs["start"]) * 1000, 10, " ms")
    at_most("stop when idle", median(results.runs["stop"]) * 1000, 50, " ms")
    for connections in sorted(results.runs["sizes"]):
        at_least(f"throughput with {connections:,} connections, of the floor's with as many",
                 results.get("sizes", connections, "requests_per_second") /
                 results.get("sizes of the floor", connections, "requests_per_second"), 0.9)
    return found


def goals_text(found):
    lines = ["| goal | figure | bound | |", "|---|---|---|---|"]
    lines += [f"| {what} | {figure} | {bound} | {'reached' if reached else '**not reached**'} |"
              for what, figure, bound, reached in found]
    return "\n".join(lines)


def chart(results):
    """Throughput of W1 and W2 as bars, each as a share of the floor's: an SVG."""
    bar, gap, left, width = 18, 8, 190, 430
    parts, y = [], 10
    for workload, title in (("W1", "64 clients, one request at a time"), ("W2", "64 clients × 16 pipelined")):
        floor = results.get(workload, FLOOR, "requests_per_second")
        parts.append(f'<text x="0" y="{y + 14}" class="title">{html.escape(title)}: '
                     'requests/s, of the server without a hand-off</text>')
        y += 28
        shown = [name for name in results.servers(workload) if name != MEMCACHED]
        for name in sorted(shown, key=lambda n: -results.get(workload, n, "requests_per_second")):
            share = results.get(workload, name, "requests_per_second") / floor
            kind = "ours" if name == OURS else "floor" if name == FLOOR else "peer"
            parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>'
                         f'<rect x="{left}" y="{y}" width="{share * width:.0f}" height="{bar}" class="{kind}"/>'
                         f'<text x="{left + share * width + 6:.0f}" y="{y + 13}">{share:.2f}</text>')
            y += bar + gap
        y += 14
    style = ("text{font:13px sans-serif;fill:#24292f}.title{font-weight:bold}rect{fill:#8c959f}"
             ".ours{fill:#1a7f37}.floor{fill:#d0d7de}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {y}" width="720" height="{y}">'
            f'<style>{style}</style><rect width="720" height="{y}" style="fill:#fff"/>' + "".join(parts) + "</svg>\n")
