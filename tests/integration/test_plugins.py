"""Handlers loaded from shared objects: those that the build of the binary made of tests/plugins."""

import os
import re
import signal
import tempfile
from pathlib import Path

from harness import RUNTIME_ERROR, USAGE_ERROR, ServerTestCase, plugin, run_to_end, sanitizer
from notify import NotifySocket
from test_logging import JournalTestCase
from timing import wait_until


class PluginTestCase(ServerTestCase):
    ISOLATE = "no"

    def start_plugin(self, name, *options, **settings):
        return self.start(f"--handler={plugin(name)}", f"--isolate={self.ISOLATE}", *options, handler=None, **settings)


class Requests(PluginTestCase):
    def test_handler_in_c(self):
        """Fails when a handler that uses the C interface only, without create and destroy, is not served."""
        client = self.connect(self.start_plugin("plain"))
        self.assertEqual(client.ask("some text"), "result: some text")
        self.assertEqual(client.ask(b"a\0b"), "ERROR: the handler's reply has control bytes")
        self.assertEqual(client.ask(""), "ERROR: empty request")

    def test_handler_of_the_first_version(self):
        """Fails when a handler built for an older version of the interface is refused, or not served as it was."""
        server = self.start_plugin("first_version")
        client = self.connect(server)
        client.send("some text", "fail", "more")
        self.assertEqual(client.lines(3), ["result: some text", "ERROR: internal error", "ERROR: internal error"])
        server.wait_for_log(r"warning \[worker-\d\] task [23] of connection \d+: the handler failed: it gave no reason")

    def test_results_and_errors(self):
        """Fails when a reply loses its kind, or is mixed up with another's."""
        client = self.connect(self.start_plugin("unruly"))
        client.send(*[f"{verb} {i}" for i in range(500) for verb in ("echo", "error")])
        wanted = [f"{kind}: {i}" for i in range(500) for kind in ("result", "ERROR")]
        self.assertEqual(client.lines(1000), wanted)
        self.assertEqual(client.ask("echo"), "result: ")

    def test_options(self):
        """Fails when a handler's options do not reach it from the command line or the configuration."""
        server = self.start_plugin("unruly", "--handler-option=prefix=a=b ", "--handler-option", "broken=no")
        self.assertEqual(self.connect(server).ask("echo x"), "result: a=b x")
        config = Path(self.temporary_directory()) / "config"
        config.write_text(f"handler={plugin('unruly')}\nhandler-option=broken=no\nhandler-option=prefix=>\n")
        server = self.start(f"--config={config}", handler=None)
        self.assertEqual(self.connect(server).ask("echo x"), "result: >x")

    def test_replies_that_are_refused(self):
        """Fails when a reply with a control byte or over --max-reply is sent, or takes others with it."""
        client = self.connect(self.start_plugin("unruly", "--max-reply=1000"))
        client.send("echo before", "control", "long 1000", "long 1001", "long 5000000", "error \x1b", "echo after")
        too_long = "ERROR: the handler's reply is too long (max 1000 bytes)"
        self.assertEqual(client.lines(7), [
            "result: before", "ERROR: the handler's reply has control bytes", "result: " + 1000 * "x", too_long, too_long,
            "ERROR: the handler's reply has control bytes", "result: after"])

    def test_exceptions(self):
        """Fails when an exception of a handler ends the process, or its text reaches a client."""
        server = self.start_plugin("unruly", "--workers=1")
        client = self.connect(server)
        client.send("throw", "echo x", "throw", "echo y")
        self.assertEqual(client.lines(4), ["ERROR: internal error", "result: x", "ERROR: internal error", "result: y"])
        self.assertEqual(server.stats()["errors"], 2)

    def test_stop_token(self):
        """Fails when a handler is not told that its task timed out, or that its client has gone."""
        server = self.start_plugin("unruly", "--workers=1", "--task-timeout=200ms")
        self.assertEqual(self.connect(server).ask("wait"), "ERROR: timed out after 200 ms")
        server.wait_for_stats(lambda s: s["dropped"] == 1, "the task has ended")
        server = self.start_plugin("unruly", "--workers=1")
        client = self.connect(server)
        client.send("wait")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the task runs")
        client.reset()
        server.wait_for_stats(lambda s: s["active_workers"] == 0, "the task has ended")


