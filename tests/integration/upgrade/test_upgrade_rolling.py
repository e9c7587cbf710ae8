"""Up, down and up again between a wheel of an older commit and this checkout: under traffic, and side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from clickstream.contracts.pipeline import Pipeline, dump_pipeline
from clickstream.simulator.ledger import State, read_ledger
from clickstream.sinks.postgres.installation import newest_version
from demo.check import audit
from demo.drain import Lag, records_on
from support.fleet import SINKS, Fleet, Generation
from support.processes import Process, clickstream, wait_for
from support.releases import THIS, Release, changed_release
from support.stores import Stores

KEY = "test-write-key"
TRAFFIC = (
    *("--rate", "80", "--batch", "5", "--time-scale", "0.05", "--gzip", "--quiet"),
    # What a change of release does not keep of repeated clicks and of bots: test_upgrade_limits.
    *("--repeated", "0", "--crawlers", "0", "--spoiled", "0"),
)


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """Sessions of seconds, so that many close, and many are handed over open, in the time of a test."""
    return new_pipeline(topics=False, enricher={"sessionGap": "4s", "grace": "4s"})


@pytest.fixture
def fleet(pipeline: Pipeline, old: Release, tmp_path: Path) -> Iterator[Fleet]:
    """This release's processes get a document with fields that only the release after it knows."""
    older, newer = tmp_path / "pipeline.json", tmp_path / "newer-pipeline.json"
    older.write_bytes(dump_pipeline(pipeline))
    document = msgspec.json.decode(older.read_bytes())
    document["trackingApi"] = {"ofTheReleaseAfter": {"x": [1]}}
    document["enricher"]["ofTheReleaseAfter"] = True
    document["ofTheReleaseAfter"] = None
    newer.write_bytes(msgspec.json.encode(document))
    made = Fleet({old.name: older, THIS.name: newer, "next": newer}, tmp_path)
    yield made
    made.close()


def test_nothing_is_lost_doubled_or_refused_up_down_and_up_again(
    pipeline: Pipeline, fleet: Fleet, old: Release, tmp_path: Path
) -> None:
    running, visitors = begin(fleet, old, tmp_path)
    for release, prepare in ((THIS, set_up), (old, set_up_of_before), (THIS, set_up)):
        prepare(release, fleet)
        running = replace(running, release, fleet)
    end(running, visitors, pipeline, fleet, tmp_path)
    for process in running.all:
        assert "unknown to this release and have no effect: " in process.log.read_text(), process.name


PLANET = {
    "apps/clickstream/contracts/clicks.py": {
        "    country: str | None = None\n    joins": (
            "    country: str | None = None\n    planet: str | None = None\n    joins"
        ),
        "        return self\n": "        self.planet = 'Earth'\n        return self\n",
    },
    "apps/clickstream/contracts/session_records.py": {
        "    funnels: dict": "    planet: str | None = None\n    funnels: dict"
    },
    "apps/clickstream/enricher/sessions.py": {
        "            session.country,\n": "            session.country,\n            'Earth',\n"
    },
    "apps/clickstream/sinks/elasticsearch/templates.py": {
        "TEMPLATE_VERSION: Final = ": "TEMPLATE_VERSION: Final = 1 + ",
        '    "country": _KEYWORD,': '    "country": _KEYWORD,\n    "planet": _KEYWORD,',
    },
    "apps/clickstream/sinks/postgres/rows.py": {
        '    "country": "text",': '    "country": "text",\n    "planet": "text",'
    },
    f"apps/clickstream/sinks/postgres/migrations/{newest_version() + 1:04}_planet.sql": {
        "": "ALTER TABLE clicks ADD COLUMN planet text;"
    },
}
"""What a release does that adds a field to clicks, in both stores, and to session records."""


