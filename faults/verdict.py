"""The check at the end: every accepted click in both stores, once and as sent; sessions and rollups recomputed.

A set model: the ledger says what was sent and what was accepted, the stores say what is there. Lost, phantom and
doubled are the differences. What a fault deleted on purpose may be absent, if the enricher has reported its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from clickstream.contracts.clicks import PAGE_VIEW
from clickstream.contracts.dead_letters import bad_row
from clickstream.contracts.kafka_records import headers_of
from clickstream.contracts.pages import split_page
from clickstream.runtime.kafka import reader_config
from clickstream.simulator.ledger import Entry, State, read_ledger
from demo.check import check, read_stores, rules_of
from demo.stored import Stored
from demo.verdict import Verdict
from faults.crowd import Crowd
from faults.errors import HarnessError
from faults.poison import Poisoner
from faults.topic_reading import read_all
from faults.world import World

SKIPPED: Final = "records were deleted before they could be read, and are lost: the retention is shorter than the lag"


@dataclass(slots=True)
class Findings:
    """What is wrong (nothing: `verdict.ok`), and figures."""

    verdict: Verdict
    accepted: int = 0
    excused: int = 0
    skipped: int = 0
    dead_letters: int = 0
    notes: list[str] = field(default_factory=list)


def judge(world: World, crowd: Crowd, poisoner: Poisoner | None) -> Findings:
    """Compare everything. The processes have ended: the stores are at rest. Raises HarnessError, DevstackError."""
    entries = read_ledger(crowd.ledger)
    stores = read_stores(world.pipeline)
    excused = {key: Entry(State.UNKNOWN, entry.due_ms) for key, entry in entries.items() if key in world.excused}
    verdict = check(entries | excused, *stores, rules_of(world.pipeline))
    found = Findings(verdict, sum(entry.state is State.ACCEPTED for entry in entries.values()))
    _check_contents(verdict, crowd, entries, stores)
    _check_skipped(world, found, entries, stores)
    _check_recomputation(world, verdict)
    _check_dead_letters(world, found, poisoner)
    return found


def _check_contents(verdict: Verdict, crowd: Crowd, entries: dict[str, Entry], stores: tuple[Stored, Stored]) -> None:
    """What is stored is what was sent: the visitors are generated again from their seed."""
    left = set(entries)
    for event in crowd.sent():
        if not left:
            break
        if event.repeat:
            continue
        left.discard(event.key)
        if event.spoiled:
            continue
        sent = msgspec.json.decode(event.body)
        wanted = (sent["user_id"], sent["session_id"], sent.get("type", PAGE_VIEW), split_page(sent["page"])[1])
        for store in stores:
            for copy in store.clicks.get(event.key, ())[:1]:
                stored = (copy.user_id, copy.client_session_id, copy.type, copy.page_path)
                if stored != wanted:
                    verdict.differ("not as it was sent", f"{event.key} in {store.name}: {stored}, sent was {wanted}")


def _check_skipped(world: World, found: Findings, entries: dict[str, Entry], stores: tuple[Stored, Stored]) -> None:
    """Nothing vanishes silently: what is absent was deleted by a fault, and the enricher reported how much."""
    found.excused = len(world.excused)
    absent = [
        key
        for key in world.excused
        if key in entries and entries[key].state is State.ACCEPTED and key not in stores[0].clicks
    ]
    found.skipped = sum(
        int(line.get("skipped", 0)) for line in _log_lines(world, "enricher") if line.get("message") == SKIPPED
    )
    if len(absent) > found.skipped:
        found.verdict.differ(
            "vanished in silence", f"{len(absent)} clicks are gone, the enricher spoke of {found.skipped} records"
        )
    found.notes.append(f"{len(absent)} clicks were deleted before they were read; {found.skipped} records were told")


def _log_lines(world: World, part: str) -> Iterable[dict[str, Any]]:
    for path in world.folder.glob(f"{part}-*.log"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


def _check_recomputation(world: World, verdict: Verdict) -> None:
    try:
        world.run_command("check", "--settle", "0")
    except HarnessError as error:
        verdict.differ("rollups or sessions", str(error))


def _check_dead_letters(world: World, found: Findings, poisoner: Poisoner | None) -> None:
    """Every unusable record is a dead letter with its topic, partition and offset."""
    keys: set[bytes] = set()
    for message in read_all(reader_config(world.pipeline.kafka, "faults"), world.pipeline.names.dead_letters):
        found.dead_letters += 1
        try:
            row = bad_row(message.value(), headers_of(message))
        except ValueError:
            continue  # our own poison on this topic
        if row.origin is not None and row.origin.key is not None:
            keys.add(row.origin.key)
    if poisoner is not None:
        for key, topic in poisoner.keys.items():
            if key not in keys and key not in world.excused_keys:
                found.verdict.differ("no dead letter", f"{key.decode()} on {topic}")
        for what in poisoner.wrong:
            found.verdict.differ("a door", what)
