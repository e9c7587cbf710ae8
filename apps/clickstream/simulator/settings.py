"""The settings of `clickstream simulate`: its flags, and the write key from the environment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clickstream.runtime.arguments import at_least_one, number, rate, share
from clickstream.simulator.sender import Target
from clickstream.simulator.traffic import Mix


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """All settings. `seconds` and `events` None: until it is stopped."""

    target: Target
    mix: Mix
    rate: float
    batch: int
    single_share: float
    linger_s: float
    seconds: float | None
    events: int | None
    seed: int | None
    origin: str
    products: Path | None
    ledger: Path | None
    quiet: bool


def read_settings(arguments: list[str], env: Mapping[str, str]) -> SimulatorSettings:
    """Parse the command line; ends the process with status 2 and a message when it is wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    key = given.key or env.get("CLICKSTREAM_WRITE_KEY")
    if not key:
        parser.error("no write key: give --key or set CLICKSTREAM_WRITE_KEY")
    return SimulatorSettings(
        target=Target(
            url=given.url.rstrip("/"),
            write_key=key,
            connections=given.connections,
            gzip=given.gzip,
            give_up_after_s=given.give_up_after,
        ),
        mix=Mix(
            repeated=given.repeated,
            delayed=given.delayed,
            spoiled=given.spoiled,
            crawlers=given.crawlers,
            time_scale=given.time_scale,
        ),
        rate=given.rate,
        batch=given.batch,
        single_share=given.single_share,
        linger_s=given.linger,
        seconds=given.seconds,
        events=given.events,
        seed=given.seed,
        origin=given.origin.rstrip("/"),
        products=given.products,
        ledger=given.ledger,
        quiet=given.quiet,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clickstream simulate",
        description="Send the clicks of simulated shop visitors to a tracking API, on a schedule that never waits.",
        epilog="The last line of output is one JSON object. The write key may also come from CLICKSTREAM_WRITE_KEY. "
        "Exit status: 0 done, 1 the address or the key was refused or nothing was delivered, 2 wrong usage.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    where = parser.add_argument_group("where to")
    where.add_argument("--url", required=True, help="address of the tracking API, such as http://127.0.0.1:8080")
    where.add_argument("--key", help="write key of a source")
    where.add_argument("--connections", type=number(int, 1, 4_096), default=32, help="most connections at once")
    where.add_argument("--gzip", action="store_true", help="compress bodies")
    where.add_argument("--give-up-after", type=number(float, 0.0, 3_600.0), default=30.0, metavar="SECONDS",
                       help="stop trying an event again; without an answer it is then unknown")  # fmt: skip
    how = parser.add_argument_group("how much")
    how.add_argument("--rate", type=rate, default=100.0, help="distinct clicks per second")
    how.add_argument("--seconds", type=number(float, 0.1, 1e9), help="end after this time")
    how.add_argument("--events", type=at_least_one, help="end after this many distinct clicks")
    how.add_argument("--batch", type=number(int, 1, 500), default=20, help="events per request; 1: all are single")
    how.add_argument("--single-share", type=share, default=0.0, help="share of events that is sent one by one anyway")
    how.add_argument("--linger", type=number(float, 0.0, 60.0), default=0.1, metavar="SECONDS",
                     help="a batch leaves this long after its first event even when it is not full")  # fmt: skip
    who = parser.add_argument_group("who")
    who.add_argument("--seed", type=int, help="the same visitors, pages and event ids again; default: new ones")
    who.add_argument("--time-scale", type=number(float, 0.0001, 100.0), default=1.0,
                     help="visitors take this many times as long to think; "
                          "0.1: they live ten times faster")  # fmt: skip
    who.add_argument("--products", type=Path, metavar="FILE", help="JSON list of products with their id")
    who.add_argument("--origin", default="https://shop.example", help="address of the shop that they visit")
    mix = Mix()
    who.add_argument("--repeated", type=share, default=mix.repeated, help="share of events that is sent twice")
    who.add_argument("--delayed", type=share, default=mix.delayed, help="share that is overtaken by the next one")
    who.add_argument("--spoiled", type=share, default=mix.spoiled, help="share that must be rejected")
    who.add_argument("--crawlers", type=share, default=mix.crawlers, help="share of visitors that is no person")
    result = parser.add_argument_group("result")
    result.add_argument("--ledger", type=Path, metavar="FILE", help="write down what became of each event id")
    result.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser
