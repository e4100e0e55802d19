"""How many instances of pool-server does a load take? An estimate from what servers tell at /metrics.

    python3 instances.py localhost:9089                              # how busy it was since its counters were zero
    python3 instances.py --interval 60 a:9089 b:9089                 # in the next minute
    python3 instances.py --load 5000 --p99 0.02 a:9089 b:9089        # so that 99 of 100 of 5,000 requests/s wait 20 ms at most

SOURCE is HOST:PORT, a URL, the path of a monitor's unix socket, or of a file with what was read there.

Each instance is taken for a queue with so many workers and requests that come at random (M/G/c): Erlang's C formula, and
Allen's and Cunneen's approximation for run times that are not exponentially distributed. The mean of the run times is exact,
how they vary is estimated from a histogram whose limits are powers of two. See doc/scaling.md for where that is wrong.
"""

import argparse
import http.client
import math
import os
import re
import socket
import stat
import sys
import time
import urllib.parse
from dataclasses import dataclass, field

ENOUGH = 100  # requests, below which the numbers are chance
MOST = 2**20  # instances
TIMEOUT = 10  # seconds for an answer
LINE = re.compile(r'(?m)^(pool_server_\w+)(?:\{(.*)\})? (\S+)')


class CannotTell(Exception):
    """Why there is no answer."""


# What queueing theory says


def erlang_c(workers, offered):
    """The share of requests that wait, of Poisson arrivals; `offered`: requests/s times the mean run time."""
    if offered >= workers:
        return 1.0
    blocked = 1.0  # Erlang B, by its recursion
    for n in range(1, workers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - offered / workers * (1 - blocked))


@dataclass
class Queue:
    """M/G/c. Times in seconds."""
    rate: float      # requests/s
    mean: float      # of run times
    scv: float       # their variance over the square of their mean
    workers: int
    arrival_scv: float = 1.0  # the same of the times between requests

    @property
    def utilisation(self):
        return self.rate * self.mean / self.workers

    def _stretch(self):
        """How much longer waits are than with exponential run times and random arrivals."""
        return (self.arrival_scv + self.scv) / 2 * self.mean / (self.workers * (1 - self.utilisation))

    def mean_wait(self):
        if self.utilisation >= 1:
            return math.inf
        return erlang_c(self.workers, self.rate * self.mean) * self._stretch()

    def wait(self, quantile):
        """Taking the times of those that wait for exponentially distributed, which they are with exponential run times."""
        if self.utilisation >= 1:
            return math.inf
        waiting = erlang_c(self.workers, self.rate * self.mean)
        return self._stretch() * math.log(waiting / (1 - quantile)) if waiting > 1 - quantile else 0.0


def fewest(fits):
    """The smallest number for which `fits`, which does for all larger ones."""
    high = 1
    while not fits(high):
        high *= 2
        if high > MOST:
            raise CannotTell(f"it would take more than {MOST:,} instances")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


# What servers say


@dataclass
class Reading:
    """What one server, or all together, have counted."""
    runs: int = 0
    seconds_run: float = 0.0
    waits: int = 0
    seconds_waited: float = 0.0
    shed: int = 0
    buckets: dict = field(default_factory=dict)  # upper limit → run times of at most so many seconds
    workers: int = 0
    begun: float = 0.0  # Unix time at which the counters were zero
    at: float = 0.0     # and of this reading
    servers: int = 1

    @property
    def seconds(self):
        return self.at - self.begun

    def since(self, before):
        if self.begun != before.begun or self.runs < before.runs:
            raise CannotTell("the server has begun to count anew between the two readings")
        return Reading(self.runs - before.runs, self.seconds_run - before.seconds_run, self.waits - before.waits,
                       self.seconds_waited - before.seconds_waited, self.shed - before.shed,
                       {limit: count - before.buckets[limit] for limit, count in self.buckets.items()},
                       self.workers, before.at, self.at)

    def mean(self):
        return self.seconds_run / self.runs

    def scv(self):
        """In a bucket the density is taken for a power that goes with the buckets beside it; then all is scaled to the mean."""
        limits = sorted(self.buckets)
        counts = [self.buckets[limit] - (self.buckets[limits[i - 1]] if i else 0) for i, limit in enumerate(limits)]
        first = counts[0] * limits[0] / 2
        second = counts[0] * limits[0] ** 2 / 3
        for i in range(1, len(limits)):
            lower = limits[i - 1]
            ratio = limits[i] / lower if limits[i] < math.inf else 2.0
            after = counts[i + 1] if i + 1 < len(counts) else 0
            power = math.log((after + 0.5) / (counts[i - 1] + 0.5)) / (2 * math.log(ratio))
            first += counts[i] * lower * moment(1, power, ratio)
            second += counts[i] * lower**2 * moment(2, power, ratio)
        return max(0.0, second * self.runs / first**2 - 1)