class IsolatedRequests(Requests):
    ISOLATE = "yes"


class Instances(PluginTestCase):
    def numbers(self, server):
        client = self.connect(server)
        client.send(*["instance 100"] * 8)
        return set(client.lines(8))

    def test_one_for_each_worker(self):
        """Fails when two workers share an instance that is not to be shared, or one changes its own."""
        server = self.start_plugin("unruly", "--workers=4")
        server.wait_for_workers(4)
        self.assertEqual(len(self.numbers(server)), 4)

    def test_one_for_all(self):
        """Fails when a handler that wants one instance gets several."""
        server = self.start_plugin("unruly_shared", "--workers=4")
        server.wait_for_workers(4)
        self.assertEqual(self.numbers(server), {"result: 0"})

    def test_all_are_destroyed(self):
        """Fails when an instance is not destroyed, or is twice, at a stop or when the pool shrinks."""
        for name, made in (("unruly", 4), ("unruly_shared", 1)):
            with self.subTest(name=name):
                journal = Path(self.temporary_directory()) / "journal"
                server = self.start_plugin(name, f"--handler-option=journal={journal}", "--workers=1-4",
                                           "--worker-idle-timeout=100ms")
                client = self.connect(server)
                client.send(*["instance 300"] * 4)
                client.lines(4)
                server.wait_for_stats(lambda s: s["workers"] == 1, "the pool has shrunk")
                self.assertEqual(server.stop(), 0)
                lines = journal.read_text().split()
                self.assertEqual(lines.count("create"), lines.count("destroy"))
                self.assertEqual(lines.count("create"), made)
                self.assertEqual(lines[-1], "destroy")


class IsolatedInstances(Instances):
    ISOLATE = "yes"

    def test_one_for_each_worker(self):
        """Fails when an instance is made where it is not used: each process counts its own."""
        self.assertEqual(self.numbers(self.start_plugin("unruly", "--workers=4")), {"result: 0"})


class Refused(ServerTestCase):
    def check(self, name, *options, told, status=RUNTIME_ERROR):
        """The server does not get ready, and one line says why."""
        with tempfile.TemporaryDirectory() as directory:
            notify = NotifySocket(f"{directory}/notify")
            try:
                ended = run_to_end("--listen=127.0.0.1:0", f"--handler={name}", *options,
                                   env={"NOTIFY_SOCKET": notify.path})
            finally:
                notify.close()
            self.assertEqual(ended.returncode, status, ended.stderr)
            lines = [line for line in ended.stderr.splitlines() if " info " not in line]
            self.assertEqual(len(lines), 1, ended.stderr)
            self.assertRegex(lines[0], told)
            self.assertFalse(notify.named("READY"))

    def test_what_cannot_be_loaded(self):
        """Fails when a handler that cannot work is found out by a client, or not told by its name."""
        text = Path(self.temporary_directory()) / "text.so"
        text.write_text("this is no shared object")
        self.check("/nonexistent/handler.so", told="/nonexistent/handler.so.*cannot be loaded.*No such file")
        self.check(text, told="text.so.*cannot be loaded.*(invalid ELF header|file too short)")
        self.check(plugin("no_handler"), told="no_handler.so' is no handler: .*pool_server_handler_entry")
        self.check(plugin("other_version"),
                   told="was built for version 4711 of the handler interface.* versions 1 to 2$")
        self.check("nosuch", told="no handler 'nosuch'.*digest", status=USAGE_ERROR)

    def test_what_does_not_start(self):
        """Fails when a handler that refuses its options is started all the same."""
        for name in ("unruly", "unruly_shared"):
            path = plugin(name)
            self.check(path, "--handler-option=broken=yes", told=f"{name}.so' cannot start: broken, as asked$")
            self.check(path, "--handler-option=nosuch=1", told="cannot start: there is no option 'nosuch'$")
        self.check(plugin("plain"), "--handler-option=any=1", told="cannot start: it takes no options$")
        for built_in in ("digest", "drill", "password"):
            self.check(built_in, "--handler-option=nosuch=1",
                       told=f"handler '{built_in}' cannot start: there is no option 'nosuch'$",
                       status=USAGE_ERROR)  # which a plug-in's is not: it may be about what it found outside

    def test_options_without_a_key(self):
        """Fails when --handler-option takes what is no KEY=VALUE."""
        for setting in ("", "x", "=x", "a=b\nc=d"):
            ended = run_to_end(f"--handler-option={setting}")
            self.assertEqual(ended.returncode, USAGE_ERROR)
            self.assertIn("--handler-option", ended.stderr)

    def test_check_config(self):
        """Fails when --check-config finds a configuration in order with which no server could start."""
        config = Path(self.temporary_directory()) / "config"
        config.parent.chmod(0o755)  # what only root may read, a check by root refuses
        for settings, told in ((f"handler={plugin('unruly')}\n", None),
                               ("handler=/nonexistent.so\n", "cannot be loaded"),
                               (f"handler={plugin('unruly')}\nhandler-option=broken=yes\n", "broken, as asked"),
                               ("handler=password\nhandler-option=cost=1000\n", "cost '1000'")):
            config.write_text(settings)
            ended = run_to_end("--check-config", str(config))
            self.assertEqual(ended.returncode, RUNTIME_ERROR if told else 0, ended.stderr)
            self.assertIn(told or "", ended.stderr)


