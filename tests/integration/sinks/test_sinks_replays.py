"""Replayed clicks in the stores: replaced once, in the order in which replays were started, with rollups that agree."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime

import msgspec
import pytest

from clickstream.contracts.pipeline import dump_pipeline, parse_pipeline
from clickstream.contracts.replays import Replay, session_version
from clickstream.contracts.session_records import Retraction
from clickstream.contracts.times import MAX_MS
from clickstream.sinks.main import make_sink
from clickstream.sinks.postgres import replacement
from clickstream.sinks.postgres.connection import connect
from clickstream.sinks.postgres.recomputation import recompute
from clickstream.sinks.postgres.sink import PostgresStore

STORES = ("elasticsearch", "postgres")
FIRST = 1_767_000_000_000
AT = 1_767_261_600_000
FIELDS = ("title", "page_path", "session", "late", "bot", "country", "page_category", "joins")
COLUMNS = {"session": "session_id"}


@pytest.fixture
def zoned(pipeline, stores_of):
    """The pipeline with hours and days of another zone, half an hour off, and who sees it; both stores are set up."""
    document = msgspec.json.decode(dump_pipeline(pipeline)) | {"timeZone": "Asia/Kolkata"}
    found = parse_pipeline(msgspec.json.encode(document))
    stores = stores_of(found)
    stores.set_up()
    return found, stores


@pytest.fixture
def differences():
    def of(pipeline):
        with connect(pipeline.sinks.postgres, pipeline.names.schema, "check") as connection:
            return [str(each) for each in recompute(connection, pipeline, 0, print) if "session" not in each.part]

    return of


def replayed(record, started=FIRST, *, keeps=False):
    return dataclasses.replace(record, replay=Replay(started, keeps))


def stored(store, stores):
    """The fields that a replay may change, by identity."""
    if store == "postgres":
        columns = ", ".join(COLUMNS.get(name, name) for name in FIELDS)
        rows = stores.sql(f"SELECT event_id, user_id, source, {columns} FROM clicks")
        return {row[:3]: row[3:] for row in rows}
    found = [hit["_source"] for hit in stores.search(stores.names.clicks_alias)]
    made = {(d["event_id"], d["user_id"], d["source"]): tuple(d[name] for name in FIELDS) for d in found}
    assert len(made) == len(found)
    return made


class Model:
    """What is stored of clicks, by the rules."""

    def __init__(self):
        self.clicks = {}

    def take(self, record):
        click, replay = record.content, record.replay
        identity = click.event_id, click.user_id, click.source
        known, before = self.clicks.setdefault(identity, (click, 0))
        same = (known.event_time, known.received_at) == (click.event_time, click.received_at)
        if replay is None or not same or replay.started <= before:
            return
        if replay.keeps_session:
            click = msgspec.structs.replace(click, session=known.session, late=known.late)
        self.clicks[identity] = click, replay.started

    def fields(self):
        return {
            identity: tuple(getattr(click, name) for name in FIELDS) for identity, (click, _) in self.clicks.items()
        }


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("seed", range(3))
def test_a_log_of_live_and_replayed_clicks_in_any_batches_and_twice(
    seed, store, zoned, records, make_click, differences
):
    pipeline, stores = zoned
    chance = random.Random(seed)
    log, copies = [], []
    for n in range(500):
        live = not copies or chance.random() < 0.5
        if not live and chance.random() < 0.8:
            click = chance.choice(copies)
        else:
            # A few ids, users and sites: some clicks have somebody else's event id, some come again as another copy.
            # Of those that were never stored there is one copy.
            at = AT + (chance.randrange(8) * 1_000_000 if live else 0)
            click = make_click(
                f"e{chance.randrange(12)}", user_id=chance.choice(("ann", "bob") if live else ("eve", "zoe")),
                source=chance.choice(("web", "app")), timestamp=AT, event_time=at, received_at=at + 5,
                client_session_id="tab",
            )  # fmt: skip
            if live:
                copies.append(click)
        click = msgspec.structs.replace(
            click, title=chance.choice(("a", "b")), page_path=chance.choice(("/", "/x")), bot=chance.random() < 0.4,
            session=chance.choice((None, "2026-01-01-s", "2026-01-01-t")), late=chance.random() < 0.2,
            country=chance.choice((None, "DE")), joins=chance.choice(({}, {"shoe": {"price": 1.5}})),
        )  # fmt: skip
        (record,) = records(click)
        log.append(record if live else replayed(record, FIRST + n, keeps=chance.random() < 0.3))
    model, sink = Model(), make_sink(store, pipeline)
    for record in log:
        model.take(record)
    counted, left = dict.fromkeys(("stored", "known", "replaced"), 0), list(log)
    while left:
        count = chance.randrange(1, 60)
        outcome = sink.write(left[:count])
        assert (outcome.later, outcome.blocked, outcome.refused, outcome.trouble) == ([], [], [], None)
        left = left[count:]
        for name in counted:
            counted[name] += getattr(outcome, name)["click"]
    assert stored(store, stores) == model.fields()
    assert differences(pipeline) == []
    assert counted["stored"] == len(model.clicks)
    assert sum(counted.values()) == len(log)
    assert counted["replaced"] > 30
    # A sink that was killed reads the end of the log again.
    for start in (len(log) // 2, 0):
        outcome = sink.write(log[start:])
        assert outcome.stored["click"] == 0
        assert stored(store, stores) == model.fields()
    sink.close()
    assert differences(pipeline) == []


@pytest.mark.parametrize("store", STORES)
def test_what_a_replay_does_not_change_is_not_written(store, open_sink, stores, records, make_click):
    sink = open_sink(store)
    (click,) = records(make_click("e1", event_time=AT, received_at=AT, country="DE"))
    assert sink.write([click]).stored["click"] == 1
    for started in (FIRST, FIRST + 1):
        outcome = sink.write([replayed(click, started), replayed(click, started, keeps=True)])
        assert (outcome.stored["click"], outcome.known["click"], outcome.replaced["click"]) == (0, 2, 0)
    changed = dataclasses.replace(click, content=msgspec.structs.replace(click.content, country="FR"))
    assert sink.write([replayed(changed)]).replaced["click"] == 1
    assert sink.write([click, replayed(changed)]).known["click"] == 2, "neither a live copy nor a second time"
    assert sink.write([replayed(click, FIRST - 1)]).known["click"] == 1, "an earlier replay comes too late"
    assert {fields[FIELDS.index("country")] for fields in stored(store, stores).values()} == {"FR"}
    if store == "postgres":
        at = datetime.fromtimestamp(FIRST / 1_000, UTC)
        assert stores.sql("SELECT replayed_at FROM clicks") == [(at,)]


def test_a_blocked_day_keeps_its_replayed_clicks_until_it_takes_them(open_sink, stores, records, make_click):
    sink = open_sink("elasticsearch")
    live = records(make_click("old", event_time=AT, received_at=AT, timestamp=AT), make_click("new"))
    sink.write(live)
    index = stores.names.clicks_index(live[0].content.storage_day)
    stores.es.indices.put_settings(index=index, settings={"index.blocks.write": True})
    changed = [replayed(dataclasses.replace(r, content=msgspec.structs.replace(r.content, title="x"))) for r in live]
    outcome = sink.write(changed)
    assert ([r.content.event_id for r in outcome.blocked], outcome.replaced["click"]) == (["old"], 1)
    stores.es.indices.put_settings(index=index, settings={"index.blocks.write": False})
    assert sink.write(outcome.blocked).replaced["click"] == 1


@pytest.mark.parametrize("group_by", ["user_id", "session_id"])
def test_a_user_leaves_an_hour_only_with_the_last_click(
    group_by, pipeline, stores_of, records, make_click, differences
):
    document = msgspec.json.decode(dump_pipeline(pipeline)) | {"enricher": {"groupBy": group_by}}
    grouped = parse_pipeline(msgspec.json.encode(document))
    stores = stores_of(grouped)
    stores.set_up("postgres")
    sink = make_sink("postgres", grouped)
    hour = 3_600_000
    whens = {"a": 0, "b": 1_000, "c": hour, "d": hour * 30}
    clicks = records(
        *[make_click(n, event_time=AT + t, received_at=AT + t, timestamp=AT, client_session_id=n)
          for n, t in whens.items()]
    )  # fmt: skip
    sink.write(clicks)
    seen = []
    for record in clicks:
        bot = msgspec.structs.replace(record.content, bot=True)
        assert sink.write([replayed(dataclasses.replace(record, content=bot))]).replaced["click"] == 1
        assert differences(grouped) == []
        people = [stores.sql(f"SELECT count(*) FROM active_users_{per} WHERE NOT bot")[0][0] for per in ("hour", "day")]
        seen.append(people)
    assert seen == [[3, 2], [2, 2], [1, 1], [0, 0]]
    assert stores.sql("SELECT bot, views::int FROM page_views_minute ORDER BY minute") == [
        (True, 2),
        (True, 1),
        (True, 1),
    ]
    sink.close()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("at", [0, MAX_MS])
def test_clicks_at_the_ends_of_time_are_replayed(at, store, zoned, records, make_click, differences):
    pipeline, _ = zoned
    sink = make_sink(store, pipeline)
    (click,) = records(make_click("e", event_time=at, timestamp=AT, received_at=at))
    bot = dataclasses.replace(click, content=msgspec.structs.replace(click.content, bot=True))
    outcome = sink.write([click, replayed(bot, MAX_MS)])
    sink.close()
    assert (outcome.stored["click"], outcome.replaced["click"], outcome.refused) == (1, 1, [])
    assert store == "elasticsearch" or differences(pipeline) == []


def test_a_click_that_comes_while_its_user_leaves_the_hour_is_counted(
    pipeline, stores, open_sink, records, make_click, differences, monkeypatch
):
    """By `session_id` a user's clicks are in several partitions, and so before several sinks at once."""
    sink = open_sink("postgres")
    other = PostgresStore(pipeline, pipeline.sinks.postgres)
    ours, theirs = records(
        *[make_click(n, event_time=AT, received_at=AT, timestamp=AT, client_session_id=n) for n in ("ours", "theirs")]
    )
    sink.write([ours])
    real, waited = replacement._move_users, []

    def meanwhile(*arguments):
        import threading  # noqa: PLC0415

        thread = threading.Thread(target=lambda: waited.append(other.write([theirs]).stored["click"]))
        thread.start()
        thread.join(1)
        assert thread.is_alive(), "its insert waits"
        real(*arguments)
        waited.append(thread)

    monkeypatch.setattr(replacement, "_move_users", meanwhile)
    bot = dataclasses.replace(ours, content=msgspec.structs.replace(ours.content, bot=True))
    assert sink.write([replayed(bot)]).replaced["click"] == 1
    waited[0].join(30)
    assert waited[1:] == [1]
    other.close()
    assert differences(pipeline) == []
    assert stores.sql("SELECT bot FROM active_users_hour ORDER BY 1") == [(False,), (True,)]


