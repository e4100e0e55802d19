"""A fleet of pool-servers behind a balancer of connections, simulated request by request.

Connections come at random, ask one request at a time with pauses between, and go; each stays with the instance that it was
given to. An instance has workers and one queue, first come, first served, so that it is known when a request begins and ends
as soon as it comes. An agent tells the balancer a weight every two seconds. Times are in seconds.

The same figures come out on each machine: there is no function of the C library's in it whose last digit may differ.
"""

import math
import random
from collections import deque
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace

NEVER = math.inf
WORKERS = 4
PERIOD = 2.0   # between two looks of the agent's
WINDOW = 4.0   # over which waits are taken together
PAUSE = 0.2    # of a restart that keeps its connections
SMOOTHING = 8.0
TARGET = 2.0   # a newcomer's wait at which nothing is free, in mean run times

# Exponentially distributed numbers with the mean 1: equally likely ones, rounded.
DRAWS = 12
EXPONENTIAL = [round(-math.log(1 - (k + 0.5) / 2**DRAWS), 6) for k in range(2**DRAWS)]

# Share of the machines → how quick they are: one of ten each, in an order in which kinds are mixed.
MIXED = (1.0, 2.0, 1.0, 1 / 3, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0)

# What an agent may report: whether it counts how quick the machine is, what it counts of the load, and whether that is smoothed.
FORMS = {
    "rate × free, smoothed": (True, "free", True),
    "rate × free": (True, "free", False),
    "rate": (True, None, False),
    "free, smoothed": (False, "free", True),
    "free": (False, "free", False),
    "rate × idle, smoothed": (True, "idle", True),
    "rate × idle": (True, "idle", False),
    "idle, smoothed": (False, "idle", True),
    "idle": (False, "idle", False),
}
BEST = "rate × free, smoothed"


@dataclass
class Load:
    """What clients do."""
    run: float = 1.0        # mean run time of a request on a normal machine
    share: float = 0.75     # of what the fleet can do
    requests: float = 6.0   # of a connection, in the mean
    think: float = 3.0      # mean pause between two of them


@dataclass
class Rollout:
    """A rolling restart: so many instances at a time, each batch `every` seconds after the one before."""
    begin: float
    at_a_time: int
    every: float
    drain: float = 0.0  # how long connections may take to leave; 0: they are kept


class Balancer:
    """HAProxy's `roundrobin` and `leastconn`, both with weights. With the weight 0 an instance gets no connection."""

    def __init__(self, algorithm, count):
        self._least = algorithm == "leastconn"
        self._turn = 0.0
        self._slots = [i / count / 100 for i in range(count)]  # of round robin: when it is each one's turn
        self._versions = [0] * count
        self._tickets = 0
        self._line = []  # the next is the lowest; outdated entries are passed over
        self.weights = [100] * count
        self.connections = [0] * count
        for i in range(count):
            self._queue(i)

    def _queue(self, i):
        self._versions[i] += 1
        self._tickets += 1
        if self.weights[i] == 0:
            return
        if self._least:
            key = (self.connections[i] + 1) / self.weights[i] if self.connections[i] else 0.0
        else:
            key = self._slots[i]
        heappush(self._line, (key, self._tickets, i, self._versions[i]))

    def place(self):
        while self._line[0][3] != self._versions[self._line[0][2]]:
            heappop(self._line)
        key, _, i, _ = self._line[0]
        self.connections[i] += 1
        if not self._least:
            self._turn = key
            self._slots[i] = key + 1 / self.weights[i]
        self._queue(i)
        return i

    def leave(self, i):
        self.connections[i] -= 1
        if self._least:
            self._queue(i)

    def weigh(self, i, weight):
        if weight == self.weights[i]:
            return
        if weight > 0:
            before = self.weights[i] or 100
            self._slots[i] = self._turn + max(0.0, self._slots[i] - self._turn) * before / weight
        self.weights[i] = weight
        self._queue(i)


