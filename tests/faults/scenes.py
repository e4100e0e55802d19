"""The phases of a server's life in which a call is made to fail, each a scene that ends with an outcome."""

import re
import signal
import time
from pathlib import Path

from crowd import Finding
from harness import RUNTIME_ERROR
from http_client import Answer, connect, read_all, request
from scene import DRAIN_TIMEOUT, Refused, Scene
from timing import PATIENCE, SLOWDOWN, wait_until


class Activation(Scene):
    """A start with sockets that the service manager passes."""

    def play(self):
        config = f"{self.temporary_directory()}/config"
        Path(config).write_text("workers=2\n")
        self.control.count()
        self.launch_watched(f"--config={config}")
        self.wait_until_it_serves()
        self.control.count(False)
        self.ask_and_check()
        self.check_rest()
        self.check_stop()


class Start(Scene):
    """A start that opens its listeners itself."""

    def play(self):
        path = f"{self.temporary_directory()}/socket"
        self.control.count()
        self.server = self.launch("--workers=2", f"--drain-timeout={int(DRAIN_TIMEOUT)}s", listen=(path, "127.0.0.1:0"),
                                  prefix=self.preloaded())
        self.wait_until_it_serves()
        self.control.count(False)
        tcp = [address for address in self.server.addresses() if not isinstance(address, str)]
        self.addresses = {"unix": path, "tcp": tcp[0] if tcp else path}
        self.ask_and_check()
        self.check_rest()
        self.check_stop()


class Serving(Scene):
    """Clients come, ask and go."""

    OPTIONS = ("--workers=2",)
    CHILDREN = 0

    def settle(self):
        """What it holds at rest, once each worker has its process."""
        idle = self.server.process.polled_descriptors()

        def settled():
            self.ask_and_check(4, most=0)
            while self.crowds:
                self.crowds.pop().close()
            wait_until(lambda: self.server.process.polled_descriptors() == idle, "the first clients have gone")
            return not self.CHILDREN or self.has_children_at_rest()
        wait_until(settled, "each worker has its process")
        return self.held()

    def has_children_at_rest(self):
        """One that is being replaced counts twice for a moment, and may stand for one that has not begun."""
        held = self.held()
        time.sleep(0.05 * SLOWDOWN)
        return len(self.server.process.descendants()) >= self.CHILDREN and self.held() == held

    def play(self):
        self.launch_watched()
        self.wait_until_it_serves()
        before = self.settle()
        self.control.count()
        self.ask_while_it_fails(self.come())
        self.ask_and_check(2, most=0)
        self.check_leaks(before)
        self.check_stop()


class Programs(Serving):
    """The same with a program, whose processes are replaced meanwhile."""

    OPTIONS = ("--workers=2", "--worker-max-tasks=20", "--program=sed -u s/^$/./",
               "--task-timeout=2s")
    CHILDREN = 3
    HANDLER = None
    OF_DRILL = False


class Isolated(Serving):
    """And with a handler in processes of its own."""

    OPTIONS = ("--workers=2", "--worker-max-tasks=20", "--isolate=yes", "--task-timeout=2s")
    CHILDREN = 4


class StartOfPrograms(Scene):
    OPTIONS = Programs.OPTIONS
    HANDLER = None
    OF_DRILL = False

    def play(self):
        self.control.count()
        self.launch_watched()
        self.wait_until_it_serves()
        self.control.count(False)
        self.ask_and_check()
        self.check_rest()
        self.check_stop()


class StartOfIsolated(StartOfPrograms):
    OPTIONS = Isolated.OPTIONS
    HANDLER = "drill"
    OF_DRILL = True


class Monitored(Serving):
    """Visitors look at the server, and balancers ask, while clients are served. Who looks may come for nothing."""

    def launch_watched(self, *options):
        self.monitor, self.agent = (f"{self.temporary_directory()}/{name}" for name in ("monitor", "agent"))
        super().launch_watched(f"--monitor={self.monitor}", f"--agent={self.agent}", *options)

    def come(self, count=20):
        crowd = super().come(count)
        for path in ("/metrics", "/state.json", "/readyz", "/"):
            self.visit(path)
        self.ask_agent()
        return crowd

    def patience_of_visitors(self):
        return 0.1 * SLOWDOWN if self.fault and self.fault.lasting else PATIENCE

    def visit(self, path):
        try:
            with connect(self.monitor, self.patience_of_visitors()) as visitor:
                visitor.sendall(request(path))
                data = read_all(visitor)
        except TimeoutError:
            if self.fault.lasting:
                return
            raise Finding("STUCK", f"a visitor of {path} waits in vain") from None
        except OSError:
            data = b""
        answer = Answer(data) if b"\r\n\r\n" in data else None
        whole = answer and len(answer.body) == int(answer.headers.get("content-length", -1))
        if whole and answer.status != 200:
            raise Finding("WRONG", f"a visitor of {path} gets {data[:80]!r}")
        if not whole and not self.control.failed:
            raise Finding("LOST", f"a visitor of {path} gets no answer")

    def ask_agent(self):
        try:
            with connect(self.agent, self.patience_of_visitors()) as balancer:
                line = read_all(balancer)
        except TimeoutError:
            if self.fault.lasting:
                return
            raise Finding("STUCK", "a balancer waits in vain") from None
        except OSError:
            line = b""
        if line and not re.fullmatch(rb"up \d+% ready\n", line):
            raise Finding("WRONG", f"a balancer gets {line[:80]!r}")


