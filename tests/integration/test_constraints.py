"""The rows C3 and C4 of the specification: descriptors are closed, and workers stay away from sockets."""

from harness import ServerTestCase, sanitizer
from strace import Strace
from timing import wait_until

OWN_SOCKETS = 2  # one listener, and the one that the service manager is told by


class C3NothingLeftOpen(ServerTestCase):
    def baseline(self, server, clients):
        """The descriptors when there are one listener and so many clients."""
        wait_until(lambda: len(server.process.sockets()) == OWN_SOCKETS + clients, f"{clients} clients are left")
        return server.process.kinds()

    def check_baseline(self, server, baseline):
        wait_until(lambda: server.process.kinds() == baseline, "the descriptors are back at their baseline")

    def test_a_thousand_clients_half_of_them_reset_mid_task(self):
        """Fails when a close path leaks a descriptor: the end of stream, or a reset while a task runs or waits."""
        server = self.start("--workers=4")
        server.stats()
        baseline = self.baseline(server, clients=1)
        for _ in range(10):
            clients = [self.connect(server) for _ in range(100)]
            for client in clients:
                client.send("sleep 2", "echo done")
            for client in clients[::2]:
                client.reset()
            for client in clients[1::2]:
                self.assertEqual(client.lines(2), ["result: slept 2 ms", "result: done"])
                client.close()
        self.check_baseline(server, baseline)
        stats = server.stats()
        self.assertEqual((stats["connections"], stats["accepted"]), (1, 1001))

    def test_other_ways_to_end(self):
        """Fails when a descriptor is leaked by a refused, timed out, half-closed or half-read client."""
        server = self.start("--workers=2", "--max-connections=4", "--idle-timeout=300ms", "--max-line=100")
        first = self.connect(server)
        self.assertEqual(first.ask("echo served once"), "result: served once")
        first.close()
        baseline = self.baseline(server, clients=0)
        for _ in range(10):
            group = [self.connect(server) for _ in range(4)]
            for client in group:
                self.assertEqual(client.ask("echo in"), "result: in")
            self.assertEqual(self.connect(server).rest(), ["ERROR: too many connections"])
            group[0].send_bytes(b"echo half a li")
            group[0].reset()
            group[1].send_bytes(b"z" * 500)
            group[1].close()
            group[2].send_bytes(b"echo last")
            group[2].finish()
            self.assertEqual(group[2].rest(), ["result: last"])
            self.assertEqual(group[3].rest(), ["ERROR: idle for too long"])
            self.baseline(server, clients=0)
        self.check_baseline(server, baseline)


class C4WorkersLeaveSocketsAlone(ServerTestCase):
    def test_system_calls_by_thread(self):
        """Fails when a worker calls send or recv, or reads or writes anything but the eventfd."""
        server = self.start("--workers=3")
        clients = [self.connect(server) for _ in range(8)]
        with Strace(server.pid, trace=("%network", "read", "readv", "write", "writev", "close")) as strace:
            for number, client in enumerate(clients):
                client.send(*["sleep 5", f"echo {number}", "fail", "throw"] * 5)
            for client in clients:
                client.lines(20)
            clients[0].reset()
            wait_until(lambda: len(server.process.sockets()) == OWN_SOCKETS + len(clients) - 1, "the reset is noticed")
            workers = server.process.workers()
        calls = strace.all_calls()
        by_workers = [line for tid, _, line in calls if tid in workers]
        self.assertTrue(by_workers, "no worker was traced")
        allowed = ["anon_inode:[eventfd]", " resumed>"] + (["<pipe:["] if sanitizer() else [])  # its runtime's
        self.assertEqual([line for line in by_workers if not any(text in line for text in allowed)], [])
        by_main = {name for tid, name, _ in calls if tid == server.pid}
        self.assertTrue(by_main & {"recvfrom", "recvmsg", "read", "readv"})
        self.assertTrue(by_main & {"sendto", "sendmsg", "write", "writev"})
