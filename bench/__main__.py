"""`python -m bench`: measure the proxy beside its peers, and write the report."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from .payloads import EXPORT_BYTES
from .peers import PEERS, default_peers
from .processes import LOAD_CPU, pin
from .report import machine, markdown, write_report
from .rounds import CONNECTIONS, SCENARIOS, Effort, measure


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all peers [%(default)s]")
    parser.add_argument("--seconds", type=int, default=1, help="seconds of each slot of wrk [%(default)s]")
    parser.add_argument(
        "--quick", action="store_true", help="one round, an export of 20 MB: does it work at all?"
    )
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument(
        "--upstream", action="append", choices=SCENARIOS, help="only before this kind; repeatable"
    )
    parser.add_argument(
        "--connections", action="append", type=int, choices=CONNECTIONS, help="only this many; repeatable"
    )
    parser.add_argument("--out", type=Path, help="folder for results.md, results.json and charts")
    arguments = parser.parse_args()
    names = {peer.name for peer in PEERS}
    if unknown := set(arguments.peer) - names:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; known are {', '.join(sorted(names))}")
    if not shutil.which("wrk") or not shutil.which("nginx"):
        parser.error("wrk and nginx are needed: apt install wrk nginx")
    effort = Effort(
        rounds=1 if arguments.quick else arguments.rounds,
        seconds=arguments.seconds,
        export_bytes=EXPORT_BYTES // 10 if arguments.quick else EXPORT_BYTES,
        scenarios=arguments.upstream or SCENARIOS,
        connections=arguments.connections or CONNECTIONS,
    )
    told = machine()
    pin(LOAD_CPU)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = measure(
            Path(folder),
            effort,
            default_peers(arguments.peer),
            tell=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
        )
    method = (
        f"{effort.rounds} rounds of {effort.seconds} s slots, all proxies up at once on processor 0, wrk and the "
        f"upstream on processor 1, token of 1.2 KB, export of {effort.export_bytes / 1e6:.0f} MB, loopback."
    )
    if arguments.out:
        write_report(results, arguments.out, told, method)
    print(markdown(results, told, method))  # noqa: T201


if __name__ == "__main__":
    main()
