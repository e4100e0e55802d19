"""Starts that fail one after the other, under a manager that keeps their count and tries again."""

import signal

from manager import FAILED_STARTS as COUNT
from manager import RestartTestCase
from timing import SLOWDOWN, Stopwatch, wait_until

DELAYED = "2 starts failed; the next one is in 2 s, or at once by a restart"
FAILS = "--handler=/nonexistent/handler.so"


class FailedStarts(RestartTestCase):
    def fail_once(self):
        server = self.launch_next(FAILS, handler=None)
        self.assertEqual(server.wait_exit(), 1)
        wait_until(lambda: COUNT in self.store.names(), "the count is kept")

    def fail(self, times):
        for _ in range(times):
            self.fail_once()

    def delayed(self):
        """A start after two failed ones, that waits now."""
        self.fail(2)
        server = self.launch_next()
        server.notify.wait_for("STATUS", DELAYED)
        return server

    def test_a_start_that_succeeds_leaves_nothing(self):
        """Fails when a count is left, and the start after a crash is held up."""
        self.start_next()
        wait_until(lambda: COUNT not in self.store.names(), "the count is removed")
        self.end()
        self.fail(1)
        self.start_next()
        wait_until(lambda: COUNT not in self.store.names(), "the count is removed")
        self.end()
        self.fail(2)  # none of which waits

    def test_the_third_start_waits(self):
        """Fails when starts that fail are tried again without a pause, or the pause is not told."""
        self.fail(2)
        time = Stopwatch()
        server = self.launch_next()
        server.wait_ready()
        self.assertGreaterEqual(time.seconds, 2)
        server.wait_for_log(r"warning .*2 starts failed; the next one is in 2 s")
        wait_until(lambda: COUNT not in self.store.names(), "the count is removed")

    def test_what_was_stored_outlives_them(self):
        """Fails when connections of the last process are lost in a start that waits."""
        self.start_next()
        client = self.meet()
        self.assertTrue(client.ask("echo good data").startswith("result: "))
        self.end()
        client.send("echo more")
        for _ in range(2):
            self.assertEqual(self.launch_next(FAILS, handler=None).wait_exit(), 1)
        self.start_next()
        self.assertTrue(client.line().startswith("result: "))

    def test_a_configuration_that_cannot_be_read(self):
        """Fails when a start that fails before there are options is tried again without a pause."""
        missing = f"--config={self.temporary_directory()}/missing"
        for _ in range(2):
            self.assertEqual(self.launch_next(missing).wait_exit(), 1)
        server = self.launch_next(missing)
        server.notify.wait_for("STATUS", DELAYED)
        server.signal()
        self.assertEqual(server.wait_exit(), 0)

    def test_a_stop_meanwhile(self):
        """Fails when a start that waits cannot be stopped, or the next one waits still."""
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.delayed()
            server.signal(number)
            time = Stopwatch()
            self.assertEqual(server.wait_exit(), 0)
            self.assertLess(time.seconds, 1 * SLOWDOWN)
            time = Stopwatch()
            self.start_next()
            self.assertLess(time.seconds, 1.5 * SLOWDOWN)
            self.end()

    def test_a_stop_meanwhile_with_replies_owed(self):
        """Fails when what the last process left for its clients is lost, though this start could have delivered it."""
        self.start_next("--max-unsent=32MiB", "--drain-timeout=20s")
        client = self.meet(receive_buffer=4096)
        client.send_aside(b"".join(b"echo %d %s\n" % (i, b"x" * 3000) for i in range(4000)))
        self.server.wait_for_stats(lambda stats: stats["completed"] == 4000, "all are computed")
        self.end()
        self.fail(2)
        server = self.launch_next("--drain-timeout=20s")
        server.notify.wait_for("STATUS", DELAYED)
        server.signal()
        self.assertEqual(len(client.lines(4000)), 4000)
        self.assertEqual(server.wait_exit(), 0)

    def test_other_signals_meanwhile(self):
        """Fails when a start that waits ends by a signal that is none to end by."""
        server = self.delayed()
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            server.signal(number)
        server.wait_ready()

    def test_a_configuration_that_is_mended_meanwhile(self):
        """Fails when a start that has waited goes on with what was configured before."""
        config = f"{self.temporary_directory()}/config"
        with open(config, "w") as file:
            file.write("handler=/nonexistent/handler.so\n")
        for _ in range(2):
            self.assertEqual(self.launch_next(f"--config={config}", handler=None).wait_exit(), 1)
        server = self.launch_next(f"--config={config}", handler=None)
        server.notify.wait_for("STATUS", DELAYED)
        with open(config, "w") as file:
            file.write("handler=digest\n")
        server.wait_ready()

    def test_a_configuration_that_is_broken_meanwhile(self):
        """Fails when what no further try can mend is not told by the exit status."""
        config = f"{self.temporary_directory()}/config"
        with open(config, "w") as file:
            file.write("workers=1\n")
        self.fail(2)
        server = self.launch_next(f"--config={config}")
        server.notify.wait_for("STATUS", DELAYED)
        with open(config, "w") as file:
            file.write("workers=many\n")
        self.assertEqual(server.wait_exit(), 2)

    def test_a_count_that_is_none(self):
        """Fails when what is stored under its name and is no count keeps the server from starting."""
        self.store.add(COUNT, self.sockets["unix"].dup().detach())
        self.start_next()
        wait_until(lambda: not self.store.names(), "it is removed")