def moment(order, power, ratio):
    """The mean of x to the order, where the density is as x to the (power - 1) between 1 and the ratio."""
    def integral(exponent):
        return math.log(ratio) if abs(exponent) < 1e-9 else (ratio**exponent - 1) / exponent
    return integral(power + order) / integral(power)


def parse(text, at):
    values, buckets = {}, {}
    for name, labels, value in LINE.findall(text):
        if name == "pool_server_run_seconds_bucket":
            buckets[float(re.search(r'le="([^"]+)"', labels)[1])] = int(float(value))
        else:
            values[f"{name}{{{labels}}}" if labels else name] = float(value)

    def take(name):
        if name not in values:
            raise CannotTell(f"there is no {name}: those are not the metrics of a pool-server")
        return values[name]
    reading = Reading(int(take("pool_server_run_seconds_count")), take("pool_server_run_seconds_sum"),
                      int(take("pool_server_wait_seconds_count")), take("pool_server_wait_seconds_sum"),
                      int(take('pool_server_requests_total{outcome="shed"}')), buckets, int(take("pool_server_workers_max")),
                      take("pool_server_service_start_time_seconds"), at)
    if buckets.get(math.inf) != reading.runs:
        raise CannotTell("the histogram of run times is not whole")
    return reading


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def read(source):
    path = "/metrics"
    try:
        if os.path.exists(source):
            about = os.stat(source)
            if not stat.S_ISSOCK(about.st_mode):
                with open(source, encoding="utf-8") as file:
                    return parse(file.read(), about.st_mtime)
            connection = UnixConnection(source)
        else:
            url = urllib.parse.urlsplit(source if "://" in source else f"http://{source}")
            if url.scheme != "http" or not url.hostname or not url.port:
                raise CannotTell("it is neither HOST:PORT nor a path that exists")
            path = url.path if url.path not in ("", "/") else path
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200:
                raise CannotTell(f"{path}: status {answer.status}")
            return parse(answer.read().decode(), time.time())
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CannotTell(str(error) or type(error).__name__) from error


def named(source, step):
    """The step's value, or an error that names the source."""
    try:
        return step()
    except CannotTell as error:
        raise CannotTell(f"{source}: {error}") from error


def gather(sources, interval):
    readings = [named(source, lambda source=source: read(source)) for source in sources]
    if interval:
        time.sleep(interval)
        readings = [named(source, lambda source=source, before=before: read(source).since(before))
                    for source, before in zip(sources, readings)]
    for source, reading in zip(sources, readings):
        if reading.seconds <= 0:
            raise CannotTell(f"{source}: its numbers cover no time")
    return readings


def together(readings):
    limits = readings[0].buckets
    if any(set(reading.buckets) != set(limits) for reading in readings):
        raise CannotTell("the servers have histograms of different limits")
    return Reading(sum(r.runs for r in readings), sum(r.seconds_run for r in readings), sum(r.waits for r in readings),
                   sum(r.seconds_waited for r in readings), sum(r.shed for r in readings),
                   {limit: sum(r.buckets[limit] for r in readings) for limit in limits}, sum(r.workers for r in readings),
                   servers=len(readings))


