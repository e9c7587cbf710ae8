"""The check: both stores against the ledger, event by event, and against each other.

Every accepted event is in each store exactly once, and nothing else is. An event without an answer may be there or not,
but in both stores or in neither. The example shop's real visitors have a source of their own and are in no ledger: for
them only the stores are compared. Sessions: see `check_sessions`.

Pure. Deliberately absent: waiting until the stores have everything (`run`), and any tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping

from clickstream.simulator.ledger import Entry, State
from devstack.demo.check_sessions import Rules, check_sessions
from devstack.demo.document import BROWSER
from devstack.demo.stored import Stored, StoredClick
from devstack.demo.verdict import Verdict


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