class Instance:
    """A server. At `change_at` it becomes as quick as `later_speed`, or restarts, which takes `pause`."""
    __slots__ = ("speed", "free_at", "given", "known", "change_at", "later_speed", "pause", "busy")

    def __init__(self, speed):
        self.speed = self.later_speed = speed
        self.change_at, self.pause = NEVER, 0.0
        self.free_at = [0.0] * WORKERS  # when each worker has done what it was given: a heap
        self.given = deque()  # (begin, run time) of those that have not begun, as of the last look
        self.known = []       # the same of those that run
        self.busy = 0.0       # seconds of its workers, where that is measured

    def changed(self, begin, took):
        """Begin and run time of a request that would end after the change."""
        after = self.change_at + self.pause
        if begin >= after:
            return begin, took * self.speed / self.later_speed
        if begin >= self.change_at:
            return after, took * self.speed / self.later_speed
        done = self.change_at - begin
        if self.pause > 0:  # computed again by the next process
            return begin, done + self.pause + took
        return begin, done + (took - done) * self.speed / self.later_speed


class Agent:
    """The weight that an instance reports, of what a server knows: that is written down in doc/scaling.md."""

    def __init__(self, form, run):
        self._with_rate, self._load, self._smoothed = FORMS[form]
        self._full = WORKERS / run * max(MIXED)  # requests/s that are 100%: what the quickest can do
        self._target = TARGET * run
        self._decay = round(math.exp(-PERIOD / SMOOTHING), 9)
        self.forget()

    def forget(self):
        self._work = self._count = 0.0
        self._smooth = 1.0
        self.silent = False

    def weight(self, instance, now):
        given, running = instance.given, []
        while given and given[0][0] <= now:
            instance.known.append(given.popleft())
        self._work *= self._decay
        self._count *= self._decay
        for begin, took in instance.known:
            if begin + took <= now:
                self._work += took
                self._count += 1
            else:
                running.append((begin, took))
        instance.known = running
        mean = self._work / self._count if self._count > 0.01 else WORKERS / self._full
        value = 1.0
        if self._load == "idle":
            value = 1 - len(running) / WORKERS
        elif self._load == "free":
            value = max(0.0, 1 - len(given) * mean / WORKERS / self._target)
        if self._smoothed:
            self._smooth += (1 - self._decay) * (value - self._smooth)
            value = self._smooth
        if self._with_rate:
            value *= min(1.0, WORKERS / mean / self._full)
        return max(1, min(100, round(100 * value)))


class Run:
    """What came of one. `waits` has those of each WINDOW; `watched` the connections of one instance at each look."""

    def __init__(self, speeds, seconds, settled):
        self.speeds, self.seconds, self.settled = speeds, seconds, settled
        self.waits = [[] for _ in range(int(seconds / WINDOW))]
        self.watched = []
        self.cut = self.connections = 0
        self.looks = [[] for _ in speeds]  # (weight, connections) at each look
        self.busy = {}

    def wait(self, quantile, begin=None, end=None):
        """Of the requests that came between the two times, once it has settled."""
        first = int((self.settled if begin is None else begin) / WINDOW)
        last = int((self.seconds if end is None else end) / WINDOW)
        values = sorted(wait for window in self.waits[first:last] for wait in window)
        return values[int(quantile * (len(values) - 1))]

    def step(self):
        """How far a weight is from the one before, in the mean."""
        steps = [abs(a[0] - b[0]) for looks in self.looks for a, b in zip(looks, looks[1:])]
        return sum(steps) / len(steps)

    def swing(self):
        """The standard deviation of an instance's connections over time, as a share of their mean."""
        found = []
        for looks in self.looks:
            mean = sum(connections for _, connections in looks) / len(looks)
            variance = sum((connections - mean) ** 2 for _, connections in looks) / len(looks)
            found.append(math.sqrt(variance) / max(mean, 1.0))
        return sum(found) / len(found)


