"""`make faults`: see `--help`."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from clickstream.runtime.arguments import at_least_one
from devstack import DevstackError
from devstack.interrupt import interrupt_on
from faults.errors import HarnessError
from faults.kinds import ALL
from faults.plan import chosen, plan
from faults.report import report
from faults.run import run
from faults.servers import Servers
from faults.settings import SIZES, Settings
from faults.timeline import Timeline

_DESCRIPTION = """\
Send clicks through the whole data plane on real servers while everything around it fails, then look every click up
in both stores, and compute sessions and rollups anew.
"""

_EPILOG = """\
exit status: 0 nothing was lost, doubled or wrong; 1 something was; 2 wrong usage; 3 the harness itself failed.
Full disks need root (a tmpfs is mounted). The last line of standard output is one JSON object.
"""


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    interrupt_on(signal.SIGTERM)
    if options.list:
        families = Counter(fault.family for fault in ALL)
        sys.stdout.write("".join(f"{fault.family:<10} {fault.name}\n" for fault in ALL))
        sys.stdout.write(f"{len(ALL)} faults: {', '.join(f'{n} {family}' for family, n in families.items())}\n")
        return 0
    size = SIZES[options.size]
    if options.clicks is not None:
        size = replace(size, clicks=options.clicks)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    home = Path(tempfile.mkdtemp(prefix="clickstream-faults-"))
    faults = plan(chosen(ALL, options.only), options.faults or size.faults, seed, rare=size.rare or bool(options.only))
    timeline = Timeline(home / "timeline")
    timeline.say(f"size {options.size}, seed {seed}: {size.clicks:,} clicks at {size.rate:.0f}/s, {len(faults)} faults")
    failed = True
    try:
        servers = Servers(home / "servers")
        try:
            result = run(servers, Settings(size, seed, home), timeline, faults, options.size)
        finally:
            servers.close()
        failed = not result.ok
        sys.stderr.write(report(result))
        sys.stdout.write(json.dumps({"size": options.size, "seed": seed, **result.figures()}) + "\n")
    except (HarnessError, DevstackError) as error:
        sys.stderr.write(f"the harness failed, which says nothing about the platform: {error}\n")
        return 3
    finally:
        if failed or options.keep:
            sys.stderr.write(f"logs, ledger and timeline: {home}\n")
        else:
            shutil.rmtree(home)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make faults",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="s", help="s: some minutes; l: half an hour (s)")
    parser.add_argument("--seed", type=int, help="the same visitors, faults and poison again (a new one)")
    parser.add_argument("--clicks", type=at_least_one, help="so many distinct clicks instead of the size's number")
    parser.add_argument("--faults", type=at_least_one, help="so many faults instead of the size's number")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PREFIX", help="only this family, or these faults"
    )
    parser.add_argument("--list", action="store_true", help="name every fault, and do nothing")
    parser.add_argument("--keep", action="store_true", help="keep logs, ledger and timeline, also when all is well")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