@pytest.mark.parametrize("store", STORES)
def test_replayed_sessions_stand_above_live_ones_and_what_nobody_names_is_gone(
    store, open_sink, stores, records, make_session
):
    sink = open_sink(store)
    first, second, third = "2026-01-01-a", "2026-01-01-b", "2026-01-01-c"
    sink.write(
        records(make_session(first, 7, merged_ids=[second]), Retraction(second, 7, first), make_session(third, 9))
    )
    version = session_version(FIRST)
    # Of what was one session two stand again, and nobody is in the third.
    again = records(
        make_session(first, version), make_session(second, version, events=1), Retraction(third, version, third)
    )
    for _ in range(2):
        assert sink.write(again).refused == []
    # What live records said before is written once more, beside a merge that is news.
    news = Retraction("2026-01-01-x", 9, "2026-01-01-y")
    old = make_session(third, 10), Retraction(second, 7, first), make_session(first, 8, events=9, merged_ids=[second])
    sink.write(records(*old, news))
    assert stores.sessions(store) == {first: version, second: version}
    if store == "postgres":
        assert stores.sql("SELECT session_id FROM session_aliases") == [(news.id,)]
    # The next replay makes them one again.
    later = session_version(FIRST + 1)
    sink.write(records(make_session(first, later, merged_ids=[second]), Retraction(second, later, first)))
    assert stores.sessions(store) == {first: later}
    if store == "postgres":
        assert stores.sql("SELECT merged_into FROM session_aliases WHERE session_id = %s", second) == [(first,)]


