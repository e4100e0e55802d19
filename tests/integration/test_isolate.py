"""Handlers in processes of their own (--isolate): what they do that they should not costs one request."""

import contextlib
import os
import shutil
import signal
import threading
from pathlib import Path

from client import Client
from harness import RUNTIME_ERROR, USAGE_ERROR, ServerTestCase, plugin, run_to_end, sanitizer
from manager import RestartTestCase
from procfs import Process
from test_logging import JournalTestCase
from test_program import RecyclingMixin, children, is_alive, state
from timing import SLOWDOWN, Stopwatch, wait_until


class IsolateMixin:
    def start_isolated(self, *options, handler="unruly", **settings):
        return self.start(f"--handler={plugin(handler)}", *options, handler=None, **settings)

    def nursery(self, server):
        found, = children(server.pid)
        return found

    def keeper(self, server):
        return wait_until(lambda: next(iter(children(self.nursery(server))), None), "the handler is loaded")

    def processes(self, server):
        return {pid for keeper in children(self.nursery(server)) for pid in children(keeper)}

    def wait_for_processes(self, server, count):
        def check():
            found = self.processes(server)
            return found if len(found) == count else None
        return wait_until(check, f"{count} processes run")

    def wait_gone(self, pids):
        wait_until(lambda: all(state(pid) in (None, "Z") for pid in pids), f"{pids} have ended")


class IsolateTestCase(IsolateMixin, ServerTestCase):
    pass


class Requests(IsolateTestCase):
    def test_built_in(self):
        """Fails when a built-in handler does not work in processes, or large requests and replies do not pass."""
        server = self.start("--isolate=yes", "--max-line=4MiB", "--max-unsent=64MiB")
        client = self.connect(server)
        for length in (1, 2047, 2049, 32_759, 32_760, 65_537, (1 << 22) - 5):
            self.assertEqual(client.ask("echo " + "x" * length), "result: " + "x" * length)
        client.send("fail", "throw", "nonsense", "echo a\x01b")
        self.assertEqual(client.lines(4), ["ERROR: task failed", "ERROR: internal error", "ERROR: invalid input",
                                           "result: a?b"])
        server.wait_for_log(r"warning \[worker-\d\] task \d+ of connection 1: the handler failed: thrown as asked")

    def test_order_and_kind(self):
        """Fails when requests that are on their way together get each other's reply."""
        server = self.start_isolated("--workers=3")
        clients = [self.connect(server) for _ in range(6)]
        for number, client in enumerate(clients):
            client.send(*[f"{verb} {number}.{i}" for i in range(1000) for verb in ("echo", "error")])
        for number, client in enumerate(clients):
            self.assertEqual(client.lines(2000), [f"{kind}: {number}.{i}" for i in range(1000)
                                                  for kind in ("result", "ERROR")])

    def test_long_task_holds_nobody_up(self):
        """Fails when what was sent ahead to a process waits for the long task that it is at."""
        server = self.start_isolated("--workers=2")
        warm = self.connect(server)
        warm.send(*["echo x"] * 3000)  # they are known to be short
        warm.lines(3000)
        clients = [self.connect(server) for _ in range(20)]
        for client in clients:
            client.send(*["echo x"] * 5)
        slow = self.connect(server)
        slow.send("hang 1500")
        for client in clients:
            client.send(*["echo y"] * 5)
        answer = Stopwatch()
        for client in clients:
            self.assertEqual(client.lines(10), ["result: x"] * 5 + ["result: y"] * 5)
        self.assert_quick(answer.seconds, 0.7)
        self.assertEqual(slow.line(), "result: hung")

    def test_one_worker(self):
        """Fails when what is read back from a process is lost, or comes out of order."""
        server = self.start_isolated("--workers=1")
        client, other = self.connect(server), self.connect(server)
        requests = [verb for i in range(30) for verb in (*[f"echo {i}.{j}" for j in range(40)], "hang 5")]
        client.send(*requests)
        other.send(*requests)
        wanted = [line for i in range(30) for line in (*[f"result: {i}.{j}" for j in range(40)], "result: hung")]
        self.assertEqual(client.lines(len(wanted)), wanted)
        self.assertEqual(other.lines(len(wanted)), wanted)

    def test_what_it_has(self):
        """Fails when a process has more open than it needs, or outlives a stop."""
        server = self.start_isolated("--workers=2")
        client = self.connect(server)
        self.assertEqual(client.ask("say some\x1bwords"), "result: said")
        server.wait_for_log(r"info \[worker-\d\] unruly.so\[\d+\]: some\?words$")
        processes = self.wait_for_processes(server, 2)
        for pid in processes:
            # One that has just been forked still has what is its parent's.
            kinds = wait_until(lambda: len(found := Process(pid).descriptors()) == 4 and found, "four are open")
            self.assertEqual(sum(kind.startswith("socket:") for kind in kinds.values()), 1)
            self.assertEqual([kinds[fd] for fd in (0, 1)], ["/dev/null"] * 2)
        every = processes | {self.keeper(server), self.nursery(server)}
        before = len(server.process.descriptors())
        client.send(*["abort", "echo x"] * 10)
        client.lines(20)
        wait_until(lambda: len(server.process.descriptors()) == before, "descriptors are as before")
        every |= self.wait_for_processes(server, 2)
        self.assertEqual(server.stop(), 0)
        self.assertFalse([pid for pid in every if is_alive(pid)])

    def test_requests_are_wiped(self):
        """Fails when a request stays in the memory of the process that worked on it."""
        if sanitizer():
            self.skipTest("a sanitizer keeps what was freed")
        server = self.start("--isolate=yes", "--workers=1", handler="password")
        secret = "correct-horse-battery-staple"
        self.assertTrue(self.connect(server).ask(f"hash {secret}").startswith("result: $"))
        pid, = self.wait_for_processes(server, 1)
        for process in (pid, server.pid):
            wait_until(lambda: secret.encode() not in self.memory(process), "it is wiped, soon after the reply was sent")

    def memory(self, pid):
        found = b""
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if " rw-p " not in line:
                    continue
                begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                memory.seek(begin)
                with contextlib.suppress(OSError):
                    found += memory.read(end - begin)
        return found