# What is told


def duration(seconds):
    if math.isinf(seconds):
        return "without end"
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return "0"


def table(rows):
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def needed(total, options):
    """How many instances the load takes, and the fullest one's queue."""
    workers = options.workers or total.workers // total.servers
    mean, scv = total.mean(), total.scv()

    def queue(number):
        return Queue(options.load * options.skew / number, mean, scv, workers, options.arrival_scv)

    def fits(number):
        asked = queue(number)
        return asked.utilisation < 1 and asked.utilisation <= options.utilisation and \
            (options.wait is None or asked.mean_wait() <= options.wait) and \
            (options.p99 is None or asked.wait(0.99) <= options.p99)
    number = fewest(fits)
    return number, queue(number)


def report(readings, options):
    """The lines to print."""
    total = together(readings)
    if total.runs < ENOUGH:
        raise CannotTell(f"{total.runs} requests are too few to tell: it takes {ENOUGH}")
    if total.seconds_run <= 0:
        raise CannotTell("the requests took no time that could be measured")
    mean, scv = total.mean(), total.scv()
    rate = sum(reading.runs / reading.seconds for reading in readings)
    now = Queue(rate / total.servers, mean, scv, total.workers // total.servers, options.arrival_scv)
    rows = [("requests", f"{rate:,.1f}/s, by {total.workers} workers of {total.servers} instances"),
            ("run time", f"{duration(mean)} in the mean, squared coefficient of variation {scv:.2f}"),
            ("utilisation", f"{rate * mean / total.workers:.0%}")]
    if total.waits:
        rows.append(("wait", f"{duration(total.seconds_waited / total.waits)} in the mean; "
                             f"{duration(now.mean_wait())} by the formula"))
    if total.shed:
        rows.append(("shed", f"{total.shed:,} requests, which are not in these numbers"))
    means = [reading.mean() for reading in readings if reading.runs >= ENOUGH]
    if means and max(means) > 1.5 * min(means):
        rows.append(("machines", f"differ: {duration(min(means))} to {duration(max(means))} in the mean; give weights"))
    if options.load:
        number, found = needed(total, options)
        rows += [("for", f"{options.load:,g} requests/s"),
                 ("it takes", f"{number:,} instances with {found.workers} workers each"),
                 ("then", f"{found.utilisation:.0%} utilisation; wait {duration(found.mean_wait())} in the mean, "
                          f"{duration(found.wait(0.99))} for 99 of 100 at most")]
    return table(rows)


def positive(text):
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def count(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", metavar="SOURCE", nargs="+")
    parser.add_argument("--interval", type=positive, metavar="S", help="read twice, S seconds apart, instead of the totals")
    parser.add_argument("--load", type=positive, metavar="X", help="requests/s of the whole fleet")
    parser.add_argument("--wait", type=positive, metavar="T", help="the mean wait that is accepted, in seconds")
    parser.add_argument("--p99", type=positive, metavar="T", help="the wait that 99 of 100 requests have at most")
    parser.add_argument("--utilisation", type=positive, metavar="SHARE", default=0.8,
                        help="the highest utilisation that is accepted (%(default)s)")
    parser.add_argument("--workers", type=count, metavar="N", help="workers of an instance; else as many as now")
    parser.add_argument("--skew", type=positive, metavar="X", default=1.0,
                        help="what the fullest instance gets, of the mean (%(default)s)")
    parser.add_argument("--arrival-scv", type=positive, metavar="X", default=1.0,
                        help="squared coefficient of variation of the times between requests (%(default)s: random)")
    options = parser.parse_args(words)
    if options.load is None and (options.wait or options.p99):
        parser.error("--wait and --p99 are for a --load")
    return options


def main():
    options = arguments(sys.argv[1:])
    try:
        print(report(gather(options.sources, options.interval), options))
    except CannotTell as error:
        sys.exit(f"instances.py: {error}")


if __name__ == "__main__":
    main()
