"""Hard cases that the kernel makes: no descriptors, no threads, interrupted calls, a full eventfd, 9,000 clients."""

import ctypes
import os
import signal
import struct
import threading
import unittest

from harness import RUNTIME_ERROR, ServerTestCase, sanitizer
from strace import TRACED, Strace, require_strace
from timing import SLOWDOWN, Stopwatch, let_pass, wait_until


class OutOfDescriptors(ServerTestCase):
    COMPLAINT = "(?i) (warning|error) .*(descriptor|open files)"

    @unittest.skipIf(sanitizer() in ("address", "undefined"), "the sanitizer's runtime needs descriptors itself")
    def test_accept_pauses_and_resumes(self):
        """Fails when accept spins on EMFILE, floods the log, forgets the clients that wait, or ends the server."""
        server = self.start("--workers=2", "--max-connections=1000", limits={"NOFILE": 40})
        server.stats()
        said_at_start = len(server.log_lines(self.COMPLAINT))
        clients = [self.connect(server) for _ in range(80)]
        for number, client in enumerate(clients):
            client.send(f"echo {number}")
        wait_until(lambda: len(server.log_lines(self.COMPLAINT)) > said_at_start, "the log tells the shortage")
        cpu = server.process.cpu_seconds()
        let_pass(1.5)
        self.assertLess(server.process.cpu_seconds() - cpu, 0.3 * SLOWDOWN)
        self.assertEqual(len(server.log_lines(self.COMPLAINT)), said_at_start + 1)
        served = Stopwatch()
        server.stats()
        self.assert_quick(served.seconds, 0.5)
        for number, client in enumerate(clients):
            self.assertEqual(client.line(), f"result: {number}")
            client.close()
        server.wait_for_stats(lambda s: s["connections"] == 1, "all clients served and gone")
        self.assertEqual(self.connect(server).ask("echo as before"), "result: as before")


class ManyIdleConnections(ServerTestCase):
    COUNT = 9000
    BATCH = 100

    def setUp(self):
        super().setUp()
        self.need_descriptors(self.COUNT + self.BATCH + 500)

    def test_memory_per_connection(self):
        """Fails when an idle connection keeps its buffers, so that 9,000 of them cost 4 KiB each or more."""
        server = self.start(f"--max-connections={self.COUNT + self.BATCH + 10}")
        server.stats()
        clients = []
        self.open_batch(server, clients)
        before = server.process.resident_bytes()
        while len(clients) < self.COUNT + self.BATCH:
            self.open_batch(server, clients)
        each = (server.process.resident_bytes() - before) / self.COUNT
        print(f"memory of each idle connection: {each:.0f} bytes")
        self.assertEqual(server.stats()["connections"], self.COUNT + self.BATCH + 1)
        if not sanitizer():
            self.assertLess(each, 4096)
        for client in clients[::500]:
            self.assertEqual(client.ask("echo awake"), "result: awake")

    def open_batch(self, server, clients):
        """Opens clients that each send one request as long as two pages."""
        batch = [self.connect(server) for _ in range(self.BATCH)]
        for client in batch:
            client.send("echo " + "m" * 8192)
        for client in batch:
            self.assertEqual(len(client.line()), 8192 + len("result: "))
        clients += batch


class NoMoreThreads(ServerTestCase):
    def launch_with(self, threads, *options):
        """Launches a server that can create only so many threads."""
        require_strace()
        first_failing = threads + 1 + (1 if sanitizer() == "thread" else 0)  # whose runtime needs one
        prefix = ["strace", "-D", "-f", "-o", os.devnull, "-e", "trace=?clone,?clone3",
                  "-e", f"inject=?clone,?clone3:error=EAGAIN:when={first_failing}+"]
        return self.launch(*options, prefix=prefix, env=TRACED)

    def test_start_with_fewer_workers(self):
        """Fails when a thread that cannot be created ends the server, or is counted as a worker."""
        server = self.launch_with(2, "--workers=4")
        server.wait_ready()
        self.assertEqual(server.stats()["workers"], 2)
        server.wait_for_workers(2)
        client = self.connect(server)
        client.send(*["sleep 10", "echo x"] * 20)
        self.assertEqual(client.lines(40), ["result: slept 10 ms", "result: x"] * 20)
        self.assertTrue(server.log_lines("(warning|error) .*(thread|worker)"))
        self.assertEqual(server.stop(), 0)

    def test_start_without_any_worker(self):
        """Fails when a server that cannot compute anything starts, crashes, or ends without a word."""
        server = self.launch_with(0, "--workers=4")
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertRegex(server.log(), "(thread|worker)")
        self.assertEqual(server.notify.named("READY"), [])

    def test_growth_that_fails(self):
        """Fails when the pool loses workers or tasks, spins or floods the log because a thread cannot be created."""
        server = self.start("--workers=2-8")
        clients = [self.connect(server) for _ in range(8)]
        with Strace(server.pid, inject=("clone,clone3:error=EAGAIN:when=2+",)):
            for client in clients:
                client.send(*["sleep 50"] * 15)
            server.wait_for_workers(3, "the one worker that can be added")
            for client in clients:
                self.assertEqual(client.lines(15), ["result: slept 50 ms"] * 15)
            self.assertEqual(server.stats()["workers"], 3)
        self.assertIn(len(server.log_lines("(warning|error) .*(thread|worker)")), range(1, 6))
        self.assertEqual(clients[0].ask("echo fine"), "result: fine")


