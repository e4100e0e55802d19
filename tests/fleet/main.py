"""tests/fleet/run [--list] [--server PATH] [--loopback] [CASE ...]

Three servers behind the real HAProxy, configured by examples/haproxy/haproxy.cfg, and what happens to clients when
machines are restarted, upgraded, stopped, killed, slowed and drowned in work. Prints a table with a row for each case.
  --list       prints the names of the cases
  --server     the server to test; by default that of ./build
  --loopback   addresses of the loopback, even where network namespaces can be had
Exit status 0: every case passed; 77: none could be tried. POOL_SERVER_SLOWDOWN stretches time bounds on a slow machine.
"""

import argparse
import os
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))
arguments = argparse.ArgumentParser(usage=__doc__)
arguments.add_argument("--list", action="store_true")
arguments.add_argument("--server", type=Path, default=HERE.parents[1] / "build/src/pool-server")
arguments.add_argument("--loopback", action="store_true")
arguments.add_argument("cases", nargs="*", metavar="CASE")
options = arguments.parse_args()
if not options.list:
    os.environ["POOL_SERVER_BINARY"] = str(options.server.resolve(strict=True))

import cases  # noqa: E402
from balancer import PROGRAM, make_certificates  # noqa: E402
from network import make_network  # noqa: E402
from timing import Stopwatch  # noqa: E402

COLUMNS = ("case", "connections", "requests", "lost", "doubled", "wrong", "longest pause", "figures", "verdict")


class Setting:
    """What all cases share: the network, and a directory with certificates."""

    def __init__(self, directory):
        self.network = make_network(options.loopback)
        self._directory = Path(directory)
        self.certificates = self.directory("certificates")
        make_certificates(self.certificates)

    def directory(self, name):
        path = self._directory / name
        path.mkdir()
        return path


def run(name, setting):
    """One case, and its row for the table."""
    row, watch = cases.Row(), Stopwatch()
    try:
        cases.CASES[name](setting, row)
        row.require_sound()
    except Exception as error:  # the other cases go on
        traceback.print_exc(file=sys.stdout)
        row.faults.append(str(error) or repr(error))
    for fault in row.faults:
        print(f"FAIL {name}: {fault}")
    print(f"{name}: {watch.seconds:.1f} s", flush=True)
    pause = "" if row.pause is None else cases.ms(row.pause)
    verdict = "FAIL" if row.faults else "not tried" if row.impossible else "pass"
    return (name, row.connections, row.requests, row.lost, row.doubled, row.wrong, pause,
            row.impossible or ", ".join(row.figures), verdict)


def main():
    names = options.cases or list(cases.CASES)
    if options.list:
        print("\n".join(cases.CASES))
        return 0
    if unknown := set(names) - cases.CASES.keys():
        arguments.error(f"no such case: {', '.join(sorted(unknown))}")
    if not Path(PROGRAM).exists():
        print(f"there is no {PROGRAM}: see tools/install-dependencies")
        return 1
    with tempfile.TemporaryDirectory(prefix="pool-server-fleet-") as directory:
        setting = Setting(directory)
        print(f"HAProxy and three servers, on {setting.network.name}", flush=True)
        rows = [run(name, setting) for name in names]
    print()
    for row in (COLUMNS, ["---"] * len(COLUMNS), *rows):
        print("| " + " | ".join(map(str, row)) + " |")
    verdicts = {row[-1] for row in rows}
    return 1 if "FAIL" in verdicts else 0 if "pass" in verdicts else 77


sys.exit(main())