class Logs(PluginTestCase):
    def test_lines(self):
        """Fails when what a handler logs is lost, is told under another's name, or cannot be told from our own."""
        for level in ("error", "warning", "info", "debug"):
            server = self.start_plugin("unruly", "--workers=1", "--log-level=debug")
            self.assertEqual(self.connect(server).ask("echo x"), "result: x")
            self.assertEqual(self.connect(server).ask(f"log {level} a {level}\x1b[1m"), "result: logged")
            server.wait_for_log(rf"{level} \[worker-0\] task 2 of connection 2: a {level}\?\[1m$")
        server = self.start_plugin("plain")
        self.assertEqual(self.connect(server).ask("from C"), "result: from C")
        server.wait_for_log(r"info \[worker-\d\] task 1 of connection 1: from C$")

    def test_levels(self):
        """Fails when lines below --log-level are told."""
        server = self.start_plugin("unruly", "--log-level=warning", listen=(f"{self.temporary_directory()}/socket",))
        client = self.connect(server)
        client.send("log debug one", "log info two", "log error three")
        self.assertEqual(client.lines(3), ["result: logged"] * 3)
        server.wait_for_log("error .*three")
        self.assertEqual(server.log_lines("one|two"), [])

    def test_too_much(self):
        """Fails when one task fills the log or memory, or what was left out is not told."""
        server = self.start_plugin("unruly", "--workers=1")
        client = self.connect(server)
        self.assertEqual(client.ask("log-much 100000"), "result: logged")
        server.wait_for_log(r"warning \[worker-0\] task 1 of connection 1: 9999200 bytes more of the handler's log")
        self.assertLessEqual(len(server.log_lines("xxx")), 8)
        self.assertEqual(client.ask("echo x"), "result: x")

    def test_what_is_thrown(self):
        """Fails when the log does not tell why a handler failed, or its client is told."""
        server = self.start_plugin("unruly", "--workers=1")
        client = self.connect(server)
        self.assertEqual(client.ask("throw up\x1b"), "ERROR: internal error")
        server.wait_for_log(r"warning \[worker-0\] task 1 of connection 1: the handler failed: not for clients: up\?$")
        server = self.start_plugin("unruly", "--workers=1")
        self.assertEqual(self.connect(server).ask("throw-int"), "ERROR: internal error")
        server.wait_for_log("task 1 of connection 1: the handler failed: an exception of unknown type$")
        server = self.start("--workers=1")  # one that is built in
        self.assertEqual(self.connect(server).ask("throw"), "ERROR: internal error")
        server.wait_for_log("task 1 of connection 1: the handler failed: thrown as asked$")


class IsolatedLogs(Logs):
    ISOLATE = "yes"


