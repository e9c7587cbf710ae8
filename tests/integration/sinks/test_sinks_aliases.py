"""Absorbed sessions name the one that stands, in whatever order and batches the records of their merges come."""

from __future__ import annotations

import random
import threading

import pytest

from clickstream.contracts.session_records import Retraction
from clickstream.sinks.main import make_sink
from clickstream.sinks.postgres import transaction


def history(chance, make_session, count, kept):
    """(the records of random merges of `count` sessions, alias by absorbed session). Each names at most `kept` merged
    ids."""
    standing = {f"2026-01-01-{chance.randrange(10**9):09}x{number}": [] for number in range(count)}
    made, version, absorbed_into = [], 0, {}
    made += [make_session(name, 0) for name in standing]
    while len(standing) > max(1, count // 8):
        version += 1
        survivor, *absorbed = chance.sample(sorted(standing), min(len(standing), chance.choice((2, 2, 2, 3))))
        for name in absorbed:
            standing[survivor] = [*standing[survivor], name, *standing.pop(name)]
            absorbed_into[name] = survivor
            made.append(Retraction(name, version, survivor))
        made.append(make_session(survivor, version, merged_ids=standing[survivor][-kept:] if kept else []))
        if chance.random() < 0.3:
            version += 1
            made.append(make_session(survivor, version, merged_ids=standing[survivor][-kept:] if kept else []))

    def root(name):
        while name in absorbed_into:
            name = absorbed_into[name]
        return name

    return made, {name: root(name) for name in absorbed_into}


def batches(chance, items):
    left = list(items)
    while left:
        count = chance.choice((1, 1, 2, 5, 20, 100))
        yield left[:count]
        left = left[count:]


def aliases(stores):
    return dict(stores.sql("SELECT session_id, merged_into FROM session_aliases"))


@pytest.mark.parametrize("kept", [0, 1, 3, 500])
def test_any_order_and_any_batches_end_in_the_same_aliases(kept, stores, open_sink, records, make_session):
    sink = open_sink("postgres")
    chance = random.Random(kept)
    for _ in range(12):
        stores.sql("DELETE FROM session_aliases")
        stores.sql("DELETE FROM session_records")
        made, wanted = history(chance, make_session, chance.randrange(2, 60), kept)
        chance.shuffle(made)
        again = made + chance.sample(made, len(made) // 3)
        for batch in batches(chance, again):
            outcome = sink.write(records(*batch))
            assert (outcome.later, outcome.refused, outcome.blocked) == ([], [], [])
        assert aliases(stores) == wanted
        standing = {name for (name,) in stores.sql("SELECT session_id FROM sessions")}
        assert not standing & set(wanted)
        assert set(wanted.values()) <= standing


def test_replicas_that_write_parts_of_one_chain_at_once_end_in_the_same_aliases(
    pipeline, stores, records, make_session
):
    stores.set_up("postgres")
    chance = random.Random(4)
    for _ in range(6):
        stores.sql("DELETE FROM session_aliases")
        stores.sql("DELETE FROM session_records")
        made, wanted = history(chance, make_session, 80, 2)
        parts = [[], [], []]
        for each in made:
            parts[sum(each.id.encode()) % 3].append(each)
        failed = []
        start = threading.Barrier(3)

        def replica(part, seed, start=start, failed=failed):
            sink = make_sink("postgres", pipeline)
            own = random.Random(seed)
            own.shuffle(part)
            start.wait()
            try:
                for batch in batches(own, part):
                    pending = records(*batch)
                    while pending:
                        outcome = sink.write(pending)
                        pending = outcome.later + outcome.blocked
            except BaseException as error:  # noqa: BLE001 - shown below
                failed.append(error)
            finally:
                sink.close()

        threads = [threading.Thread(target=replica, args=(part, seed)) for seed, part in enumerate(parts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failed == []
        assert aliases(stores) == wanted


def test_a_circle_that_no_enricher_writes_ends(stores, open_sink, records):
    sink = open_sink("postgres")
    ring = [f"2026-01-01-{number}" for number in range(3)]
    for version, (name, into) in enumerate(zip(ring, [*ring[1:], ring[0]], strict=True)):
        assert sink.write(records(Retraction(name, version, into))).later == []
    assert sink.write(records(Retraction(ring[0], 9, ring[0]))).refused == []
    assert set(aliases(stores)) == set(ring)


def test_upkeep_follows_what_a_sink_of_the_release_before_wrote(pipeline, stores, open_sink):
    """Side by side in a rollout: that release writes an alias as it is told."""
    sink = open_sink("postgres")
    for number in range(50):
        stores.sql("INSERT INTO session_aliases VALUES (%s, %s, %s, now())", str(number), str(number + 1), number)
    sink.maintain()
    assert set(aliases(stores).values()) == {"50"}
    with transaction_of(pipeline) as connection:
        assert transaction.follow_aliases(connection) == 0


def transaction_of(pipeline):
    from clickstream.sinks.postgres.connection import connect  # noqa: PLC0415

    return connect(pipeline.sinks.postgres, pipeline.names.schema, "test")