def test_a_field_of_the_next_release_is_stored_after_its_setup_and_hurts_nobody_beside_it(
    pipeline: Pipeline, fleet: Fleet, tmp_path: Path
) -> None:
    following = changed_release(PLANET, tmp_path / "next")
    running, visitors = begin(fleet, THIS, tmp_path)
    set_up(following, fleet)
    running = replace(running, following, fleet)
    set_up(THIS, fleet)  # as after a rollback: what the next release has made stays, and that is no failure
    end(running, visitors, pipeline, fleet, tmp_path)
    stores = Stores(pipeline)
    assert stores.clicks_es({"term": {"planet": "Earth"}})
    assert stores.sql("SELECT FROM {s}.clicks WHERE planet = 'Earth' LIMIT 1")
    stores.close()


def begin(fleet: Fleet, release: Release, folder: Path) -> tuple[Generation, Process]:
    """A release from nothing, and visitors, whose ledger lies in the folder."""
    set_up(release, fleet)
    generation = fleet.roll(release)
    ledger = ("--ledger", str(folder / "ledger"))
    command = clickstream("simulate", "--url", fleet.service.url, "--key", KEY, *ledger, *TRAFFIC)
    visitors = Process("visitors", command, folder)
    fleet.started.append(visitors)
    has_worked(generation, fleet)
    return generation, visitors


def replace(running: Generation, release: Release, fleet: Fleet) -> Generation:
    """Put a generation in another one's place: for a while both work side by side."""
    successor = fleet.roll(release, running)
    has_worked(successor, fleet)
    fleet.retire(running, successor)
    has_worked(successor, fleet)
    return successor


def end(running: Generation, visitors: Process, pipeline: Pipeline, fleet: Fleet, folder: Path) -> None:
    """Everything that was accepted is in both stores once, and the sessions are those of a recomputation."""
    assert visitors.stop() == 0
    settle(running, Lag(pipeline))
    entries, verdict = read_ledger(folder / "ledger"), audit(pipeline, folder / "ledger")
    assert verdict.lines() == []
    assert verdict.elasticsearch == verdict.postgres == len(entries)
    assert {entry.state for entry in entries.values()} == {State.ACCEPTED}
    assert records_on(pipeline, pipeline.names.dead_letters) == 0
    status, told = fleet.check(running.release)
    assert (status, told.splitlines()[-1]) == (0, "sessions, funnels and rollups agree with the clicks"), told


def set_up(release: Release, fleet: Fleet) -> None:
    """As the operator's set-up Jobs do before a release's processes are started."""
    for what in ("topics", "all"):
        status, told = fleet.set_up(release, what)
        assert status == 0, told


def set_up_of_before(release: Release, fleet: Fleet) -> None:
    """The release of before leaves a newer schema as it is, which it calls a conflict, and its processes go on."""
    assert fleet.set_up(release, "topics")[0] == 0
    status, told = fleet.set_up(release, "all")
    assert status == 4, told
    assert "use a newer release" in told


def has_worked(generation: Generation, fleet: Fleet) -> None:
    """Wait until each process of the generation has done a part of the traffic from now on."""

    def done() -> list[float]:
        stored = [sink.metric("clickstream_events_stored_total", kind="click") for sink in generation.sinks]
        return [generation.enricher.metric("clickstream_events_processed_total"), *stored]

    begun = done()
    wait_for(
        lambda: all(now > was + 40 for now, was in zip(done(), begun, strict=True)),
        f"each process of the {generation.release.name} release takes part",
        *fleet.started,
    )


def settle(generation: Generation, lag: Lag) -> None:
    """Wait until everything has gone through, and end the generation."""
    wait_for(lambda: lag.enricher() == 0, "the enricher has everything", generation.enricher)
    for sink, process in zip(SINKS, generation.sinks, strict=True):
        wait_for(lambda sink=sink: lag.sink(sink) == 0, f"{sink} has everything", process)  # type: ignore[misc]
    for process in generation.all:
        assert process.stop() == 0