class Exits(PluginTestCase):
    def test_in_a_task(self):
        """Fails when a handler that ends the process does so with status 0, in silence, or with a crash."""
        for request, call in (("exit 0", r"exit\(0\)"), ("exit 3", r"exit\(3\)"), ("quick-exit", r"quick_exit\(\)")):
            for name in ("unruly", "unruly_shared"):
                with self.subTest(request=request, name=name):
                    server = self.start_plugin(name, "--workers=4")
                    client = self.connect(server)
                    self.assertEqual(client.ask("echo x"), "result: x")
                    client.send(request)
                    self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
                    server.kill()  # it is gone, as was asked
                    told = rf"(?m)^pool-server: handler '.*{name}.so' ended the process by {call} " \
                           r"on worker-\d, task 2 of connection 1$"
                    self.assertEqual(len(re.findall(told, server.log())), 1, server.log())

    def test_at_the_start(self):
        """Fails when a handler that ends the process while it starts makes a start or a check succeed."""
        options = (f"--handler={plugin('unruly')}", "--handler-option=exit=yes", "--isolate=no")
        ended = run_to_end("--listen=127.0.0.1:0", *options)
        self.assertEqual(ended.returncode, RUNTIME_ERROR)
        self.assertRegex(ended.stderr, r"(?m)^pool-server: handler '.*unruly.so' ended the process by exit\(0\)")
        config = Path(self.temporary_directory()) / "config"
        config.write_text(f"handler={plugin('unruly')}\nhandler-option=exit=yes\n")
        ended = run_to_end("--check-config", str(config))
        self.assertEqual(ended.returncode, RUNTIME_ERROR)
        self.assertRegex(ended.stderr, r"(?m)^pool-server: a handler ended the process by exit\(0\)")


class Reloads(PluginTestCase):
    def test_another_handler_takes_a_restart(self):
        """Fails when a reload changes the handler or its options, or does not say that it does not."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text(f"handler={plugin('unruly')}\nisolate=no\nhandler-option=prefix=1\nworkers=1-2\n")
        server = self.start(f"--config={config}", handler=None)
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: 1x")
        config.write_text(f"handler={plugin('unruly')}\nisolate=no\nhandler-option=prefix=2\nmax-reply=1\nworkers=1-2\n")
        server.signal(signal.SIGHUP)
        server.wait_for_log("configuration reloaded")
        self.assertTrue(server.log_lines("new values of handler-option, max-reply take a restart"))
        self.assertEqual(client.ask("echo x"), "result: 1x")


class Crashes(PluginTestCase):
    def setUp(self):
        super().setUp()
        if sanitizer():
            self.skipTest("a sanitizer tells of crashes in its own way")

    def crash(self, server, request, by):
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        client.send(request)
        self.assertEqual(server.wait_exit(), -by)
        server.kill()  # it is gone, as was asked

    def test_the_message_tells_where(self):
        """Fails when a crash is not told with its handler, worker and task, or is not a crash any more."""
        for request, by in (("segv", signal.SIGSEGV), ("abort", signal.SIGABRT), ("stack", signal.SIGSEGV)):
            with self.subTest(request=request):
                server = self.start_plugin("unruly", "--workers=1", limits={"CORE": 0})
                server.wait_for_workers(1)
                self.crash(server, request, by)
                self.assertRegex(server.log(), rf"(?m)^pool-server: crashed by {by.name} in handler "
                                               rf"'{re.escape(plugin('unruly'))}' on worker-0, "
                                               r"task 2 of connection 1$")

    def test_the_message_has_the_last_log_line(self):
        """Fails when a crash does not tell what the handler logged last, or tells that of another task."""
        for request, told in (("segv \x1bfactor \xe9", r", having logged: \?factor \xe9"), ("segv", "")):
            with self.subTest(request=request):
                server = self.start_plugin("unruly", "--workers=1", limits={"CORE": 0})
                self.assertEqual(self.connect(server).ask("log info of another task"), "result: logged")
                self.crash(server, request, signal.SIGSEGV)
                self.assertRegex(server.log(), rf"(?m)^pool-server: crashed by SIGSEGV .* on worker-0, task 3 of "
                                               rf"connection 2{told}$")

    def test_a_signal_from_outside(self):
        """Fails when a fault signal that another process sends is not obeyed, or the handler is blamed for it."""
        for number in (signal.SIGSEGV, signal.SIGABRT):
            with self.subTest(number=number):
                server = self.start_plugin("unruly", "--workers=1", limits={"CORE": 0})
                client = self.connect(server)
                self.assertEqual(client.ask("echo x"), "result: x")
                server.signal(number)
                self.assertEqual(server.wait_exit(), -number)
                server.kill()
                self.assertRegex(server.log(), rf"(?m)^pool-server: ended by {number.name} of the watchdog or "
                                               rf"another process \({os.getpid()}\)$")
                self.assertNotIn("crashed", server.log())

    def test_nobody_reads_the_message(self):
        """Fails when a crash waits for whoever should read standard error."""
        readable, writable = os.pipe()
        self.addCleanup(os.close, readable)
        path = f"{self.temporary_directory()}/socket"
        server = self.launch(f"--handler={plugin('unruly')}", "--isolate=no", "--workers=1", handler=None, listen=(path,),
                             stderr=writable, limits={"CORE": 0})
        wait_until(lambda: server.notify.named("READY"), "the server gets ready")
        os.set_blocking(writable, False)
        try:
            while True:
                os.write(writable, b"x" * 4096)
        except BlockingIOError:
            pass
        finally:
            os.close(writable)
        self.crash(server, "segv", signal.SIGSEGV)


class InTheJournal(JournalTestCase):
    def start_with_plugin(self):
        return self.start_with_journal("stderr", f"--handler={plugin('unruly')}", "--isolate=no", "--workers=1", handler=None)

    def where(self, record):
        return tuple(record["POOL_SERVER_" + name] for name in ("WORKER", "TASK", "CONNECTION"))

    def test_what_handlers_say(self):
        """Fails when a handler's lines and failures are no events, or lack what they are asked by."""
        server, journal, _ = self.start_with_plugin()
        client = self.connect(server)
        records = self.records(journal)  # its socket takes but a few at a time
        for request, reply in (("log error some text", "result: logged"), ("throw", "ERROR: internal error"),
                               ("log-much 1", "result: logged"), (f"log info {2000 * 'x'}", "result: logged")):
            self.assertEqual(client.ask(request), reply)
            records += self.records(journal)
        self.assertEqual(server.stop(), 0)
        events = {record["POOL_SERVER_EVENT"]: record for record in reversed(records + self.records(journal))}
        said, thrown, cut = events["handler-log"], events["handler-threw"], events["handler-log-cut"]
        self.assertEqual((said["PRIORITY"], *self.where(said)), ("3", "worker-0", "1", "1"))
        self.assertIn("some text", said["MESSAGE"])
        self.assertEqual((thrown["PRIORITY"], *self.where(thrown)), ("4", "worker-0", "2", "1"))
        self.assertIn("not for clients", thrown["MESSAGE"])
        self.assertEqual((cut["PRIORITY"], *self.where(cut)), ("4", "worker-0", "4", "1"))

    def test_exit(self):
        """Fails when a handler that ends the process is no event in the journal, or lacks what it is asked by."""
        server, journal, stderr = self.start_with_plugin()
        self.connect(server).send("exit 0")
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        server.kill()
        last = self.records(journal)[-1]
        self.assertEqual(last["POOL_SERVER_EVENT"], "handler-exited")
        self.assertEqual((last["PRIORITY"], *self.where(last)), ("2", "worker-0", "1", "1"))
        self.assertEqual(last["POOL_SERVER_HANDLER"], plugin("unruly"))
        with open(stderr) as file:
            self.assertEqual(file.read(), "")