class Refused(ServerTestCase):
    def check(self, status, *options, told):
        ended = run_to_end("--listen=127.0.0.1:0", *options)
        self.assertEqual(ended.returncode, status, ended.stderr)
        lines = [line for line in ended.stderr.splitlines() if " info " not in line]
        self.assertEqual(len(lines), 1, ended.stderr)
        self.assertRegex(lines[0], told)

    def test_starts(self):
        """Fails when a handler that cannot do its work in processes is found out by a client."""
        self.check(USAGE_ERROR, "--program=cat", "--isolate=yes", told="program and isolate")
        self.check(USAGE_ERROR, "--isolate=perhaps", told="--isolate")
        self.check(RUNTIME_ERROR, f"--handler={plugin('no_handler')}", told="no_handler.so' is no handler")
        for name in ("unruly", "unruly_shared"):
            path = plugin(name)
            self.check(RUNTIME_ERROR, f"--handler={path}", "--handler-option=broken=yes",
                       told=f"handler '{path}' cannot start: broken, as asked$")
        self.check(RUNTIME_ERROR, f"--handler={plugin('unruly_shared')}", "--handler-option=threads=yes",
                   told="has started threads.*isolate=no")
        self.check(RUNTIME_ERROR, f"--handler={plugin('unruly')}", "--handler-option=exit=yes",
                   told="cannot start: exit status 0")
        self.check(USAGE_ERROR, "--handler=password", "--isolate=yes", "--handler-option=nonsense=1",
                   told="handler 'password' cannot start")


    def test_options_that_are_too_long(self):
        """Fails when options of a handler are cut, where they are more than it can be told."""
        self.check(USAGE_ERROR, f"--handler={plugin('unruly')}", *[f"--handler-option=prefix={'x' * 1000}"] * 70,
                   told="handler-option: .*too long")


