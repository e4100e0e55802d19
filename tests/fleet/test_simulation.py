"""The simulated fleet: does the model do what it says, and does doc/scaling.md say what comes of it?"""

import unittest
from statistics import mean

import scaling
from simulation import BEST, EXPONENTIAL, WORKERS, Agent, Balancer, Instance, Load, simulate


class Model(unittest.TestCase):
    def test_one_instance_is_a_queue(self):
        """Fails if requests wait longer or shorter than Erlang's formula has it, where it is exact: random arrivals, one queue."""
        run = simulate("leastconn", None, 1, 40_000.0, load=Load(share=0.7, requests=0.01), settled=400.0)
        waits = [wait for window in run.waits[100:] for wait in window]
        self.assertGreater(len(waits), 100_000)
        queue = scaling.instances.Queue(0.7 * WORKERS, 1.0, 1.0, WORKERS)
        self.assertAlmostEqual(mean(waits) / queue.mean_wait(), 1, delta=0.05)
        self.assertAlmostEqual(sum(wait > 0 for wait in waits) / len(waits) /
                               scaling.instances.erlang_c(WORKERS, 0.7 * WORKERS), 1, delta=0.05)
        self.assertAlmostEqual(run.wait(0.99) / queue.wait(0.99), 1, delta=0.08)
        self.assertAlmostEqual(run.busy[1.0], 0.7, delta=0.02)
        self.assertAlmostEqual(mean(EXPONENTIAL), 1, delta=0.001)

    def test_shares_go_by_weight(self):
        """Fails if a balancer does not give connections in proportion to weights, or gives one to a drained instance."""
        for algorithm in ("roundrobin", "leastconn"):
            balancer = Balancer(algorithm, 4)
            for i, weight in enumerate((100, 50, 10, 0)):
                balancer.weigh(i, weight)
            for _ in range(1600):
                balancer.place()
            for connections, expected in zip(balancer.connections, (1000, 500, 100, 0)):
                self.assertAlmostEqual(connections, expected, delta=2, msg=algorithm)
            for i, weight in enumerate((0, 50, 100, 50)):
                balancer.weigh(i, weight)
            before = list(balancer.connections)
            for _ in range(200):
                balancer.place()
            gained = [after - earlier for after, earlier in zip(balancer.connections, before)]
            self.assertEqual(gained[0], 0)
            if algorithm == "roundrobin":
                for got, expected in zip(gained[1:], (50, 100, 50)):
                    self.assertAlmostEqual(got, expected, delta=2)
            else:
                self.assertEqual(gained[1], 0)  # it has more than its share
                self.assertEqual(sum(gained), 200)

    def test_fewest_connections(self):
        """Fails if leastconn does not count those that have left."""
        balancer = Balancer("leastconn", 3)
        self.assertEqual(sorted(balancer.place() for _ in range(6)), [0, 0, 1, 1, 2, 2])
        balancer.leave(1)
        self.assertEqual(balancer.place(), 1)

    def test_changes_at_once(self):
        """Fails if a request does not feel that its machine slows down, or that the server restarts."""
        instance = Instance(1.0)
        instance.change_at, instance.later_speed = 10.0, 0.5
        self.assertEqual(instance.changed(9.0, 3.0), (9.0, 1.0 + 4.0))
        self.assertEqual(instance.changed(10.0, 3.0), (10.0, 6.0))
        instance.later_speed, instance.pause = 1.0, 0.5
        self.assertEqual(instance.changed(9.0, 3.0), (9.0, 1.0 + 0.5 + 3.0))  # computed again
        self.assertEqual(instance.changed(10.25, 3.0), (10.5, 3.0))
        self.assertEqual(instance.changed(11.0, 3.0), (11.0, 3.0))

    def test_weights(self):
        """Fails if an agent does not report what its form says of how quick, how free and how idle a server is."""
        def weight(form, took, running, queued):
            instance = Instance(1.0)
            instance.given.extend([(0.0, took)] * 40)
            instance.given.extend([(99.0, 10.0)] * running + [(101.0, took)] * queued)
            return Agent(form, 1.0).weight(instance, 100.0)
        self.assertEqual(weight("rate", 0.5, 4, 50), 100)  # as quick as the quickest
        self.assertEqual(weight("rate", 1.0, 4, 50), 50)
        self.assertEqual(weight("rate", 50.0, 0, 0), 1)
        self.assertEqual(weight("free", 50.0, 4, 0), 100)
        self.assertEqual(weight("free", 1.0, 4, 4), 50)
        self.assertEqual(weight("rate × free", 1.0, 4, 4), 25)
        self.assertEqual(weight("free", 1.0, 4, 50), 1)
        self.assertEqual(weight("idle", 1.0, 3, 0), 25)
        self.assertEqual(weight("rate × idle", 1.0, 2, 0), 25)
        self.assertTrue(80 < weight("free, smoothed", 1.0, 4, 4) < 95)  # the first look of many
        self.assertEqual(Agent(BEST, 1.0).weight(Instance(1.0), 100.0), 100)  # nothing is known yet


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.balancers, cls.forms = scaling.balancers(), scaling.forms()
        cls.restarts, cls.rollouts = scaling.restarts(), scaling.rollouts()

    def p99(self, name, begin=scaling.SETTLED, end=scaling.DEGRADED):
        return self.balancers[name].wait(0.99, begin, end)

    def test_tables_and_picture(self):
        """Fails if doc/scaling.md or doc/fleet.svg is not what scaling.py makes."""
        text = scaling.PAGE.read_text()
        for name, content in scaling.tables(self.balancers, self.forms, self.restarts, self.rollouts).items():
            self.assertEqual(scaling.put(text, name, content), text, name)
        self.assertEqual(scaling.picture(self.balancers, self.forms), scaling.PICTURE.read_text())

    def test_agents_find_slow_machines(self):
        """Fails if slow machines are not full without an agent, or are with one."""
        for name in ("round robin", "leastconn"):
            slow, _, fast = self.balancers[name].busy.values()
            self.assertGreater(slow, 0.97)
            self.assertLess(fast, 0.5)
            slow, normal, fast = self.balancers[f"{name}, agent"].busy.values()
            self.assertLess(slow, 0.75)
            self.assertAlmostEqual(normal, fast, delta=0.1)

    def test_agents_shorten_waits(self):
        """Fails if an agent's weights do not make waits much shorter, at best with leastconn, before and after a fault."""
        self.assertLess(self.p99("leastconn, agent"), self.p99("leastconn") / 3)
        self.assertLess(self.p99("leastconn, agent"), self.p99("round robin, agent"))
        self.assertLess(self.p99("round robin, agent"), self.p99("round robin") / 7)
        after = (scaling.DEGRADED + 20, scaling.SECONDS)
        self.assertLess(self.p99("leastconn, agent", *after), self.p99("leastconn", *after) / 4)
        self.assertGreater(self.p99("round robin", *after), 2 * self.p99("round robin"))  # it grows and grows

    def test_what_oscillates(self):
        """Fails if the share of idle workers does not swing, or the weight that is recommended does, or others wait less."""
        for kind, worse, further in ((0, 1.9, 1.5), (1, 5, 5)):
            runs = {form: pair[kind] for form, pair in self.forms.items()}
            best = runs[BEST]
            self.assertLess(best.wait(0.99), 1.25 * min(run.wait(0.99) for run in runs.values()))
            self.assertLess(best.step(), 5)
            self.assertGreater(runs["idle"].step(), 25)
            self.assertGreater(runs["idle"].wait(0.99), worse * best.wait(0.99))
            self.assertGreater(runs["idle"].swing(), further * best.swing())
            self.assertGreater(runs["free"].step(), 2 * runs["free, smoothed"].step())
            self.assertGreater(runs["free, smoothed"].wait(0.99), 1.3 * best.wait(0.99))

    def test_what_oscillates_does_with_other_seeds(self):
        """Fails if that was chance."""
        for seed in (2, 3):
            best, idle = (simulate("leastconn", form, 20, 60.0, load=scaling.SHORT, seed=seed) for form in (BEST, "idle"))
            self.assertGreater(idle.swing(), 4 * best.swing())
            self.assertGreater(idle.wait(0.99), 4 * best.wait(0.99))

    def test_restarts(self):
        """Fails if a restart that keeps connections is felt much, or if a drain is not, and cuts nobody off."""
        none, kept, drained = (self.restarts[way] for way in ("none", "connections kept", "drained"))
        self.assertLess(kept.wait(0.99), 1.2 * none.wait(0.99))
        self.assertEqual(kept.cut, 0)
        self.assertGreater(drained.wait(0.99), 1.3 * none.wait(0.99))
        self.assertGreater(drained.cut, 100)

    def test_batches_wait_for_the_slowest(self):
        """Fails if batches of many do not take much longer than a rollout that goes on, or a drain not longer than a restart."""
        found = {(machines, at_a_time, extra): takes for machines, at_a_time, extra, _, *takes in self.rollouts}
        batches, always = found[1000, 100, 0.0]
        self.assertGreater(batches, 1.5 * always)
        self.assertTrue(15 < batches / 10 / 0.5 < 25)  # a batch beside a restart
        self.assertAlmostEqual(*found[1000, 1, 0.0])
        self.assertGreater(found[1000, 1, scaling.DRAIN][0], 8 * 3600)


if __name__ == "__main__":
    unittest.main(verbosity=2)
