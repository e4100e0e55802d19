"""The watchdog is fed while the loop turns and the pool gets on, and only then."""

import signal

from harness import RUNTIME_ERROR, ServerTestCase
from strace import Strace
from timing import SLOWDOWN, Stopwatch, let_pass, wait_until


class WatchdogMeansProgress(ServerTestCase):
    def start_watched(self, interval, *options):
        self.interval = interval
        return self.start(*options, env={"WATCHDOG_USEC": str(int(interval * 1e6)), "WATCHDOG_PID": "{pid}"})

    def fed(self, server):
        return [when for when, value in server.notify.named("WATCHDOG") if value == "1"]

    def check_fed(self, server, seconds):
        """It is fed in time for so long."""
        let_pass(seconds)
        now = Stopwatch().start
        times = [when for when in self.fed(server) if when > now - seconds]
        self.assertGreaterEqual(len(times), 1)
        gaps = [after - before for before, after in zip([now - seconds, *times], [*times, now])]
        self.assertLess(max(gaps), self.interval)

    def test_fed_while_overloaded(self):
        """Fails when a full queue is taken for a pool that stands still."""
        server = self.start_watched(0.4 * SLOWDOWN, "--workers=1", "--queue-capacity=4")
        clients = [self.connect(server) for _ in range(4)]
        for client in clients:
            client.send(*["sleep 20"] * 1000)
        server.wait_for_stats(lambda s: s["queue_depth"] == 4, "a full queue")
        self.check_fed(server, 2 * SLOWDOWN)
        self.assertGreaterEqual(server.stats()["queue_depth"], 3)
        for client in clients:
            client.reset()

    def test_fed_while_long_tasks_run(self):
        """Fails when tasks that take their time, and may, are taken for stuck because nothing ends meanwhile."""
        server = self.start_watched(0.4 * SLOWDOWN, "--workers=2", "--queue-capacity=4")
        clients = [self.connect(server) for _ in range(2)]
        for client in clients:
            client.send(*[f"hang {int(2500 * SLOWDOWN)}"] * 4)
        server.wait_for_stats(lambda s: s["queue_depth"] == 4, "a full queue")
        self.check_fed(server, 2 * SLOWDOWN)
        self.assertEqual(server.stats()["completed"], 0)
        for client in clients:
            client.reset()

    def test_fed_again_once_stuck_workers_are_replaced(self):
        """Fails when stuck workers count although others do their work."""
        server = self.start_watched(0.4 * SLOWDOWN, "--workers=2", "--task-timeout=200ms")
        clients = [self.connect(server) for _ in range(2)]
        for client in clients:
            client.send("hang 60000", *["sleep 20"] * 10)
        for client in clients:
            self.assertEqual(client.lines(11)[1:], ["result: slept 20 ms"] * 10)
        self.assertEqual(server.stats()["stuck_workers"], 2)
        self.check_fed(server, 1.2 * SLOWDOWN)
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)

    def test_not_fed_while_no_worker_gets_on(self):
        """Fails when the loop feeds by reflex while tasks wait and every worker is past its time."""
        # For a second after their time-out the workers may still come back; the watchdog is due ten times in it.
        server = self.start_watched(0.2, "--workers=2", "--max-stuck-workers=0", "--task-timeout=1s")
        clients = [self.connect(server) for _ in range(2)]
        for client in clients:
            client.send("hang 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 2, "two busy workers")
        for client in clients:
            client.send("echo waits", "echo waits")
        for client in clients:
            self.assertEqual(client.line(), "ERROR: timed out after 1000 ms")
        overdue = Stopwatch()
        self.assertTrue(self.fed(server))
        server.notify.wait_for("WATCHDOG", "trigger")
        triggered = server.notify.named("WATCHDOG")[-1][0]
        self.assertGreater(triggered - overdue.start, 0.5)
        self.assertEqual([when for when in self.fed(server) if when > overdue.start + 0.2], [])
        self.assertEqual(len(server.log_lines("error .*4 tasks wait .*watchdog is not fed")), 1)
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertEqual(server.notify.named("WATCHDOG")[-1][1], "trigger")

    def test_shed_tasks_are_no_progress(self):
        """Fails when answering those who waited too long is taken for work, though no worker does any."""
        server = self.start_watched(0.2, "--workers=1", "--max-stuck-workers=0", "--task-timeout=1s",
                                    "--queue-timeout=50ms", "--overload=reject", "--queue-capacity=50")
        hanging, waiting = self.connect(server), self.connect(server)
        hanging.send("hang 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        shed = Stopwatch()

        def hanging_answered():
            waiting.send("echo waits", "echo waits")
            return hanging.has_input()
        wait_until(hanging_answered, "the hanging task is answered")
        self.assertEqual(hanging.line(), "ERROR: timed out after 1000 ms")
        overdue = Stopwatch()
        while not any(value == "trigger" for _, value in server.notify.named("WATCHDOG")):
            self.assertLess(shed.seconds, 15 * SLOWDOWN, "the server asks for no restart")
            try:
                waiting.send("echo waits", "echo waits")
            except OSError:  # it ends
                server.notify.wait_for("WATCHDOG", "trigger")
            let_pass(0.005)
        self.assertEqual([when for when in self.fed(server) if when > overdue.start + 0.2], [])
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)

    def test_not_fed_by_workers_while_the_loop_is_frozen(self):
        """Fails when anything but the loop feeds the watchdog: the workers get on while the loop stands still."""
        server = self.start_watched(0.2 * SLOWDOWN, "--workers=2")
        client = self.connect(server)
        client.send(*["sleep 20"] * 200)
        server.wait_for_stats(lambda s: s["queue_depth"] > 100, "a queue")
        frozen = int(10 * self.interval * 1e6)
        with Strace(server.pid, threads=[server.pid], trace=("epoll_wait", "epoll_pwait"),
                    inject=(f"epoll_wait,epoll_pwait:delay_enter={frozen}:when=1",)) as strace:
            wait_until(strace.lines, "the loop is frozen")
            count = len(self.fed(server))
            let_pass(6 * self.interval)
            self.assertLessEqual(len(self.fed(server)), count + 1)
        have = len(self.fed(server))
        wait_until(lambda: len(self.fed(server)) > have, "it is fed again")
        self.assertEqual(client.lines(200), ["result: slept 20 ms"] * 200)

    def test_a_process_that_was_stopped(self):
        """Fails when the watchdog was fed ahead, or beats that were missed are made up for with a volley."""
        server = self.start_watched(0.2 * SLOWDOWN)
        wait_until(lambda: len(self.fed(server)) >= 2, "the watchdog is fed")
        server.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: server.process.state() == "T", "the process is stopped")
            count = len(self.fed(server))
            let_pass(5 * self.interval)
            self.assertLessEqual(len(self.fed(server)), count + 1)  # one may have been on its way
            count = len(self.fed(server))
        finally:
            server.signal(signal.SIGCONT)
        on = Stopwatch()
        wait_until(lambda: len(self.fed(server)) >= count + 3, "it is fed again")
        self.assertGreater(on.seconds, 0.7 * self.interval)  # three beats, half an interval apart
