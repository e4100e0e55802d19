"""Programs as workers: lines through their standard streams, and what they do that they should not."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from client import Client
from harness import RUNTIME_ERROR, USAGE_ERROR, ServerTestCase, run_to_end
from manager import RestartTestCase
from procfs import Process
from test_logging import JournalTestCase
from timing import SLOWDOWN, Stopwatch, wait_until

UNRULY = f"{sys.executable} -ISu {Path(__file__).with_name('unruly_program.py')}"

def is_alive(pid):
    """Whether there is such a process, be it a zombie."""
    return os.path.exists(f"/proc/{pid}")


def state(pid):
    try:
        return Process(pid).state()
    except (FileNotFoundError, ProcessLookupError):
        return None


def children(pid):
    """The processes that are its children, zombies included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.add(int(entry.name))
    return found


class ProgramMixin:
    def start_program(self, *options, program=UNRULY, **settings):
        return self.start(f"--program={program}", *options, handler=None, **settings)

    def nursery(self, server):
        found, = children(server.pid)
        return found

    def programs(self, server):
        return children(self.nursery(server))

    def wait_for_programs(self, server, count):
        def check():
            found = self.programs(server)
            return found if len(found) == count else None
        return wait_until(check, f"{count} programs run")

    def wait_gone(self, pids):
        wait_until(lambda: not any(is_alive(pid) for pid in pids), f"{pids} have gone")


class ProgramTestCase(ProgramMixin, ServerTestCase):
    pass