class InterruptedCalls(ServerTestCase):
    READS = "read,readv,recvfrom,recvmsg"
    WRITES = "write,writev,sendto,sendmsg"
    WAITS = "epoll_wait,epoll_pwait,epoll_pwait2"

    def exchange(self, server):
        """New clients and old ones, short tasks and long ones, an end of stream each."""
        for _ in range(3):
            clients = [self.connect(server) for _ in range(8)]
            for number, client in enumerate(clients):
                client.send(*(line for index in range(10) for line in ("sleep 2", f"echo {number} {index}", "fail")))
                client.finish()
            for number, client in enumerate(clients):
                expected = [reply for index in range(10) for reply in
                            ("result: slept 2 ms", f"result: {number} {index}", "ERROR: task failed")]
                self.assertEqual(client.rest(), expected)

    def check(self, *rules):
        server = self.start("--workers=3", "--task-timeout=20s")
        with Strace(server.pid, inject=rules) as strace:
            self.exchange(server)
        self.assertTrue(any("(INJECTED)" in line for _, _, line in strace.all_calls()), "no call was made to fail")
        self.exchange(server)

    def test_eintr(self):
        """Fails when an interrupted call is taken for the end of something, or a wake-up is lost with it."""
        self.check(f"{self.WAITS}:error=EINTR:when=1+3", f"{self.READS}:error=EINTR:when=2+5",
                   f"{self.WRITES}:error=EINTR:when=2+5", "accept,accept4:error=EINTR:when=1+2")

    def test_eagain(self):
        """Fails when a call that would block is taken for an error, or is not tried again."""
        self.check(f"{self.READS}:error=EAGAIN:when=2+3", "sendto,sendmsg,writev:error=EAGAIN:when=1+3",
                   "accept,accept4:error=EAGAIN:when=1+2")

    def test_connection_gone_before_accept(self):
        """Fails when a client that is gone before accept ends the listener or the server."""
        self.check("accept,accept4:error=ECONNABORTED:when=1+2")

    def test_out_of_kernel_memory_on_accept(self):
        """Fails when a lack of memory or of descriptors in the whole system ends the listener for good."""
        for error in ("ENOBUFS", "ENOMEM", "ENFILE"):
            with self.subTest(error=error):
                self.check(f"accept,accept4:error={error}:when=1")

    def test_stop_and_continue(self):
        """Fails when waits broken off by SIGSTOP and SIGCONT lose something."""
        server = self.start("--workers=3")
        over = threading.Event()

        def interrupt():
            while not over.wait(0.002):
                server.signal(signal.SIGSTOP)
                server.signal(signal.SIGCONT)
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            self.exchange(server)
        finally:
            over.set()
            thread.join()


class EventfdAtItsMaximum(ServerTestCase):
    PIDFD_GETFD = 438  # the number of the system call on every architecture
    FULL = struct.pack("=Q", 2**64 - 2)

    def copy_descriptor(self, pid, fd):
        """The same open file as the server's, so that the test can fill its eventfd."""
        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = os.pidfd_open(pid)
        copy = libc.syscall(self.PIDFD_GETFD, pidfd, fd, 0)
        os.close(pidfd)
        if copy < 0:
            raise unittest.SkipTest(f"pidfd_getfd is not permitted here: {os.strerror(ctypes.get_errno())}")
        self.addCleanup(os.close, copy)
        return copy

    def test_results_arrive_though_the_eventfd_is_full(self):
        """Fails when EAGAIN from a full eventfd ends a worker or the server, or the results are not picked up."""
        server = self.start("--workers=3")
        client = self.connect(server)
        copies = []
        for fd in server.process.descriptor_of("anon_inode:[eventfd]"):
            self.assertTrue(server.process.flags(fd) & os.O_NONBLOCK, "a full eventfd would block a worker")
            copies.append(self.copy_descriptor(server.pid, fd))
        over = threading.Event()

        def fill():
            while not over.wait(0.0005):
                for copy in copies:
                    try:
                        os.write(copy, self.FULL)
                    except BlockingIOError:
                        pass  # it is full
        thread = threading.Thread(target=fill)
        thread.start()
        try:
            # The loop waits a little before each wait, so that workers find the eventfd full.
            slow_loop = ("epoll_wait,epoll_pwait,epoll_pwait2:delay_enter=15000",)
            with Strace(server.pid, trace=("write",), inject=slow_loop) as strace:
                for index in range(40):
                    client.send(f"echo {index}", "sleep 3", "throw")
                    self.assertEqual(client.lines(3),
                                     [f"result: {index}", "result: slept 3 ms", "ERROR: internal error"])
        finally:
            over.set()
            thread.join()
        self.assertTrue(any("eventfd" in line and "EAGAIN" in line for _, _, line in strace.all_calls()),
                        "no worker met the full eventfd")
        server.wait_for_workers(3)