class CrashesInTheJournal(JournalTestCase):
    def test_crash(self):
        """Fails when a crash is no event in the journal, or lacks what it is asked by."""
        if sanitizer():
            self.skipTest("a sanitizer tells of crashes in its own way")
        server, journal, stderr = self.start_with_journal("stderr", f"--handler={plugin('unruly')}", "--isolate=no",
                                                         "--workers=1", handler=None)
        client = self.connect(server)
        client.send("segv")
        self.assertEqual(server.wait_exit(), -signal.SIGSEGV)
        server.kill()
        last = self.records(journal)[-1]
        self.assertEqual(last["POOL_SERVER_EVENT"], "crashed")
        self.assertEqual(last["PRIORITY"], "2")
        self.assertEqual(last["SYSLOG_IDENTIFIER"], "pool-server")
        self.assertEqual(last["POOL_SERVER_HANDLER"], plugin("unruly"))
        self.assertEqual(last["POOL_SERVER_WORKER"], "worker-0")
        self.assertEqual(last["POOL_SERVER_TASK"], "1")
        self.assertEqual(last["POOL_SERVER_CONNECTION"], "1")
        self.assertRegex(last["MESSAGE_ID"], "^[0-9a-f]{32}$")
        self.assertIn("crashed by SIGSEGV", last["MESSAGE"])
        with open(stderr) as file:
            self.assertEqual(file.read(), "")
