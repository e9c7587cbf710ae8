"""The check: both stores against the ledger, event by event, and against each other.

Every accepted event is in each store exactly once, and nothing else is. An event without an answer may be there or not,
but in both stores or in neither. The example shop's real visitors have a source of their own and are in no ledger: for
them only the stores are compared. Sessions: see `check_sessions`.

Pure, and without any tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.pipeline import Pipeline
from clickstream.simulator.ledger import Entry, State, read_ledger
from demo.check_sessions import Rules, check_sessions
from demo.document import BROWSER
from demo.stored import Stored, StoredClick, read_elasticsearch, read_postgres
from demo.verdict import Verdict
from devstack.errors import DevstackError
from preview.search import Search


def check(ledger: Mapping[str, Entry], elasticsearch: Stored, postgres: Stored, rules: Rules) -> Verdict:
    """Compare everything. The stores must be at rest."""
    verdict = Verdict(
        elasticsearch=_simulated(elasticsearch), postgres=_simulated(postgres), browser=_browser(elasticsearch)
    )
    stores = (elasticsearch, postgres)
    _check_presence(verdict, ledger, stores)
    _check_copies(verdict, stores)
    _check_agreement(verdict, stores)
    check_sessions(verdict, stores, rules)
    verdict.sessions = len(postgres.sessions)
    return verdict


def _check_presence(verdict: Verdict, ledger: Mapping[str, Entry], stores: tuple[Stored, Stored]) -> None:
    for event_id, entry in ledger.items():
        absent = [store.name for store in stores if event_id not in store.clicks]
        if absent and (entry.state is State.ACCEPTED or (len(absent) == 1 and entry.state is State.UNKNOWN)):
            verdict.lost += 1
            verdict.differ("lost", f"{event_id} ({entry.state.name.lower()}) is not in {' and '.join(absent)}")
    known = {event_id for event_id, entry in ledger.items() if entry.state is not State.REJECTED}
    for event_id in stores[0].clicks.keys() | stores[1].clicks.keys():
        copies = [store.clicks.get(event_id, []) for store in stores]
        if event_id in known:
            continue
        if all(_is_browser(copy) for copies_in_one in copies for copy in copies_in_one):
            if not all(copies):
                verdict.lost += 1
                absent = [store.name for store in stores if event_id not in store.clicks]
                verdict.differ("lost", f"{event_id} (a browser's) is not in {' and '.join(absent)}")
            continue
        verdict.phantom += 1
        why = "was rejected" if event_id in ledger else "was never sent"
        present = [store.name for store in stores if event_id in store.clicks]
        verdict.differ("phantom", f"{event_id} {why} and is in {' and '.join(present)}")


def _check_copies(verdict: Verdict, stores: tuple[Stored, Stored]) -> None:
    twice: dict[str, list[str]] = {}
    for store in stores:
        for event_id, copies in store.clicks.items():
            if len(copies) > 1:
                twice.setdefault(event_id, []).append(f"{len(copies)} times in {store.name}")
    verdict.duplicated = len(twice)
    for event_id, where in twice.items():
        verdict.differ("duplicated", f"{event_id} is {' and '.join(where)}")


def _check_agreement(verdict: Verdict, stores: tuple[Stored, Stored]) -> None:
    one, other = stores
    for event_id, copies in one.clicks.items():
        others = other.clicks.get(event_id)
        if not others or copies[0] == others[0]:
            continue
        fields = [
            f"{field} {ours!r} and {theirs!r}"
            for field, ours, theirs in zip(StoredClick._fields, copies[0], others[0], strict=True)
            if ours != theirs and not (field == "session" and one.session_of(copies[0]) == other.session_of(others[0]))
        ]
        if fields:
            verdict.differ("click differs", f"{event_id} in {one.name} and {other.name}: {'; '.join(fields)}")


def _is_browser(click: StoredClick) -> bool:
    return click.source == BROWSER


def _simulated(store: Stored) -> int:
    """Stored copies of what the simulator sent; phantoms included."""
    return sum(not _is_browser(copy) for copies in store.clicks.values() for copy in copies)


def _browser(store: Stored) -> int:
    return sum(_is_browser(copy) for copies in store.clicks.values() for copy in copies)


def audit(pipeline: Pipeline, ledger: Path, tell: Callable[[str], object] = lambda _: None) -> Verdict:
    """Check both stores of the pipeline against the ledger. Raises DevstackError when one cannot be read."""
    try:
        entries = read_ledger(ledger)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error
    stores = read_stores(pipeline, tell)
    tell("comparing")
    return check(entries, *stores, rules_of(pipeline))


def read_stores(pipeline: Pipeline, tell: Callable[[str], object] = lambda _: None) -> tuple[Stored, Stored]:
    """What Elasticsearch and PostgreSQL hold of the pipeline. Raises DevstackError when one cannot be read."""
    sinks, names = pipeline.sinks, pipeline.names
    if sinks.elasticsearch is None or sinks.postgres is None or sinks.postgres.dsn is None:
        msg = "the check needs a pipeline with both stores"
        raise DevstackError(msg)
    try:
        tell("reading Elasticsearch")
        search = Search(sinks.elasticsearch.url)
        elasticsearch = read_elasticsearch(search, names)
        search.close()
        tell("reading PostgreSQL")
        with psycopg.connect(sinks.postgres.dsn, connect_timeout=10) as connection:
            return elasticsearch, read_postgres(connection, names)
    except (OSError, ValueError, psycopg.Error) as error:
        raise _unreadable(error) from error


def rules_of(pipeline: Pipeline) -> Rules:
    """How the pipeline cuts sessions."""
    return Rules(
        gap_ms=duration_ms(pipeline.enricher.session_gap),
        grace_ms=duration_ms(pipeline.enricher.grace),
        by_user=pipeline.enricher.group_by == "user_id",
    )


def _unreadable(error: Exception) -> DevstackError:
    return DevstackError(f"the check could not read everything: {error}")