def test_a_replayed_session_is_read_with_the_funnels_of_its_replay(pipeline, stores, open_sink, records, make_session):
    sink = open_sink("postgres")
    stores.sql("UPDATE funnels SET valid_to = to_timestamp(%s)", FIRST / 1_000 - 60)
    stores.sql(
        "INSERT INTO funnels SELECT funnel, 2, step, step_name, '/x', to_timestamp(%s), NULL FROM funnels"
        " WHERE step < 3", FIRST / 1_000 - 60,
    )  # fmt: skip
    old = FIRST - 86_400_000
    made = {"start": old, "end": old, "funnels": {"checkout": 2}}
    sink.write(
        records(
            make_session("2026-01-01-live", 5, **made),
            make_session("2026-01-01-again", session_version(FIRST), **made),
            make_session("2026-01-01-hostile", 2**63 - 1, **made),
        )
    )
    found = dict(stores.sql("SELECT session_id, version FROM funnel_sessions"))
    assert found == {"2026-01-01-live": 1, "2026-01-01-again": 2, "2026-01-01-hostile": 1}
    assert stores.sql("SELECT version, step, sessions::int FROM funnel_results ORDER BY 1, 2") == [
        (1, 1, 2), (1, 2, 2), (2, 1, 1), (2, 2, 1),
    ]  # fmt: skip