class Reload(Scene):
    """The configuration is read again while clients are served."""

    def play(self):
        self.config = f"{self.temporary_directory()}/config"
        Path(self.config).write_text("workers=2\n")
        self.launch_watched(f"--config={self.config}")
        self.wait_until_it_serves()
        before = self.held()
        crowd = self.come().ask().read()
        crowd.check_harm(0)
        Path(self.config).write_text("workers=3\nmax-connections=100\n")
        self.control.count()
        self.server.signal(signal.SIGHUP)
        self.ask_while_it_fails(crowd)
        # What failed is mended by asking again.
        self.server.signal(signal.SIGHUP)
        try:
            self.server.wait_for_stats(lambda stats: stats["workers"] == 3, "the new number of workers")
        except AssertionError as error:
            raise Finding("STUCK", f"a reload has no effect: {error}") from None
        self.ask_and_check(2, most=0)
        if self.server._control:
            self.server._control.close()
            self.server._control = None
        self.check_leaks(before)
        self.check_stop()


class Drain(Scene):
    """A stop, while requests wait and run: all that was accepted is answered."""

    OPTIONS = ("--workers=2",)

    def play(self):
        self.launch_watched()
        self.wait_until_it_serves()
        crowd = self.come()
        crowd.ask().read().check_harm(0)
        for guest in crowd.guests:
            guest.ask([("sleep 4", "result: slept 4 ms"), (f"echo {guest.number}", f"result: {guest.number}")])
        control = self.meet()
        wait_until(lambda: f"accepted={21} " in control.ask("STATS"), "all have come")
        control.close()
        self.control.count()
        self.server.signal()
        lasting = self.fault and self.fault.lasting and self.fault.concerns_connections
        for guest in crowd.guests:
            guest.read_to_the_end()
        self.check_end((0, RUNTIME_ERROR) if self.fault and self.fault.concerns_connections else (0,))
        self.control.count(False)
        crowd.check_harm(20 if lasting else self.may_be_harmed())


class HandoverOut(Scene):
    """A restart, where a call of the one that goes fails: who cannot be handed over is ended in good order."""

    OPTIONS = ("--workers=2",)

    def fails_in_first(self):
        return True

    def play(self):
        if self.fails_in_first():
            self.launch_watched()
        else:
            self.server = self.launch_next(*self.OPTIONS)
        self.wait_until_it_serves()
        crowd = self.come()
        crowd.ask().read().check_harm(0)
        for guest in crowd.guests:
            guest.ask([("sleep 20", "result: slept 20 ms"), (f"echo {guest.number}", f"result: {guest.number}")])
            guest.client.send_bytes(b"echo half")
            guest.owed.append(f"result: half and {guest.number}")
        self.control.count(self.fails_in_first())
        self.ask_for_restart()
        self.check_end((0, RUNTIME_ERROR))
        self.control.count(not self.fails_in_first())
        try:
            self.follow()
        except Refused:
            if self.fails_in_first():
                raise
            self.control.count(False)
            self.server = self.launch_next(*self.OPTIONS)
            self.wait_until_it_serves()
        self.control.count(False)
        for guest in crowd.guests:
            try:
                guest.client.send_bytes(f" and {guest.number}\n".encode())
            except OSError:
                pass  # it shows when it reads
        crowd.read()
        self.check_alive()
        self.check_harm_of(crowd)
        self.ask_and_check(2, most=0)
        self.check_rest()
        if self.store.names() and not self.tolerates_silence():
            raise Finding("LEAK", f"left in the store: {self.store.names()}")
        self.check_stop()

    def follow(self):
        self.server = self.launch_next(*self.OPTIONS)
        self.wait_until_it_serves()

    def check_harm_of(self, crowd):
        """Where what all need cannot be had, nobody is handed over: a stop, which owes nothing to half a line."""
        stopped = any(re.search("finishing the work|no connection can be handed over", server.log())
                      for server in self.servers)
        if not stopped:
            crowd.check_harm(self.may_be_harmed())
        elif self.fault.lasting and "no connection can be handed over" in self.servers[0].log():
            pass  # the snapshot has the replies, and cannot be completed: told as an error, and by the status
        elif any(len(guest.owed) > 1 for guest in crowd.guests):
            raise Finding("LOST", "a stop keeps replies from who waits for them")


class HandoverIn(HandoverOut):
    """A restart, where a call of the one that comes fails."""

    def fails_in_first(self):
        return False

    def follow(self):
        self.launch_watched()
        self.wait_until_it_serves()


SCENES = {"start": Start, "activation": Activation, "serving": Serving, "reload": Reload, "drain": Drain,
          "handover-out": HandoverOut, "handover-in": HandoverIn, "program-start": StartOfPrograms, "program": Programs,
          "isolate-start": StartOfIsolated, "isolate": Isolated, "monitor": Monitored}