def simulate(algorithm, form, count, seconds, load=Load(), settled=40.0, measured=None, degrade=None, rollout=None, seed=1):
    """`form`: what agents report; None: there are none. `measured`: until when it is measured how busy instances are.

    `degrade`: (when, every how manieth instance, to which share of its speed).
    """
    rng = random.Random(seed)
    bits, exponential = rng.getrandbits, EXPONENTIAL
    speeds = [MIXED[i % len(MIXED)] for i in range(count)]
    fleet = [Instance(speed) for speed in speeds]
    balancer = Balancer(algorithm, count)
    run = Run(speeds, seconds, settled)
    measured = seconds if measured is None else measured
    lengths = [math.ceil(load.requests * draw) for draw in exponential]
    capacity = sum(speeds) * WORKERS / load.run
    gap = sum(lengths) / len(lengths) / (load.share * capacity)  # between two connections
    if degrade:
        at, every, share = degrade
        for instance in fleet[::every]:
            instance.change_at, instance.later_speed = at, instance.speed * share

    # Who is next: connections from 0 on, agents below that, steps of the rollout below those.
    events = []
    agents = [Agent(form, load.run) for _ in range(count)] if form else []
    events += [(i / count * PERIOD, -1 - i) for i in range(len(agents))]
    steps = []
    if rollout:
        for batch, first in enumerate(range(0, count, rollout.at_a_time)):
            members = range(first, min(count, first + rollout.at_a_time))
            begin = rollout.begin + batch * rollout.every
            for i in members:
                fleet[i].change_at, fleet[i].pause = begin + rollout.drain, PAUSE
            if rollout.drain:
                steps += [(begin, members, False), (begin + rollout.drain, members, True)]
    events += [(when, -1 - count - number) for number, (when, _, _) in enumerate(steps)]
    heapify(events)

    where, left = [], []  # of each connection: its instance, and how many requests it has yet to send
    waits, last = run.waits, len(run.waits) * WINDOW
    heappush(events, (seconds, -1 - count - len(steps)))  # the end
    coming = 0.0
    while True:
        now, who = events[0]
        if coming < now:
            i = balancer.place()
            where.append(i)
            left.append(lengths[bits(DRAWS)])
            heappush(events, (coming, len(where) - 1))
            coming += exponential[bits(DRAWS)] * gap
            continue
        if who >= 0:
            i = where[who]
            if left[who] == 0:
                left[who] = -1
                balancer.leave(i)
                heappop(events)
                continue
            left[who] -= 1
            instance = fleet[i]
            begin = instance.free_at[0]
            if begin < now:
                begin = now
            took = exponential[bits(DRAWS)] * load.run / instance.speed
            if begin + took >= instance.change_at:
                begin, took = instance.changed(begin, took)
            end = begin + took
            heapreplace(instance.free_at, end)
            if agents:
                instance.given.append((begin, took))
            if now < last:
                waits[int(now / WINDOW)].append(begin - now)
            if settled <= begin < measured:
                instance.busy += took
            heapreplace(events, (end + exponential[bits(DRAWS)] * load.think if left[who] else end, who))
            continue
        i = -1 - who
        if i < count:
            agent = agents[i]
            weight = agent.weight(fleet[i], now)
            if not agent.silent:
                balancer.weigh(i, weight)
            if i == 0:
                run.watched.append((now, balancer.connections[0]))
            if now >= settled:
                run.looks[i].append((weight, balancer.connections[i]))
            heapreplace(events, (now + PERIOD, who))
            continue
        heappop(events)
        if i - count == len(steps):
            break
        _, members, back = steps[i - count]
        for i in members:
            if back:
                balancer.weigh(i, 100)
                agents[i].forget()
            else:
                balancer.weigh(i, 0)
                agents[i].silent = True
        if back:  # whoever is still there is cut off, and connects again
            for who, i in enumerate(where):
                if i in members and left[who] >= 0:
                    run.cut += 1
                    balancer.leave(i)
                    where[who] = balancer.place()
    run.connections = len(where)
    for speed in sorted(set(speeds)):
        kind = [instance.busy for instance in fleet if instance.speed == speed]
        run.busy[speed] = sum(kind) / len(kind) / WORKERS / (measured - settled)
    return run
