"""Clients behind a proxy that tells who they are: limits, the log and a restart see them, and not the proxy."""

import signal
import struct
import unittest

from client import Client
from harness import ServerTestCase, has_ipv6, parse_stats
from manager import RestartTestCase
from timing import let_pass, wait_until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
NO_HEADER = "ERROR: no valid PROXY header"
TOO_MANY_OF_ONE = "ERROR: too many connections from this client"


def version_1(host="192.0.2.1", port=4711):
    family = "TCP6" if ":" in host else "TCP4"
    other = "::1" if ":" in host else "127.0.0.1"
    return f"PROXY {family} {host} {other} {port} 9090\r\n".encode()


def version_2(host="192.0.2.1", port=4711, tlvs=b""):
    addresses = bytes(map(int, host.split("."))) + b"\x7f\0\0\1" + struct.pack("!HH", port, 9090)
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(addresses + tlvs)) + addresses + tlvs


LOCAL = SIGNATURE + b"\x20\0\0\0"


class Through(ServerTestCase):
    def start_proxied(self, *options, **settings):
        return self.start("--proxy-protocol=yes", "--log-connections=yes", *options, **settings)

    def through(self, server, header, **settings):
        """A client of a proxy that begins with this header."""
        client = self.connect(server, **settings)
        client.send_bytes(header)
        return client


class WhoTheClientIs(Through):
    def test_both_versions(self):
        """Fails when a header is taken for a request, or the log does not say who is behind the proxy."""
        server = self.start_proxied()
        for header, who in ((version_1(), "192.0.2.1:4711"), (version_2("192.0.2.2"), "192.0.2.2:4711"),
                            (version_1("2001:db8::1"), r"\[2001:db8::1\]:4711"),
                            (version_2("192.0.2.3", tlvs=b"\x05\0\4uniq"), "192.0.2.3:4711")):
            client = self.through(server, header + b"echo one\necho two\n")
            self.assertEqual(client.lines(2), ["result: one", "result: two"])
            server.wait_for_log(f"connection [0-9]+ from {who}, through 127.0.0.1:")
            client.close()

    def test_the_proxy_itself(self):
        """Fails when a health check of the proxy's, which is nobody else's, is refused."""
        server = self.start_proxied()
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            client = self.through(server, header + b"echo checked\n")
            self.assertEqual(client.line(), "result: checked")
            client.close()
        self.assertEqual(len(server.log_lines("through")), 0)
        silent = self.connect(server)  # a check that connects and leaves
        silent.finish()
        self.assertEqual(silent.rest(), [])
        self.assertEqual(server.log_lines("warning"), [])

    def test_in_pieces(self):
        """Fails when a header that comes a byte at a time, beside others, is lost or held against its client."""
        server = self.start_proxied()
        data = version_2() + b"echo in pieces\n"
        clients = [self.connect(server) for _ in range(8)]
        for at in range(len(data)):
            for client in clients:
                client.send_bytes(data[at:at + 1])
        for client in clients:
            self.assertEqual(client.line(), "result: in pieces")

    def test_half_close(self):
        """Fails when a client that sends all it has and ends is not answered through a proxy."""
        server = self.start_proxied()
        client = self.through(server, version_1() + b"echo last")
        client.finish()
        self.assertEqual(client.rest(), ["result: last"])

    def test_unix(self):
        """Fails when a proxy on this machine cannot come by a unix socket."""
        path = f"{self.temporary_directory()}/socket"
        server = self.start_proxied(listen=(path,))
        client = self.through(server, version_2() + b"echo local\n")
        self.assertEqual(client.line(), "result: local")
        server.wait_for_log("from 192.0.2.1:4711, through unix")


class Refusals(Through):
    HOSTILE = (b"good data\n", b"\n", b"STATS\n", b"\x16\x03\x01\x02\0\x01", b"GET / HTTP/1.1\r\n\r\n",
               b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 999.2.0.1 1.2.3.4 1 2\r\n", b"PROXY UNKNOWN\n",
               b"PROXY UNKNOWN " + b"x" * 5000, SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
               SIGNATURE + b"\x21\x11\0\x01\0", SIGNATURE + b"\x21\x11\xff\xff", version_1()[:-1] + b"x")

    def test_hostile_headers(self):
        """Fails when what is no header is served, left without a word, or not counted."""
        server = self.start_proxied()
        for header in self.HOSTILE:
            client = self.through(server, header)
            self.assertEqual(client.rest(), [NO_HEADER], header)
            client.close()
        half = self.through(server, version_2()[:20])
        half.finish()
        self.assertEqual(half.rest(), [NO_HEADER])
        server.wait_for_log("warning .*refusing connection [0-9]+: what comes from 127.0.0.1:[0-9]+, a proxy,")
        good = self.through(server, LOCAL)
        stats = parse_stats(good.ask("STATS"))
        self.assertEqual(stats["refused"], len(self.HOSTILE) + 1)
        self.assertEqual((stats["completed"], stats["errors"]), (0, 0))
        wait_until(lambda: parse_stats(good.ask("STATS"))["connections"] == 1, "the refused are gone")

    def test_slow_header(self):
        """Fails when who connects and sends no header, or half of one, holds a connection for ever."""
        server = self.start_proxied("--line-timeout=300ms")
        silent, half = self.connect(server), self.through(server, b"PROXY TC")
        for client in (silent, half):
            self.assertEqual(client.rest(), ["ERROR: request not completed in time"])
        patient = self.through(server, version_1())
        server.wait_for_log("from 192.0.2.1")
        let_pass(0.4)
        self.assertEqual(patient.ask("echo still"), "result: still")

    def test_unlisted_sources(self):
        """Fails when somebody who is no proxy of ours can say who he is, or a proxy must not."""
        server = self.start_proxied("--proxy-source=127.0.0.2", "--proxy-source=2001:db8::/32")
        liar = self.through(server, version_1("198.51.100.1") + b"echo mine\n")
        liar_replies = liar.lines(2)
        self.assertEqual(liar_replies[1], "result: mine")
        self.assertNotEqual(liar_replies[0], NO_HEADER)  # to who is no proxy it is a line like any other
        server.wait_for_log("connection [0-9]+ from 127.0.0.1:[0-9]+$")
        self.assertEqual(server.log_lines("198.51.100.1"), [])
        proxy = self.through(server, version_1() + b"echo forwarded\n", source="127.0.0.2")
        self.assertEqual(proxy.line(), "result: forwarded")
        self.assertEqual(self.through(server, b"echo bare\n", source="127.0.0.2").rest(), [NO_HEADER])

    @unittest.skipUnless(has_ipv6(), "there is no IPv6 here")
    def test_sources_over_ipv6(self):
        """Fails when who may tell of others is not looked up among the IPv6 sources."""
        for source, is_proxy in (("::/64", True), ("::2", False)):
            server = self.start_proxied(f"--proxy-source={source}", listen=["[::1]:0"])
            reply = self.through(server, version_1("2001:db8::1") + b"echo forwarded\n").line()
            self.assertEqual(reply == "result: forwarded", is_proxy, reply)
            self.assertEqual(len(server.log_lines(r"from \[2001:db8::1\]:4711, through \[::1\]:")), is_proxy)

    def test_off_by_default(self):
        """Fails when a server that was not told of proxies believes a header."""
        server = self.start("--log-connections=yes")
        client = self.connect(server)
        client.send_bytes(version_1() + b"echo x\n")
        self.assertEqual(client.lines(2)[1], "result: x")
        self.assertEqual(server.log_lines("192.0.2.1:"), [])