class Requests(ProgramTestCase):
    def test_filters(self):
        """Fails when a filter that flushes its lines does not work as it is."""
        line = '{"a": {"b": [1, 2]}}'
        filters = {"cat": line, "sed -u 's/a/the  letter/'": '{"the  letter": {"b": [1, 2]}}',
                   "jq -c --unbuffered .a": '{"b":[1,2]}',
                   r"""node -e 'require("readline").createInterface(process.stdin).on("line", l =>
                       console.log(JSON.parse(l).a.b.length))'""".replace("\n", " "): "2"}
        for program, wanted in filters.items():
            with self.subTest(program=program):
                if not shutil.which(program.split()[0]):
                    self.skipTest(f"there is no {program.split()[0]}")
                server = self.start_program(program=program)
                client = self.connect(server)
                self.assertEqual(client.ask(line), f"result: {wanted}")
                client.send(*[line] * 100)
                self.assertEqual(client.lines(100), [f"result: {wanted}"] * 100)

    def test_results_and_errors(self):
        """Fails when a reply loses its kind, or is mixed up with another's."""
        server = self.start_program("--workers=4")
        clients = [self.connect(server) for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(*[f"{verb} {number}.{i}" for i in range(100) for verb in ("echo", "error")])
        for number, client in enumerate(clients):
            wanted = [f"{kind}: {number}.{i}" for i in range(100) for kind in ("result", "ERROR")]
            self.assertEqual(client.lines(200), wanted)
        self.assertEqual(clients[0].ask("echo "), "result: ")

    def test_bytes_pass(self):
        """Fails when a byte of a request is lost on its way, a longest request stalls, or control bytes come back."""
        server = self.start_program(program="cat")
        client = self.connect(server)
        self.assertEqual(client.ask("\xe9\u20ac"), "result: \xe9\u20ac")
        self.assertEqual(client.ask(b"a\0b"), "ERROR: the handler's reply has control bytes")
        for length in (4095, 4096, 65535, 65536):
            self.assertEqual(client.ask("x" * length), "result: " + "x" * length)
        server = self.start_program("--max-line=4MiB", "--max-reply=4MiB", program="cat")
        client = self.connect(server)
        self.assertEqual(client.ask("x" * (1 << 22)), "result: " + "x" * (1 << 22))

    def test_carriage_returns(self):
        """Fails when a request that is two lines to the program has its second half answer the next client."""
        for program in (UNRULY, f"python3 -u -c 'import sys\nfor line in sys.stdin: print(line.strip())'"):
            server = self.start_program("--workers=1", program=program)
            hostile, polite = self.connect(server), self.connect(server)
            for _ in range(5):
                self.assertEqual(hostile.ask(b"\recho secret"), "ERROR: the request has a carriage return")
                self.assertIn(polite.ask("echo x"), ("result: x", "result: echo x"))
            self.assertIn(hostile.ask(b"echo y\r"), ("result: y", "result: echo y"))

    def test_answers_before_it_has_read_all(self):
        """Fails when what a program has left of a request becomes a part of the next."""
        server = self.start_program("--workers=1", program="sh -c 'while :; do head -c 10 > /dev/null || exit; echo ok; done'")
        client = self.connect(server)
        for _ in range(5):
            self.assertEqual(client.ask("x" * 20_000), "result: ok")
        server.wait_for_log("it wrote more than a line for a request, or read less")

    def test_options(self):
        """Fails when a program in the configuration file is not taken as it is on the command line."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text(f"program={UNRULY} 'a b>'\nworkers=1\n")
        server = self.start(f"--config={config}", handler=None)
        self.assertEqual(self.connect(server).ask("echo x"), "result: a b>x")

    def test_what_it_has(self):
        """Fails when a program is left with descriptors, signals, a session or the environment of the server."""
        server = self.start_program("--workers=1", env={"LISTEN_FDS": "0"})
        client = self.connect(server)
        # 3 is the directory that is listed
        self.assertEqual(client.ask("descriptors"), "result: 0 1 2 3")
        self.assertEqual(client.ask("signals"), f"result: 0 {self.ignored_by_python()} True")
        self.assertEqual(client.ask("environment NOTIFY_SOCKET"), "result: None")
        kinds = Process(self.nursery(server)).descriptors()
        self.assertEqual([kinds[fd] for fd in (0, 1, 2)], ["/dev/null"] * 3)

    def test_many(self):
        """Fails when the limit of open descriptors that the server was started with is too low for its programs, or
        is not theirs."""
        server = self.start_program("--workers=24", limits={"NOFILE": (40, 4096)},
                                    program="sh -c 'while read line; do ulimit -n; done'")
        client = self.connect(server)
        self.assertEqual(client.ask("x"), "result: 40")
        self.wait_for_programs(server, 24)

    def ignored_by_python(self):
        return sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ))

    def test_nothing_is_left(self):
        """Fails when a program, its supervisor or a descriptor outlives a stop, or descriptors grow with requests."""
        server = self.start_program("--workers=3")
        client = self.connect(server)
        client.send(*["echo x"] * 50)
        client.lines(50)
        programs = self.wait_for_programs(server, 3)
        nursery = self.nursery(server)
        before = len(server.process.descriptors()), len(Process(nursery).descriptors())
        client.send(*["exit 1", "echo x"] * 20)
        client.lines(40)
        self.wait_for_programs(server, 3)
        wait_until(lambda: (len(server.process.descriptors()), len(Process(nursery).descriptors())) == before,
                   "descriptors are as before")
        programs |= self.programs(server)
        self.assertEqual(server.stop(), 0)
        self.assertFalse([pid for pid in programs | {nursery} if is_alive(pid)])


class Refused(ServerTestCase):
    def check(self, status, *options, told):
        ended = run_to_end("--listen=127.0.0.1:0", *options)
        self.assertEqual(ended.returncode, status, ended.stderr)
        lines = [line for line in ended.stderr.splitlines() if " info " not in line]
        self.assertEqual(len(lines), 1, ended.stderr)
        self.assertRegex(lines[0], told)

    def test_commands(self):
        """Fails when a command that is none is started, or tried again and again."""
        self.check(USAGE_ERROR, "--program=cat 'x", told="--program: a quote is not closed")
        self.check(USAGE_ERROR, "--program=", told="--program")
        self.check(USAGE_ERROR, "--program=cat", "--handler=digest", told="program and handler")
        self.check(USAGE_ERROR, "--program=cat", "--handler-option=a=b", told="handler-option")
        self.check(USAGE_ERROR, "--program=cat", "--kill-grace=2h", told="--kill-grace")

    def test_programs(self):
        """Fails when a program that cannot be executed is found out by a client, or a shell runs what is none."""
        script = Path(self.temporary_directory()) / "script"
        script.write_text("echo no program\n")
        script.chmod(0o755)
        dangling = Path(self.temporary_directory()) / "dangling"
        dangling.write_text("#!/nonexistent/interpreter\n")
        dangling.chmod(0o755)
        for program, why in (("/nonexistent x", "No such file"), ("nosuchprogram", "No such file"),
                             ("/etc", "Permission denied"), ("/etc/passwd", "Permission denied"),
                             (script, "Exec format error"), (dangling, "No such file")):
            name = str(program).split()[0]
            self.check(RUNTIME_ERROR, f"--program={program}", told=f"program '{name}' cannot be started: {why}")

    def test_check_config(self):
        """Fails when --check-config finds a program in order that could not be started, or starts it."""
        directory = Path(self.temporary_directory())
        directory.chmod(0o755)
        config = directory / "config"
        for settings, told in (("program=cat\n", None), ("program=nosuchprogram\n", "cannot be started: No such"),
                               ("program=/etc\n", "Permission denied"), ("program=cat 'x\n", "not closed"),
                               ("program=cat\nhandler=digest\n", "only one of them"),
                               (f"program=touch {directory}/touched\n", None)):
            config.write_text(settings)
            ended = run_to_end("--check-config", str(config))
            self.assertEqual(ended.returncode, RUNTIME_ERROR if told else 0, ended.stderr)
            self.assertIn(told or "", ended.stderr)
        self.assertFalse((directory / "touched").exists())


class Ends(ProgramTestCase):
    def test_costs_one_request(self):
        """Fails when a program's end costs more than its request, or does not tell how it came."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        client.send("echo a", "die SIGSEGV", "echo b", "exit 3", "echo c", "exit 0", "echo d", "die SIGKILL", "echo e")
        self.assertEqual(client.lines(9), [
            "result: a", "ERROR: worker crashed (SIGSEGV)", "result: b", "ERROR: worker crashed (exit status 3)",
            "result: c", "ERROR: worker crashed (exit status 0)", "result: d", "ERROR: worker crashed (SIGKILL)",
            "result: e"])
        server.wait_for_log(r"warning \[worker-0\] task 2 of connection 1: .*crashed \(SIGSEGV\), having said: "
                            r"first words / last words")

    def test_poison_alone(self):
        """Fails when requests that kill, and nothing in between, have others told that there is no worker."""
        server = self.start_program("--workers=1")
        hostile, polite = self.connect(server), self.connect(server)
        for _ in range(8):
            self.assertEqual(hostile.ask("die SIGSEGV"), "ERROR: worker crashed (SIGSEGV)")
        self.assertEqual(polite.ask("echo x"), "result: x")

    def test_answers_before_its_end(self):
        """Fails when a reply is lost because the program ended right after it."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        client.send(*["answer-and-exit 0", "echo x"] * 10)
        self.assertEqual(client.lines(20), ["result: gone", "result: x"] * 10)

    def test_while_idle(self):
        """Fails when a program that ended while it had nothing to do is replaced only at somebody's cost."""
        server = self.start_program("--workers=2")
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        before = self.wait_for_programs(server, 2)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        after = wait_until(lambda: (found := self.programs(server)) and len(found) == 2 and not found & before and found,
                           "others have taken their place")
        server.wait_for_log(r"warning \[worker-[01]\] .* has ended by itself: SIGKILL")
        client.send(*["pid"] * 20)
        self.assertLessEqual({int(reply.split()[1]) for reply in client.lines(20)}, after)

    def test_closes_its_output(self):
        """Fails when a program that closed its output holds its client up, or is kept."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        answer = Stopwatch()
        client.send("close", "echo x")
        self.assertEqual(client.lines(2), ["ERROR: worker crashed (it closed its standard output)", "result: x"])
        self.assert_quick(answer.seconds, 3)

    def test_under_load(self):
        """Fails when crashes in a row lose a request that did not cause one."""
        server = self.start_program("--workers=4", "--max-connections=100")
        stop = threading.Event()
        wrong = []

        def be_polite(number):
            with contextlib.closing(Client(server.address)) as client:
                count = 0
                while not stop.is_set():
                    count += 1
                    reply = client.ask(f"echo {number}.{count}")
                    if reply != f"result: {number}.{count}":
                        wrong.append(reply)

        threads = [threading.Thread(target=be_polite, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        poison = self.connect(server)
        replies = [poison.ask("die SIGSEGV") for _ in range(200)]
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(set(replies), {"ERROR: worker crashed (SIGSEGV)"})
        self.assertEqual(wrong, [])
        self.wait_for_programs(server, 4)

    def test_dies_at_once(self):
        """Fails when a program that cannot live is started without a pause, or requests are left unanswered."""
        server = self.start_program("--workers=2", program=f"{UNRULY} die")
        client = self.connect(server)
        crashed, none = "ERROR: worker crashed (exit status 3)", "ERROR: no worker available"
        replies = []
        wait_until(lambda: replies.append(client.ask("echo x")) or none in replies, "there is no worker")
        self.assertLessEqual(set(replies), {crashed, none})
        wait_until(lambda: any("no worker available" in text for _, text in server.notify.named("STATUS")),
                   "STATUS= says so")
        busy = Process(self.nursery(server)).cpu_seconds()
        for _ in range(100):
            self.assertIn(client.ask("echo x"), (crashed, none))
        self.assertLess(Process(self.nursery(server)).cpu_seconds() - busy, 1 * SLOWDOWN)
        self.assertEqual(server.stop(), 0)


class Frames(ProgramTestCase):
    PROGRAM = f"{sys.executable} -ISu {Path(__file__).with_name('unruly_frames.py')}"

    def start_frames(self, *options, program=PROGRAM):
        return self.start_program("--program-protocol=frames", *options, program=program)

    def test_any_bytes(self):
        """Fails when a byte of a request or of a reply, or its outcome, is lost on its way."""
        server = self.start_frames("--workers=1", "--max-line=1MiB", "--max-reply=1MiB")
        client = self.connect(server)
        self.assertEqual(client.ask(b"a\rb"), "ERROR: the handler's reply has control bytes")
        self.assertEqual(client.ask("pieces \xe9\u20ac"), "result: \xe9\u20ac")
        client.send("empty", "error text", "error ", "ERROR: as it is", "x" * (1 << 20), "long 1048576", "long 1048577", "last")
        self.assertEqual(client.lines(8), [
            "result: ", "ERROR: text", "ERROR: ", "result: ERROR: as it is", "result: " + "x" * (1 << 20),
            "result: " + "x" * (1 << 20), "ERROR: the handler's reply is too long (max 1048576 bytes)", "result: last"])

    def test_replies_for_others(self):
        """Fails when a reply that is not for a request becomes the reply to it, or is passed over in silence."""
        server = self.start_frames("--workers=2")
        hostile, polite = self.connect(server), self.connect(server)
        for verb in ("twice", "later", "before"):
            hostile.send(*[f"{verb} own"] * 20)
            polite.send(*[f"text {i}" for i in range(20)])
            self.assertEqual(hostile.lines(20), ["result: own"] * 20)
            self.assertEqual(polite.lines(20), [f"result: text {i}" for i in range(20)])
        server.wait_for_log(r"warning \[worker-\d\] .*is replaced: it wrote more than one reply")

    def test_closed_input(self):
        """Fails when a request waits for a program that has closed its input."""
        server = self.start_frames("--workers=1", "--task-timeout=700ms")
        client = self.connect(server)
        for request in ("text x", "text " + "y" * 20_000):
            client.send("deaf own", request)
            self.assertEqual(client.lines(2), ["result: own", "result: " + request])

    def test_replies_without_end(self):
        """Fails when a program that goes on writing what is for nobody is not ended at the time-out."""
        server = self.start_frames("--workers=1", "--task-timeout=300ms", "--kill-grace=50ms")
        client = self.connect(server)
        client.send("endless", "text x")
        self.assertEqual(client.lines(2), ["ERROR: timed out after 300 ms", "result: text x"])

    def test_what_is_no_frame(self):
        """Fails when nonsense in the place of a reply costs more than a request, memory, or time."""
        server = self.start_frames("--workers=1")
        client = self.connect(server)
        client.send("nonsense x", "text a", "lines", "text b", "huge", "text c", "cut x", "text d", "exit", "text e")
        self.assertEqual(client.lines(10)[1::2], [f"result: text {letter}" for letter in "abcde"])
        client.send("nonsense x", "lines", "huge", "cut x", "exit")
        too_long = "ERROR: the handler's reply is too long (max 65536 bytes)"
        self.assertEqual(client.lines(5), ["ERROR: internal error", "ERROR: internal error", too_long,
                                           *["ERROR: worker crashed (exit status 3)"] * 2])

    def test_module(self):
        """Fails when the Python module does not make the same worker of a function in both protocols."""
        script = Path(self.temporary_directory()) / "worker.py"
        examples = Path(__file__).parents[2] / "examples/program"
        script.write_text(f"import sys\nsys.path.insert(0, {str(examples)!r})\n"
                          "from pool_server_worker import RequestError, serve\n"
                          "def work(text):\n    if text == 'bad': raise RequestError('not\\nthat')\n"
                          "    if text == 'odd': return 1 / 0\n    return text.upper()\nserve(work)\n")
        for protocol in ("lines", "frames"):
            server = self.start_program(f"--program-protocol={protocol}", program=f"{sys.executable} {script}")
            client = self.connect(server)
            client.send("text", "bad", "odd", "error: x")
            self.assertEqual(client.lines(4), ["result: TEXT", "ERROR: not that", "ERROR: internal error", "ERROR: X"])


class Examples(ProgramTestCase):
    DIRECTORY = Path(__file__).parents[2] / "examples/program"

    def check(self, program, exchanges, *options, **settings):
        server = self.start_program(*options, program=program, **settings)
        client = self.connect(server)
        for _ in range(3):
            client.send(*exchanges)
            self.assertEqual(client.lines(len(exchanges)), list(exchanges.values()))

    def test_python(self):
        """Fails when the example in Python does not do what it says."""
        self.check(f"{sys.executable} -u {self.DIRECTORY}/primes.py", {
            "360": "result: 2 2 2 3 3 5", "999999999989": "result: 999999999989",
            "x": "ERROR: not a number from 2 to 999999999999999"}, env={"PYTHONPATH": str(self.DIRECTORY)})

    @unittest.skipUnless(shutil.which("node"), "there is no node")
    def test_node(self):
        """Fails when the example in JavaScript does not do what it says."""
        self.check(f"node {self.DIRECTORY}/sort-words.js", {"b c  a": "result: a b c", " ": "ERROR: no words"})

    @unittest.skipUnless(shutil.which("go"), "there is no go")
    def test_go(self):
        """Fails when the example in Go does not do what it says, or not by the frames that the manual describes."""
        directory = self.temporary_directory()
        binary = f"{directory}/collatz"
        subprocess.run(["go", "build", "-o", binary, f"{self.DIRECTORY}/collatz.go"], check=True,
                       env={**os.environ, "GOCACHE": f"{directory}/cache", "GO111MODULE": "off", "GOFLAGS": ""})
        self.check(binary, {"27 1 97": "result: 111 0 118", "zero": 'ERROR: "zero" is no number from 1 on',
                            "12297829382473034411": "ERROR: 12297829382473034411: it grows beyond 64 bits"},
                   "--program-protocol=frames")


class OutOfStep(ProgramTestCase):
    def test_two_lines(self):
        """Fails when a line too many becomes the reply to the next request, or is passed over in silence."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        client.send(*["two", "echo x"] * 10)
        self.assertEqual(client.lines(20), ["result: first", "result: x"] * 10)
        server.wait_for_log(r"warning \[worker-0\] .*more than a line")

    def test_two_writes(self):
        """Fails when a line that is written while the next request is on its way becomes the reply to that."""
        server = self.start_program("--workers=2")
        client = self.connect(server)
        client.send(*["two-writes", "echo x"] * 40, *["two-later", "echo x"] * 10)
        self.assertEqual(client.lines(100), ["result: first", "result: x"] * 50)
        long = "x" * 20000
        client.send(*[f"echo {long}", "two-writes", "echo x"] * 40)
        self.assertEqual(client.lines(120), [f"result: {long}", "result: first", "result: x"] * 40)

    def test_later_line(self):
        """Fails when a line that came between two requests becomes the reply to the second."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        self.assertEqual(client.ask("two-later"), "result: first")
        pid, = self.programs(server)
        wait_until(lambda: pipe_bytes(server, pid) > 0, "the second line is in the pipe")
        self.assertEqual(client.ask("echo x"), "result: x")

    def test_closed_input(self):
        """Fails when what a program writes that reads no more becomes a reply, or a request waits for it."""
        server = self.start_program("--workers=1", "--task-timeout=700ms")
        client = self.connect(server)
        for verb in ("deaf", "deaf 0", "deaf 50", "deaf 300"):
            for request in ("echo x", "echo " + "y" * 20_000):
                client.send(verb, request)
                self.assertEqual(client.lines(2), ["result: deaf", "result: " + request.partition(" ")[2]])

    def test_input_closed_at_once(self):
        """Fails when a program that closes its input once it has read a request cannot answer that."""
        server = self.start_program("--workers=1", program="""sh -c 'read x; exec 0<&-; sleep .05; echo "$x"; sleep 600'""")
        client = self.connect(server)
        client.send("a", "b", "c")
        self.assertEqual(client.lines(3), ["result: a", "result: b", "result: c"])

    def test_too_long(self):
        """Fails when a reply without end uses up memory, or its rest becomes another's reply."""
        server = self.start_program("--workers=1", "--max-reply=1000")
        client = self.connect(server)
        too_long = "ERROR: the handler's reply is too long (max 1000 bytes)"
        client.send("long 1000", "long 1001", "echo x", "long 3000000", "echo y", "endless", "echo z", "control", "echo e")
        self.assertEqual(client.lines(9), ["result: " + 1000 * "x", too_long, "result: x", too_long, "result: y",
                                           too_long, "result: z", "ERROR: the handler's reply has control bytes",
                                           "result: e"])
        self.assertLess(server.process.resident_bytes(), 200 << 20)


def pipe_bytes(server, pid):
    """What waits in the standard output of that program, as far as the kernel tells: opened anew to look."""
    import array
    import fcntl
    import termios
    target = os.readlink(f"/proc/{pid}/fd/1")
    fd = next(fd for fd, found in server.process.descriptors().items() if found == target)
    opened = os.open(f"/proc/{server.pid}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
    try:
        count = array.array("i", [0])
        fcntl.ioctl(opened, termios.FIONREAD, count)
        return count[0]
    finally:
        os.close(opened)


class TimeOuts(ProgramTestCase):
    def check(self, request, *options, seconds):
        server = self.start_program("--workers=1", "--task-timeout=1s", *options)
        client = self.connect(server)
        first, = self.wait_for_programs(server, 1)
        self.assertEqual(client.ask("echo x"), "result: x")
        took = Stopwatch()
        client.send(request, "echo next")
        self.assertEqual(client.line(), "ERROR: timed out after 1000 ms")
        self.assertEqual(client.line(), "result: next")
        self.assert_quick(took.seconds, seconds + 0.8)
        self.assertFalse(is_alive(first))
        stats = server.stats()
        self.assertEqual((stats["quarantined"], stats["stuck_workers"], stats["timeouts"]), (0, 0, 1))
        self.assertEqual(server.stop(), 0)

    def test_hangs(self):
        """Fails when a program that hangs is not ended at the time-out, or its worker is given up."""
        self.check("hang", seconds=1.5)

    def test_ignores_sigterm(self):
        """Fails when a program that ignores SIGTERM lives on, or is not given its grace."""
        self.check("hang-deaf", "--kill-grace=700ms", seconds=2.5)
        self.check("hang-deaf", "--kill-grace=0", seconds=1.5)

    def test_stops_itself(self):
        """Fails when a program that stopped itself is waited for."""
        self.check("stop", seconds=1.5)

    def test_client_leaves(self):
        """Fails when a program goes on with what nobody waits for."""
        server = self.start_program("--workers=1")
        before, = self.wait_for_programs(server, 1)
        client = self.connect(server)
        client.send("hang")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        client.reset()
        self.wait_gone({before})
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")

    def test_end_of_the_drain(self):
        """Fails when a stop waits for a program past --drain-timeout, or leaves it behind."""
        server = self.start_program("--workers=2", "--drain-timeout=300ms")
        client = self.connect(server)
        client.send("hang-deaf")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        programs = self.wait_for_programs(server, 2) | {self.nursery(server)}
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertFalse([pid for pid in programs if is_alive(pid)])


class StandardError(ProgramTestCase):
    def test_lines(self):
        """Fails when what a program says is lost, told under another's name, or not made harmless."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        self.assertEqual(client.ask("say some\x1bwords"), "result: said")
        pid, = self.programs(server)
        server.wait_for_log(rf"info \[worker-0\] python3[.\d]*\[{pid}\]: some\?words$")

    def test_last_words_at_a_stop(self):
        """Fails when what a program says at its end is lost because the server ends."""
        server = self.start_program("--workers=1", program="""sh -c 'cat; echo that was all >&2'""")
        self.assertEqual(self.connect(server).ask("x"), "result: x")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(server.log_lines(r"\]: that was all$")), 1)

    def test_flood(self):
        """Fails when a flood holds the program up, fills memory or the log, or is not counted."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        self.assertEqual(client.ask("flood 1000"), "result: flooded")
        server.wait_for_log(r"warning \[worker-0\] python3.*lines more are left out")
        self.assertLess(len(server.log_lines("noise")), 200)
        self.assertLess(Process(self.nursery(server)).resident_bytes(), 100 << 20)
        self.assertEqual(client.ask("echo x"), "result: x")


class InTheJournal(JournalTestCase):
    def test_crash(self):
        """Fails when a program's crash is no event in the journal, or lacks what it is asked by."""
        server, journal, stderr = self.start_with_journal("stderr", f"--program={UNRULY}", "--workers=1", handler=None)
        client = self.connect(server)
        client.send("echo x", "die SIGABRT", "echo y")
        self.assertEqual(client.lines(3), ["result: x", "ERROR: worker crashed (SIGABRT)", "result: y"])
        self.assertEqual(server.stop(), 0)
        records = {record["POOL_SERVER_EVENT"]: record for record in self.records(journal)}
        crash, said = records["worker-crashed"], records["program-log"]
        where = tuple(crash["POOL_SERVER_" + name] for name in ("WORKER", "TASK", "CONNECTION"))
        self.assertEqual((crash["PRIORITY"], *where), ("4", "worker-0", "2", "1"))
        self.assertRegex(crash["MESSAGE_ID"], "^[0-9a-f]{32}$")
        self.assertRegex(crash["MESSAGE"], r"\(SIGABRT\), having said: first words / last words$")
        self.assertEqual((said["PRIORITY"], said["POOL_SERVER_WORKER"]), ("6", "worker-0"))
        with open(stderr) as file:
            self.assertEqual(file.read(), "")


class RecyclingMixin:
    """What is the same for programs and for isolated handlers, which say how to start and to count theirs."""

    def test_by_tasks(self):
        """Fails when a process serves more requests than --worker-max-tasks, or a request is lost by it."""
        server = self.start_recycled("--worker-max-tasks=3")
        client = self.connect(server)
        client.send(*["pid"] * 12)
        replies = client.lines(12)
        self.assertEqual([replies.count(reply) for reply in dict.fromkeys(replies)], [3] * 4)
        self.wait_for_one(server)

    def test_by_memory(self):
        """Fails when a process that grew beyond --worker-max-memory is kept, or one that did not is replaced."""
        server = self.start_recycled(f"--worker-max-memory={self.MOST}MiB")
        client = self.connect(server)
        first = client.ask("pid")
        self.assertEqual(client.ask("leak 20"), "result: leaked")
        self.assertEqual(client.ask("pid"), first)
        self.assertEqual(client.ask(f"leak {self.TOO_MUCH}"), "result: leaked")
        self.assertNotEqual(client.ask("pid"), first)


class Recycling(RecyclingMixin, ProgramTestCase):
    MOST, TOO_MUCH = 100, 100  # MiB

    def start_recycled(self, *options):
        return self.start_program("--workers=1", *options)

    def wait_for_one(self, server):
        self.wait_for_programs(server, 1)

    def test_limit(self):
        """Fails when --worker-memory-limit does not hold."""
        server = self.start_program("--workers=1", "--worker-memory-limit=300MiB")
        client = self.connect(server)
        self.assertEqual(client.ask("leak 20"), "result: leaked")
        self.assertEqual(client.ask("leak 400"), "ERROR: worker crashed (exit status 1)")
        server.wait_for_log("MemoryError")
        self.assertEqual(client.ask("echo x"), "result: x")


class Reloads(ProgramTestCase):
    def reload(self, server, count=1):
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(server.log_lines("configuration reloaded")) == count, "it is reloaded")

    def test_replaces_the_program(self):
        """Fails when a reload leaves an old program at work, or costs a request."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text(f"program={UNRULY} old:\nworkers=3\n")
        server = self.start(f"--config={config}", handler=None)
        client = self.connect(server)
        before = self.wait_for_programs(server, 3)
        config.write_text(f"program={UNRULY} new:\nworkers=3\n")
        running = self.connect(server)
        running.send("sleep 500")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        replies = []
        self.reload(server)
        wait_until(lambda: replies.append(client.ask("echo x")) or not before & self.programs(server),
                   "all are replaced")
        self.assertLessEqual(set(replies), {"result: old:x", "result: new:x"})
        self.assertEqual(running.line(), "result: slept 500")
        client.send(*["echo x"] * 20)
        self.assertEqual(client.lines(20), ["result: new:x"] * 20)
        self.wait_for_programs(server, 3)

    def test_unchanged_command(self):
        """Fails when a reload does not start programs anew whose file may have changed."""
        server = self.start_program("--workers=2")
        before = self.wait_for_programs(server, 2)
        self.reload(server)
        wait_until(lambda: not before & self.programs(server), "all are replaced")

    def test_program_that_cannot_be_started(self):
        """Fails when a reload with a program that is not there takes those that work away."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text(f"program={UNRULY}\nworkers=2\n")
        server = self.start(f"--config={config}", handler=None)
        client = self.connect(server)
        before = self.wait_for_programs(server, 2)
        config.write_text("program=/nonexistent\nworkers=2\n")
        server.signal(signal.SIGHUP)
        server.wait_for_log("configuration not changed: program '/nonexistent' cannot be started: No such file")
        client.send(*["echo x"] * 20)
        self.assertEqual(client.lines(20), ["result: x"] * 20)
        self.assertEqual(self.programs(server), before)

    def test_handler_for_a_program(self):
        """Fails when a reload does not say that a handler in a program's place takes a restart."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text("program=cat\n")
        server = self.start(f"--config={config}", handler=None)
        config.write_text("handler=drill\n")
        self.reload(server)
        self.assertTrue(server.log_lines("new values of handler, program take a restart"))
        self.assertEqual(self.connect(server).ask("echo x"), "result: echo x")


class Restarts(ProgramMixin, RestartTestCase):
    def start_next_program(self, *options):
        return self.start_next(f"--program={UNRULY}", "--workers=2", *options, handler=None)

    def test_what_is_running(self):
        """Fails when a restart loses what programs are at, or leaves the old ones behind."""
        old = self.start_next_program("--handover-wait=100ms")
        client = self.meet()
        self.assertEqual(client.ask("echo before"), "result: before")
        programs = self.wait_for_programs(old, 2) | {self.nursery(old)}
        client.send("sleep 800", "sleep 801", "sleep 802", "echo last")
        self.wait_for_busy(2)
        self.end()
        self.assertFalse([pid for pid in programs if is_alive(pid)])
        new = self.start_next_program()
        self.assertEqual(client.lines(4), [*(f"result: slept {ms}" for ms in (800, 801, 802)), "result: last"])
        # What was passed at the start is not theirs: two sockets to the server, and a lifeline each.
        programs = self.wait_for_programs(new, 2)
        self.assertEqual(len(Process(self.nursery(new)).sockets()), 4)
        self.assertEqual([Process(pid).sockets() for pid in programs], [set(), set()])

    def test_without_its_nursery(self):
        """Fails when clients lose their connection or what they had in the queue because the programs were killed."""
        old = self.start_next_program()
        client, other = self.meet(), self.meet("unix")
        for each in (client, other):
            self.assertEqual(each.ask("echo before"), "result: before")
        self.wait_for_programs(old, 2)
        os.kill(self.nursery(old), signal.SIGKILL)
        self.assertEqual(old.wait_exit(), RUNTIME_ERROR)
        old.kill()  # it is gone, as was asked
        other.send("echo meanwhile")
        self.start_next_program()
        self.assertEqual(other.line(), "result: meanwhile")
        self.assertEqual(client.ask("echo after"), "result: after")


class Killed(ProgramTestCase):
    def test_children_that_are_ignored(self):
        """Fails when a server that was started with SIGCHLD ignored does not see its programs end."""
        server = self.start_program("--workers=1", ignored=["SIGCHLD"])
        client = self.connect(server)
        client.send("echo x", "exit 3", "echo y")
        self.assertEqual(client.lines(3), ["result: x", "ERROR: worker crashed (exit status 3)", "result: y"])
        end = Stopwatch()
        self.assertEqual(server.stop(), 0)
        self.assert_quick(end.seconds, 5)

    def test_daemon(self):
        """Fails when kill -9 of the server leaves a program, or a process that one started."""
        server = self.start_program("--workers=2")
        client = self.connect(server)
        grandchild = int(client.ask("child").split()[1])
        client.send("hang-deaf")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        left = self.wait_for_programs(server, 2) | {self.nursery(server), grandchild}
        server.kill()
        wait_until(lambda: all(state(pid) in (None, "Z") for pid in left), f"{left} have ended")

    def test_stopped_nursery(self):
        """Fails when kill -9 of the server leaves programs because their supervisor is stopped."""
        server = self.start_program("--workers=1")
        left = self.wait_for_programs(server, 1) | {self.nursery(server)}
        os.kill(self.nursery(server), signal.SIGSTOP)
        server.kill()
        wait_until(lambda: all(state(pid) in (None, "Z") for pid in left), f"{left} have ended")

    def test_nursery(self):
        """Fails when the server lives on, or hangs, without the process that holds its programs."""
        server = self.start_program("--workers=2")
        client = self.connect(server)
        client.send("echo before", "hang")
        self.assertEqual(client.line(), "result: before")
        programs = self.wait_for_programs(server, 2)
        end = Stopwatch()
        os.kill(self.nursery(server), signal.SIGKILL)
        self.assertEqual(client.rest(), ["ERROR: no worker available"])
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assert_quick(end.seconds, 5)
        self.assertEqual(len(server.log_lines("error .*holds the others has gone")), 1)
        wait_until(lambda: all(state(pid) in (None, "Z") for pid in programs), "programs have ended")
        server.kill()  # it is gone, as was asked

    def test_processes_of_programs(self):
        """Fails when a process that a program started outlives it, unless that made itself a session."""
        server = self.start_program("--workers=1")
        client = self.connect(server)
        of_group = int(client.ask("child").split()[1])
        of_session = int(client.ask("child session").split()[1])
        self.assertEqual(client.ask("exit 1"), "ERROR: worker crashed (exit status 1)")
        wait_until(lambda: state(of_group) in (None, "Z"), "the first has ended")
        self.assertIn(state(of_session), ("S", "R"))
        os.kill(of_session, signal.SIGKILL)