class ExplainSandbox(ServerTestCase):
    def explain(self, handler, *options):
        ended = run_to_end("--explain-sandbox", handler, *options)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return [line.partition("=")[2] for line in ended.stdout.splitlines() if line.startswith("BindReadOnlyPaths=")]

    def test_what_it_names(self):
        """Fails when a file that a handler needs is left out, or one that the service has is named."""
        self.assertEqual(self.explain("digest"), [])
        path = plugin("needy")
        needs = self.explain(path)
        needs.remove(next(need for need in needs if need.endswith("/libneeded.so")))
        self.assertEqual(needs, sorted(["/etc/passwd", path]))

    def test_refusals(self):
        """Fails when what cannot be loaded is explained."""
        ended = run_to_end("--explain-sandbox", plugin("no_handler"))
        self.assertEqual(ended.returncode, RUNTIME_ERROR)
        self.assertIn("is no handler", ended.stderr)
        self.assertEqual(run_to_end("--explain-sandbox", "nosuch").returncode, USAGE_ERROR)


class Ends(IsolateTestCase):
    def setUp(self):
        super().setUp()
        if sanitizer():
            self.skipTest("a sanitizer ends a process in its own way")

    def test_costs_one_request(self):
        """Fails when a crash of the handler costs more than its request, or does not tell how it came."""
        server = self.start_isolated("--workers=1")
        client = self.connect(server)
        client.send("echo a", "segv on purpose", "echo b", "exit 3", "echo c", "abort", "echo d", "stack", "echo e",
                    "quick-exit", "echo f")
        self.assertEqual(client.lines(11), [
            "result: a", "ERROR: worker crashed (SIGSEGV)", "result: b", "ERROR: worker crashed (exit status 3)",
            "result: c", "ERROR: worker crashed (SIGABRT)", "result: d", "ERROR: worker crashed (SIGSEGV)",
            "result: e", "ERROR: worker crashed (exit status 0)", "result: f"])
        server.wait_for_log(r"warning \[worker-0\] task 2 of connection 1: on purpose")
        server.wait_for_log(r"warning \[worker-0\] task 2 of connection 1: the worker's process crashed \(SIGSEGV\)")

    def test_under_load(self):
        """Fails when crashes in a row lose a request that did not cause one, of what was on its way together too."""
        server = self.start_isolated("--workers=4", "--max-connections=100")
        stop = threading.Event()
        wrong, counts = [], []

        def be_polite(number):
            with contextlib.closing(Client(server.address)) as client:
                count = 0
                while not stop.is_set():
                    texts = [f"{number}.{count + i}" for i in range(20)]
                    count += 20
                    client.send(*[f"echo {text}" for text in texts])
                    wrong.extend(set(client.lines(20)) ^ {f"result: {text}" for text in texts})
                counts.append(count)

        threads = [threading.Thread(target=be_polite, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        poison = self.connect(server)
        poison.send(*["segv"] * 1000)
        replies = poison.lines(1000, 120)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(set(replies), {"ERROR: worker crashed (SIGSEGV)"})
        self.assertEqual(wrong, [])
        self.assertEqual(min(counts) > 0, True)
        self.wait_for_processes(server, 4)

    def test_while_idle(self):
        """Fails when a process that ended while it had nothing to do is replaced only at somebody's cost."""
        server = self.start_isolated("--workers=2")
        before = self.wait_for_processes(server, 2)
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(found := self.processes(server)) == 2 and not found & before, "others are in their place")
        client.send(*["echo x"] * 20)
        self.assertEqual(client.lines(20), ["result: x"] * 20)

    def test_in_the_handlers_start(self):
        """Fails when processes that cannot be started again are tried without a pause, or requests are left."""
        marker = Path(self.temporary_directory()) / "options"
        marker.write_text(f"handler={plugin('unruly')}\nworkers=1\n")
        server = self.start(f"--config={marker}", handler=None)
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        os.kill(self.keeper(server), signal.SIGKILL)
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertEqual(len(server.log_lines("error .*holds the others has gone")), 1)
        server.kill()  # it is gone, as was asked


class TimeOuts(IsolateTestCase):
    def test_hard(self):
        """Fails when a task that ignores its stop token outlives its time-out, or keeps a worker."""
        server = self.start_isolated("--workers=2", "--task-timeout=200ms", "--kill-grace=50ms")
        before = self.wait_for_processes(server, 2)
        answer = Stopwatch()
        clients = [self.connect(server) for _ in range(4)]
        for client in clients:
            client.send("hang 60000", "echo x")
        for client in clients:
            self.assertEqual(client.lines(2), ["ERROR: timed out after 200 ms", "result: x"])
        self.assert_quick(answer.seconds, 2)
        self.wait_gone(before)
        stats = server.stats()
        self.assertEqual((stats["timeouts"], stats["quarantined"], stats["stuck_workers"]), (4, 0, 0))
        self.assertEqual(server.stop(), 0)

    def test_log_without_end(self):
        """Fails when a process that goes on logging is not ended at its time-out, or outlives its client."""
        server = self.start_isolated("--workers=1", "--task-timeout=300ms", "--kill-grace=50ms")
        client = self.connect(server)
        for request in ("log-much 2000000000", "log-much 0"):
            client.send(request)
        self.assertEqual(client.lines(2), ["ERROR: timed out after 300 ms", "result: logged"])

    def test_client_leaves(self):
        """Fails when a process goes on with what nobody waits for."""
        server = self.start_isolated("--workers=1")
        before, = self.wait_for_processes(server, 1)
        client = self.connect(server)
        client.send("hang 60000")
        # Before it has begun, the request is just taken back.
        nanosleep = "230 " if os.uname().machine == "x86_64" else "115 "
        wait_until(lambda: Path(f"/proc/{before}/syscall").read_text().startswith(nanosleep), "the handler is at it")
        client.reset()
        self.wait_gone({before})
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")

    def test_short_ones_cost_no_process(self):
        """Fails when each client that leaves with short requests under way has a process killed."""
        server = self.start_isolated("--workers=2")
        before = self.wait_for_processes(server, 2)
        for _ in range(50):
            client = self.connect(server)
            client.send(*["echo x"] * 200)
            client.reset()
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        self.assertGreaterEqual(len(before & self.wait_for_processes(server, 2)), 1)

    def test_end_of_the_drain(self):
        """Fails when a stop waits for a handler past --drain-timeout, or leaves it behind."""
        server = self.start_isolated("--workers=2", "--drain-timeout=300ms")
        client = self.connect(server)
        client.send("hang 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        every = self.wait_for_processes(server, 2) | {self.keeper(server), self.nursery(server)}
        end = Stopwatch()
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assert_quick(end.seconds, 5)
        self.assertFalse([pid for pid in every if is_alive(pid)])


class Shared(IsolateTestCase):
    def test_create_once(self):
        """Fails when what a handler makes for all workers is made for each, or not in the memory that they share."""
        journal = Path(self.temporary_directory()) / "journal"
        server = self.start_isolated("--workers=4", f"--handler-option=journal={journal}", handler="unruly_shared")
        self.wait_for_processes(server, 4)
        self.assertEqual(journal.read_text().split(), ["create"])
        self.assertEqual(server.stop(), 0)
        self.assertEqual(journal.read_text().split(), ["create", "destroy"])


    def test_what_is_open(self):
        """Fails when a file that a handler opened for all workers is closed in their processes."""
        server = self.start_isolated("--workers=3", handler="needy")
        client = self.connect(server)
        client.send(*["x"] * 30)
        self.assertEqual(client.lines(30), ["result: needed"] * 30)


class Recycling(RecyclingMixin, IsolateTestCase):
    MOST, TOO_MUCH = 200, 250  # MiB

    def start_recycled(self, *options):
        return self.start_isolated("--workers=1", *options)

    def wait_for_one(self, server):
        self.wait_for_processes(server, 1)

    def test_limit(self):
        """Fails when --worker-memory-limit does not hold."""
        if sanitizer():
            self.skipTest("a sanitizer takes all the address space there is")
        server = self.start_isolated("--workers=1", "--worker-memory-limit=300MiB")
        client = self.connect(server)
        self.assertEqual(client.ask("leak 20"), "result: leaked")
        self.assertEqual(client.ask("leak 400"), "ERROR: internal error")
        self.assertEqual(client.ask("echo x"), "result: x")

    def test_request_beyond_the_limit(self):
        """Fails when a request for which its process has no memory costs more than itself."""
        if sanitizer():
            self.skipTest("a sanitizer takes all the address space there is")
        server = self.start_isolated("--workers=1", "--worker-memory-limit=60MiB", "--max-line=64MiB", "--max-memory=1GiB")
        client, other = self.connect(server), self.connect(server)
        pid = client.ask("pid")
        for _ in range(6):
            client.send("echo " + "x" * (60 << 20), "echo after")
            self.assertEqual(client.lines(2), ["ERROR: internal error", "result: after"])
            self.assertEqual(other.ask("pid"), pid)
        server.wait_for_log(r"warning \[worker-0\] task 2 of connection 1: the handler failed: .*memory")


class Reloads(IsolateTestCase):
    def config(self, text):
        path = Path(self.temporary_directory()) / "config"
        path.write_text(text)
        return path

    def test_new_file(self):
        """Fails when a reload does not take a plug-in's new file, or costs a client its connection or a request."""
        path = Path(self.temporary_directory()) / "work.so"
        shutil.copy(plugin("unruly"), path)
        server = self.start("--workers=3", f"--handler={path}", handler=None)
        client, running = self.connect(server), self.connect(server)
        before = self.wait_for_processes(server, 3) | {self.keeper(server)}
        self.assertEqual(client.ask("echo x"), "result: x")
        running.send("hang 600")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        new = path.with_suffix(".new")
        shutil.copy(plugin("plain"), new)
        new.rename(path)
        server.signal(signal.SIGHUP)
        server.wait_for_log("has been loaded anew")
        replies = []
        wait_until(lambda: replies.append(client.ask("echo x")) or not before & (
            self.processes(server) | children(self.nursery(server))), "all are replaced")
        self.assertLessEqual(set(replies), {"result: x", "result: echo x"})
        self.assertEqual(running.line(), "result: hung")
        client.send(*["echo x"] * 20)
        self.assertEqual(client.lines(20), ["result: echo x"] * 20)

    def test_new_handler_and_options(self):
        """Fails when another handler, or its options, are not taken by a reload."""
        config = self.config(f"handler={plugin('unruly')}\nhandler-option=prefix=1\nworkers=2\n")
        server = self.start(f"--config={config}", handler=None)
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: 1x")
        for text, wanted in ((f"handler={plugin('unruly')}\nhandler-option=prefix=2\nworkers=2\n", "result: 2x"),
                             ("handler=drill\nisolate=yes\nworkers=2\n", "result: x")):
            config.write_text(text)
            server.signal(signal.SIGHUP)
            replies = []
            wait_until(lambda: replies.append(client.ask("echo x")) or replies[-5:] == [wanted] * 5, "it is replaced")

    def test_what_cannot_be_loaded(self):
        """Fails when a reload of what cannot be loaded, or dies of it, takes away what works."""
        config = self.config(f"handler={plugin('unruly')}\nworkers=2\n")
        server = self.start(f"--config={config}", handler=None)
        client = self.connect(server)
        before = self.wait_for_processes(server, 2)
        for count, (text, why) in enumerate(((f"handler={plugin('no_handler')}\n", "is no handler"),
                                             (f"handler={plugin('unruly_shared')}\nhandler-option=exit=yes\n", "has died of it"),
                                             (f"handler={plugin('unruly_shared')}\nhandler-option=broken=yes\n", "broken"))):
            config.write_text(text + "workers=2\n")
            server.signal(signal.SIGHUP)
            server.wait_for_log(f"the handler stays as it was: .*{why}")
            client.send(*["echo x"] * 20)
            self.assertEqual(client.lines(20), ["result: x"] * 20)
        self.assertEqual(self.processes(server), before)

    def test_processes_that_cannot_be_started(self):
        """Fails when processes that stay, as those of a reload cannot be started, answer nothing more, or are killed."""
        config = self.config(f"handler={plugin('unruly')}\nworkers=1\ntask-timeout=5s\n")
        server = self.start(f"--config={config}", handler=None)
        client = self.connect(server)
        before = self.wait_for_processes(server, 1)
        batch = [*["echo x"] * 40, "hang 5"] * 5  # what waits behind a long one is taken back
        replies = [*["result: x"] * 40, "result: hung"] * 5
        client.send(*batch)
        self.assertEqual(client.lines(len(batch)), replies)
        config.write_text(f"handler={plugin('unruly')}\nhandler-option=broken=yes\nworkers=1\ntask-timeout=5s\n")
        server.signal(signal.SIGHUP)
        server.wait_for_log("unruly.so cannot be started: .*broken, as asked")
        client.send(*batch)
        self.assertEqual(client.lines(len(batch)), replies)
        self.assertEqual(self.processes(server), before)

    def test_end_of_the_last_handler(self):
        """Fails when who still worked with the handler before a reload cannot go on with the next once that is killed."""
        server = self.start_isolated("--workers=2", "--max-stuck-workers=0")
        client, running = self.connect(server), self.connect(server)
        last = self.keeper(server)
        running.send("hang 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        server.signal(signal.SIGHUP)
        server.wait_for_log("has been loaded anew")
        wait_until(lambda: len(children(last)) == 1, "one process is left of it")
        os.kill(last, signal.SIGKILL)
        self.assertEqual(running.line(), "ERROR: no worker available")
        for each in (client, running):
            each.send(*["hang 1"] * 40)
        for each in (client, running):
            self.assertEqual(each.lines(40), ["result: hung"] * 40)
        self.wait_for_processes(server, 2)

    def test_reloads_while_one_is_loaded(self):
        """Fails when handlers are loaded side by side, or the last of several reloads is not the one that stays."""
        awaited = Path(self.temporary_directory()) / "awaited"
        config = self.config(f"handler={plugin('unruly_shared')}\nhandler-option=prefix=1\nworkers=2\n")
        server = self.start(f"--config={config}", handler=None)
        client = self.connect(server)
        for prefix in (2, 3, 4):
            config.write_text(f"handler={plugin('unruly_shared')}\nhandler-option=prefix={prefix}\n"
                              f"handler-option=until={awaited}\nworkers=2\n")
            server.signal(signal.SIGHUP)
            wait_until(lambda done=prefix - 1: len(server.log_lines("configuration reloaded")) == done, "it has been read")
        client.send(*["echo x"] * 20)
        self.assertEqual(client.lines(20), ["result: 1x"] * 20)
        self.assertEqual(server.log_lines("has been loaded anew"), [])
        awaited.touch()
        replies = []
        wait_until(lambda: replies.append(client.ask("echo x")) or replies[-5:] == ["result: 4x"] * 5, "it is replaced")
        self.assertNotIn("result: 3x", replies)
        self.assertEqual(len(server.log_lines("has been loaded anew")), 2)

    def test_mode_takes_a_restart(self):
        """Fails when a reload does not say that isolate takes a restart."""
        config = self.config("handler=drill\nisolate=yes\n")
        server = self.start(f"--config={config}", handler=None)
        config.write_text("handler=drill\nisolate=no\n")
        server.signal(signal.SIGHUP)
        server.wait_for_log("a new value of isolate takes a restart")
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")


class Restarts(IsolateMixin, RestartTestCase):
    def test_what_is_running(self):
        """Fails when a restart loses what processes are at, or leaves the old ones behind."""
        options = (f"--handler={plugin('unruly')}", "--workers=2")
        old = self.start_next(*options, "--handover-wait=100ms", handler=None)
        client = self.meet()
        self.assertEqual(client.ask("echo before"), "result: before")
        every = self.wait_for_processes(old, 2) | {self.keeper(old), self.nursery(old)}
        client.send("hang 800", "hang 801", "hang 802", *["echo x"] * 100)
        self.wait_for_busy(2)
        self.end()
        self.assertFalse([pid for pid in every if is_alive(pid)])
        self.start_next(*options, handler=None)
        self.assertEqual(client.lines(103), ["result: hung"] * 3 + ["result: x"] * 100)


class Killed(IsolateTestCase):
    def test_children_that_are_ignored(self):
        """Fails when a server that was started with SIGCHLD ignored does not see its processes end."""
        server = self.start_isolated("--workers=2", ignored=["SIGCHLD"])
        client = self.connect(server)
        client.send("echo x", "exit 3", "echo y")
        self.assertEqual(client.lines(3), ["result: x", "ERROR: worker crashed (exit status 3)", "result: y"])
        self.wait_for_processes(server, 2)
        end = Stopwatch()
        self.assertEqual(server.stop(), 0)
        self.assert_quick(end.seconds, 5)

    def test_daemon(self):
        """Fails when kill -9 of the server leaves a process behind."""
        for stopped in (False, True):
            with self.subTest(stopped=stopped):
                server = self.start_isolated("--workers=2")
                client = self.connect(server)
                client.send("hang 60000")
                server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
                every = self.wait_for_processes(server, 2) | {self.keeper(server), self.nursery(server)}
                if stopped:
                    os.kill(self.keeper(server), signal.SIGSTOP)
                server.kill()
                wait_until(lambda: all(state(pid) in (None, "Z") for pid in every), f"{every} have ended")

    def test_nursery(self):
        """Fails when the server lives on, or hangs, without the process that holds the others."""
        server = self.start_isolated("--workers=2")
        client = self.connect(server)
        client.send("echo before", "hang 60000")
        self.assertEqual(client.line(), "result: before")
        every = self.wait_for_processes(server, 2) | {self.keeper(server)}
        end = Stopwatch()
        os.kill(self.nursery(server), signal.SIGKILL)
        self.assertEqual(client.rest(), ["ERROR: no worker available"])
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assert_quick(end.seconds, 5 * SLOWDOWN)
        self.wait_gone(every)
        server.kill()  # it is gone, as was asked


class InTheJournal(JournalTestCase):
    def test_crash(self):
        """Fails when a process' crash is no event in the journal, or lacks what it is asked by."""
        if sanitizer():
            self.skipTest("a sanitizer tells of crashes in its own way")
        server, journal, _ = self.start_with_journal("stderr", f"--handler={plugin('unruly')}", "--workers=1", handler=None)
        client = self.connect(server)
        client.send("say last words", "abort", "echo y")
        self.assertEqual(client.lines(3), ["result: said", "ERROR: worker crashed (SIGABRT)", "result: y"])
        self.assertEqual(server.stop(), 0)
        crash = next(record for record in self.records(journal) if record["POOL_SERVER_EVENT"] == "worker-crashed")
        where = tuple(crash["POOL_SERVER_" + name] for name in ("WORKER", "TASK", "CONNECTION"))
        self.assertEqual((crash["PRIORITY"], *where), ("4", "worker-0", "2", "1"))
        self.assertRegex(crash["MESSAGE"], r"\(SIGABRT\), having said: last words$")