class LimitsBehindAProxy(Through):
    def test_per_peer(self):
        """Fails when the clients of a proxy count as one, or one of them can have more than its share."""
        server = self.start_proxied("--max-connections-per-peer=2")
        for host in ("192.0.2.1", "192.0.2.2"):
            mine = [self.through(server, version_2(host) + b"echo in\n") for _ in range(2)]
            self.assertEqual([client.line() for client in mine], ["result: in"] * 2)
            self.assertEqual(self.through(server, version_2(host) + b"echo in\n").rest(), [TOO_MANY_OF_ONE])
            mine[0].close()
            again = wait_until(lambda host=host: self.let_in(server, host), "the place became free")
            self.assertEqual(again.ask("echo in"), "result: in")
        server.wait_for_log("refusing connections, 2 are open, this one from 192.0.2.1:4711: too many")

    def let_in(self, server, host):
        client = Client(server.address)
        self.addCleanup(client.close)
        client.send_bytes(version_2(host) + b"echo in\n")
        return client if client.line() == "result: in" else None

    def reload(self, server):
        before = len(server.log_lines("configuration reloaded"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(server.log_lines("configuration reloaded")) > before, "it has reloaded")

    def test_reload(self):
        """Fails when a limit, or the proxies, that are set while clients are here count the wrong ones."""
        config = f"{self.temporary_directory()}/conf"

        def write(text):
            with open(config, "w", encoding="utf-8") as file:
                file.write(f"handler=drill\nproxy-protocol=yes\n{text}\n")
        write("")
        server = self.start(f"--config={config}", handler=None)
        here = [self.through(server, version_1(host) + b"echo in\n") for host in ("192.0.2.1", "192.0.2.1", "192.0.2.9")]
        for client in here:
            self.assertEqual(client.line(), "result: in")
        begun = self.through(server, b"PROXY ")
        write("max-connections-per-peer=2")
        self.reload(server)
        self.assertEqual(self.through(server, version_1("192.0.2.1")).rest(), [TOO_MANY_OF_ONE])
        begun.send_bytes(version_1("192.0.2.9")[6:] + b"echo in\n")
        self.assertEqual(begun.line(), "result: in")
        self.assertEqual(self.through(server, version_1("192.0.2.9")).rest(), [TOO_MANY_OF_ONE])
        write("proxy-source=192.0.2.1")
        self.reload(server)
        self.assertEqual(self.connect(server).ask("echo no proxy"), "result: no proxy")
        for client in here:
            self.assertEqual(client.ask("echo still in"), "result: still in")


class OverARestart(RestartTestCase):
    OPTIONS = ("--proxy-protocol=yes", "--max-connections-per-peer=2", "--log-connections=yes")

    def test_stays_known(self):
        """Fails when a restart forgets who is behind the proxy, or cuts a header that is on its way."""
        server = self.start_next(*self.OPTIONS)
        known = []
        for kind in ("tcp", "unix"):
            known.append(self.meet(kind))
            known[-1].send_bytes(version_2() + b"echo in\n")
            self.assertEqual(known[-1].line(), "result: in")
        begun = []
        for cut in (0, 1, 11, 15, 27):
            begun.append((self.meet(), version_2(f"192.0.2.{10 + cut}"), cut))
            begun[-1][0].send_bytes(begun[-1][1][:cut])
        server.wait_for_log("connection 2 from")
        for number in range(3):
            self.restart(*self.OPTIONS)
            for client in known:
                self.assertEqual(client.ask("echo again"), "result: again")
            third = self.meet()
            third.send_bytes(version_2() + b"echo in\n")
            self.assertEqual(third.rest(), [TOO_MANY_OF_ONE], f"after {number} restarts")
        for client, header, cut in begun:
            client.send_bytes(header[cut:] + b"echo whole\n")
            self.assertEqual(client.line(), "result: whole")
            self.server.wait_for_log(rf"from 192.0.2.{10 + cut}:4711, through")
