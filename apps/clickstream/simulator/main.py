"""`clickstream simulate`: simulated visitors click through the shop, on a schedule.

Reads the settings, starts the clock, handles Ctrl-C (once: send nothing new, wait for the answers; twice: give up on
them), and prints the summary. Exit status: 0 done, 1 refused or nothing delivered, 2 wrong usage.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from clickstream.simulator.ledger import LedgerWriter
from clickstream.simulator.sender import MisdirectedError, Sender
from clickstream.simulator.settings import SimulatorSettings, read_settings
from clickstream.simulator.shipments import Shipment, shipments
from clickstream.simulator.shop import Shop, generated_products, load_products
from clickstream.simulator.traffic import Outgoing, traffic

_PROGRESS_S = 5.0
_SLACK_S = 1.0
"""Falling behind the schedule by less is the machine's noise."""


def main(arguments: list[str]) -> int:
    """Run it; see `--help`."""
    settings = read_settings(arguments, os.environ)
    try:
        products = load_products(settings.products) if settings.products else generated_products()
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=_loop_factory()) as runner:
            ledger = settings.ledger or Path(folder) / "ledger"
            return runner.run(_simulate(settings, Shop(settings.origin, products), ledger))
    except (OSError, ValueError) as error:
        _say(str(error))
        return 2


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it is installed (it saves a fifth of the processor time), asyncio's own otherwise."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _simulate(settings: SimulatorSettings, shop: Shop, path: Path) -> int:
    ledger = LedgerWriter(path)
    seed = secrets.randbelow(2**31) if settings.seed is None else settings.seed
    begin, begin_ms = time.monotonic(), time.time_ns() // 1_000_000
    sender = Sender(settings.target, ledger, begin, begin_ms)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, sender.stop)
    progress = None if settings.quiet else asyncio.create_task(_progress(sender, ledger))
    trouble = None
    try:
        await sender.run(_schedule(settings, shop, seed, begin_ms))
    except MisdirectedError as error:
        trouble = str(error)
    finally:
        if progress is not None:
            progress.cancel()
        ledger.close()
    if trouble is None and ledger.sent and not ledger.accepted + ledger.rejected:
        trouble = _unanswered(sender, settings.target.url)
    summary = _summary(settings, sender, ledger, seed)
    if trouble is not None:
        _say(trouble)
    elif sender.report.behind_s > _SLACK_S:
        _say(f"could not keep up: sending fell {sender.report.behind_s:.1f} s behind its schedule")
    sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    sys.stdout.flush()
    return 0 if trouble is None else 1


def _schedule(settings: SimulatorSettings, shop: Shop, seed: int, begin_ms: int) -> Iterator[Shipment]:
    events = _limited(traffic(seed, shop, settings.rate, begin_ms, settings.mix), settings.seconds, settings.events)
    return shipments(events, settings.batch, settings.single_share, settings.linger_s, seed)


def _limited(events: Iterator[Outgoing], seconds: float | None, most: int | None) -> Iterator[Outgoing]:
    distinct = 0
    for event in events:
        if (seconds is not None and event.due_s >= seconds) or (most is not None and distinct == most):
            return
        distinct += not event.repeat
        yield event


async def _progress(sender: Sender, ledger: LedgerWriter) -> None:
    before = 0
    while True:
        await asyncio.sleep(_PROGRESS_S)
        rate, before = (ledger.sent - before) / _PROGRESS_S, ledger.sent
        p95 = sender.report.recent_p95_ms()
        _say(
            f"{ledger.sent:,} sent ({rate:,.0f}/s), {ledger.accepted:,} accepted, {ledger.rejected:,} rejected, "
            f"{ledger.unknown:,} unknown, {ledger.in_flight:,} in flight, {sender.report.retries:,} retries, "
            f"p95 {'-' if p95 is None else f'{p95:,.0f}'} ms"
        )


def _summary(settings: SimulatorSettings, sender: Sender, ledger: LedgerWriter, seed: int) -> dict[str, object]:
    """`achieved_rate`: distinct events per second up to the last request, at least up to the last event's slot."""
    report = sender.report
    seconds = max(report.last_sent - report.began, ledger.sent / settings.rate)
    return {
        "seed": seed,
        "sent": ledger.sent,
        "accepted": ledger.accepted,
        "rejected": ledger.rejected,
        "unknown": ledger.unknown,
        "rate": settings.rate,
        "achieved_rate": round(ledger.sent / seconds, 1) if seconds else 0.0,
        "seconds": round(seconds, 3),
        "behind_s": round(report.behind_s, 3),
        "repeats": report.repeats,
        "spoiled": report.spoiled,
        "spoiled_accepted": report.spoiled_accepted,
        "good_rejected": report.good_rejected,
        "requests": report.requests,
        "retries": report.retries,
        "answers": dict(report.statuses),
        "p50_answer_ms": report.answers.percentile_ms(50),
        "p95_answer_ms": report.answers.percentile_ms(95),
        "p99_answer_ms": report.answers.percentile_ms(99),
    }


def _unanswered(sender: Sender, url: str) -> str:
    answers = ", ".join(f"{number} x {answer}" for answer, number in sender.report.statuses.most_common())
    return f"nothing was delivered to {url}: {answers or 'no answer'}"


def _say(text: str) -> None:
    sys.stderr.write(f"simulate: {text}\n")
    sys.stderr.flush()
