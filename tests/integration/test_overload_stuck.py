"""Tasks that do not end: answered in time, their workers given up and replaced, and never in the way of a stop."""

import os
import re

from harness import RUNTIME_ERROR, ServerTestCase
from strace import Strace
from timing import Stopwatch

TIMED_OUT = "ERROR: timed out after 200 ms"


class StuckWorkers(ServerTestCase):
    def start_patient(self, *options):
        return self.start("--task-timeout=200ms", *options)

    def hang(self, server, count, ms=60000):
        """Clients that each had a hanging task answered, one after the other."""
        clients = []
        for _ in range(count):
            clients.append(self.connect(server))
            self.assertEqual(clients[-1].ask(f"hang {ms}"), TIMED_OUT)
        return clients

    def workers_at_once(self, server, count):
        """Whether so many tasks run at the same time."""
        clients = [self.connect(server) for _ in range(count)]
        for client in clients:
            client.send("sleep 150")
        server.wait_for_stats(lambda s: s["active_workers"] == count, f"{count} tasks at once")
        for client in clients:
            self.assertEqual(client.line(), "result: slept 150 ms")
            client.close()

    def give_up(self, server):
        """Ends a server that cannot end in good order."""
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)

    def test_tasks_that_stop_when_told_are_not_stuck(self):
        """Fails when a worker is given up although its task heeds its stop token."""
        server = self.start_patient("--workers=2")
        clients = [self.connect(server) for _ in range(4)]
        for client in clients:
            client.send("sleep 30000", "spin 30000", "echo x")
        for client in clients:
            self.assertEqual(client.lines(3), [TIMED_OUT, TIMED_OUT, "result: x"])
        stats = server.stats()
        self.assertEqual((stats["timeouts"], stats["quarantined"], stats["stuck_workers"]), (8, 0, 0))
        server.wait_for_workers(2)

    def test_answered_at_the_timeout(self):
        """Fails when a task that ignores its stop token is answered only when it ends, or when it is given up."""
        server = self.start_patient("--workers=1")
        answer = Stopwatch()
        self.hang(server, 1, ms=1500)
        self.assertGreaterEqual(answer.seconds, 0.199)
        self.assert_quick(answer.seconds, 0.35)
        server.wait_for_stats(lambda s: s["stuck_workers"] == 1, "it is given up")
        self.assertGreaterEqual(answer.seconds, 0.399)  # it had as long again to notice its stop token
        server.wait_for_stats(lambda s: s["stuck_workers"] == 0, "that it came back")

    def test_replaced_and_counted(self):
        """Fails when a stuck worker is not replaced, hides in the counts, or the log does not name its task."""
        server = self.start_patient("--workers=2")
        self.assertEqual(self.connect(server).ask("echo task 1"), "result: task 1")
        self.hang(server, 1)
        stats = server.wait_for_stats(lambda s: s["stuck_workers"] == 1, "a stuck worker")
        self.assertEqual((stats["quarantined"], stats["workers"], stats["active_workers"]), (1, 2, 0))
        server.wait_for_workers(3)
        self.assertEqual(len(server.log_lines(r"error .*worker-[01] .*task 2\b")), 1)
        self.workers_at_once(server, 2)
        self.give_up(server)

    def test_late_return_retires(self):
        """Fails when a worker that comes back late stays beside its replacement, or its late result is answered."""
        server = self.start_patient("--workers=2")
        client, = self.hang(server, 1, ms=1500)
        server.wait_for_stats(lambda s: s["stuck_workers"] == 1, "a stuck worker")
        stats = server.wait_for_stats(lambda s: s["stuck_workers"] == 0, "that it came back")
        self.assertEqual((stats["quarantined"], stats["workers"], stats["dropped"]), (1, 2, 1))
        self.assertEqual((stats["completed"], stats["timeouts"]), (1, 1))
        server.wait_for_workers(2, "two threads")
        self.workers_at_once(server, 2)
        self.assertEqual(client.ask("echo mine"), "result: mine")
        self.assertEqual(server.stop(), 0)

    def test_as_many_as_workers_by_default(self):
        """Fails when the default of --max-stuck-workers does not outlive one stuck task of each worker."""
        server = self.start_patient("--workers=2")
        self.hang(server, 2)
        server.wait_for_stats(lambda s: s["stuck_workers"] == 2, "two stuck workers")
        self.workers_at_once(server, 2)
        self.hang(server, 2)  # these are not replaced any more
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertEqual(server.logged("does not come back", "worker-stuck"), 2)

    def test_max_stuck_workers(self):
        """Fails when more workers are replaced than --max-stuck-workers says, or none again after one came back."""
        server = self.start_patient("--workers=2", "--max-stuck-workers=1")
        self.hang(server, 2, ms=2500)
        server.wait_for_stats(lambda s: s["stuck_workers"] == 1, "a stuck worker")
        self.workers_at_once(server, 1)
        server.wait_for_workers(3)
        self.assertEqual(server.stats()["quarantined"], 1)
        server.wait_for_workers(2, "they came back")
        self.hang(server, 1, ms=2500)
        server.wait_for_stats(lambda s: s["stuck_workers"] == 1, "another stuck worker")
        self.workers_at_once(server, 2)
        server.wait_for_stats(lambda s: s["stuck_workers"] == 0, "that it came back")

    def test_waiting_tasks_go_on_with_the_replacement(self):
        """Fails when tasks that wait behind a stuck one are lost with its worker, or wait for it."""
        server = self.start_patient("--workers=1")
        client = self.connect(server)
        client.send("echo before", "hang 60000", *(f"echo {index}" for index in range(50)))
        behind = Stopwatch()
        self.assertEqual(client.lines(52), ["result: before", TIMED_OUT, *(f"result: {i}" for i in range(50))])
        self.assert_quick(behind.seconds, 1)
        self.give_up(server)

    def test_client_gone_while_its_task_hangs(self):
        """Fails when a stuck task is forgotten because nobody waits for it: its worker is lost for good."""
        server = self.start_patient("--workers=1")
        leaving = self.connect(server)
        leaving.send("hang 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        leaving.reset()
        server.wait_for_stats(lambda s: s["stuck_workers"] == 1, "a stuck worker")
        self.workers_at_once(server, 1)
        self.give_up(server)


class StuckPool(ServerTestCase):
    def test_asks_for_a_restart(self):
        """Fails when a server that cannot do anything any more stays, ends in silence, or asks for no restart."""
        server = self.start("--workers=2", "--max-stuck-workers=0", "--task-timeout=200ms")
        clients = [self.connect(server) for _ in range(2)]
        for client in clients:
            client.send("hang 60000")
        for client in clients:
            self.assertEqual(client.line(), TIMED_OUT)
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertEqual([value for _, value in server.notify.named("WATCHDOG")], ["trigger"])
        self.assertEqual(len(server.log_lines("error .*no worker can make progress any more")), 1)
        line, = server.log_lines("gave up task")
        named = set(re.findall(r"task (\d+) on (worker-\d+)", line))
        self.assertEqual({task for task, _ in named}, {"1", "2"})
        self.assertEqual({worker for _, worker in named}, {"worker-0", "worker-1"})

    def test_ends_where_there_is_no_manager(self):
        """Fails when a server that cannot do anything any more lives on in silence because no manager listens."""
        server = self.start("--workers=2", "--max-stuck-workers=0", "--task-timeout=200ms", notify=False)
        clients = [self.connect(server) for _ in range(2)]
        for client in clients:
            client.send("hang 60000")
        for client in clients:
            self.assertEqual(client.line(), TIMED_OUT)
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertEqual(len(server.log_lines("error .*no worker can make progress any more")), 1)
        self.assertEqual(len(server.log_lines(r"gave up task \d on worker-\d, task \d on worker-\d")), 1)

    def test_not_while_one_worker_is_left(self):
        """Fails when the server gives up although a worker still gets on."""
        server = self.start("--workers=2", "--max-stuck-workers=0", "--task-timeout=200ms")
        self.assertEqual(self.connect(server).ask("hang 60000"), TIMED_OUT)
        client = self.connect(server)
        for _ in range(20):
            client.send("sleep 30", "echo x")
            self.assertEqual(client.lines(2), ["result: slept 30 ms", "result: x"])
        self.assertEqual(server.log_lines("no worker"), [])
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)


class Failures(ServerTestCase):
    """The loop cannot go on."""

    def fail_loop(self, server):
        # Not at once: strace wants to see what it traces.
        inject = ("epoll_wait,epoll_pwait:error=EINVAL:when=20+",)
        with Strace(server.pid, threads=(server.pid,), inject=inject):
            try:
                client = self.connect(server)
                for _ in range(100):
                    client.ask("")  # needs no worker
            except (OSError, AssertionError):
                pass
            status = server.wait_exit()
        server.kill()  # it is gone, as was asked
        return status

    def test_workers_in_tasks_that_do_not_end(self):
        """Fails when a server whose loop has failed waits for its workers, or does not say why it ends."""
        server = self.start("--workers=2")
        client = self.connect(server)
        client.send("hang 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        self.assertEqual(self.fail_loop(server), RUNTIME_ERROR)
        self.assertEqual(len(server.log_lines("error .*cannot go on: .*epoll_wait")), 1, server.log())
        self.assertEqual(len(server.log_lines(r"gave up task 1 on worker-[01]")), 1)

    def test_idle_workers(self):
        """Fails when a server whose loop has failed leaves its socket behind, though nothing keeps it."""
        path = f"{self.temporary_directory()}/socket"
        server = self.start("--workers=2", listen=(path,))
        self.assertEqual(self.fail_loop(server), RUNTIME_ERROR)
        self.assertEqual(len(server.log_lines("error .*cannot go on: .*epoll_wait")), 1, server.log())
        self.assertFalse(os.path.exists(path))


class StopsWithStuckWorkers(ServerTestCase):
    GAVE_UP = r"warning .*gave up task 1 on worker-[01]"

    def check_stop(self, server, bound):
        stop = Stopwatch()
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        took = stop.seconds
        self.assert_quick(took, bound)
        self.assertEqual(len(server.log_lines(self.GAVE_UP)), 1)
        return took

    def test_given_up_task_does_not_use_up_the_drain_timeout(self):
        """Fails when a stop waits for a stuck worker whose client was answered, or ends as if all were well."""
        for stuck in (False, True):
            with self.subTest(given_up=stuck):
                server = self.start("--workers=2", "--task-timeout=300ms", "--drain-timeout=20s")
                client = self.connect(server)
                self.assertEqual(client.ask("hang 60000"), "ERROR: timed out after 300 ms")
                if stuck:
                    server.wait_for_stats(lambda s: s["stuck_workers"] == 1, "a stuck worker")
                client.send("sleep 100", "echo last")
                self.assertEqual(client.lines(2), ["result: slept 100 ms", "result: last"])
                self.check_stop(server, 3)
                self.assertEqual(client.rest(), [])

    def test_not_past_the_drain_timeout(self):
        """Fails when a task that ignores everything hangs the exit past --drain-timeout."""
        server = self.start("--workers=2", "--drain-timeout=700ms")
        client = self.connect(server)
        client.send("hang 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        self.assertGreaterEqual(self.check_stop(server, 1.7), 0.69)

    def test_work_that_was_accepted_is_done_all_the_same(self):
        """Fails when a stuck worker makes a stop drop what other workers can still do."""
        server = self.start("--workers=2", "--task-timeout=500ms", "--drain-timeout=20s")
        stuck, client = self.connect(server), self.connect(server)
        self.assertEqual(stuck.ask("hang 60000"), "ERROR: timed out after 500 ms")
        client.send(*["sleep 100"] * 12)
        server.wait_for_stats(lambda s: s["queue_depth"] > 0, "a queue")
        server.signal()
        self.assertEqual(client.rest(), ["result: slept 100 ms"] * 12)
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)

    def test_task_that_comes_back_just_in_time(self):
        """Fails when a stop gives up at once a task that is about to end."""
        server = self.start("--workers=1", "--task-timeout=100ms", "--drain-timeout=20s")
        self.assertEqual(self.connect(server).ask("hang 500"), "ERROR: timed out after 100 ms")
        self.assertEqual(server.stop(), 0)
