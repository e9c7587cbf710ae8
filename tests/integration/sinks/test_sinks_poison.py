"""Any bytes on the topics, in any order: a dead letter that says where it lay, and everything else goes on."""

from __future__ import annotations

import random
import string
import time

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.dead_letters import KEPT_BYTES
from clickstream.contracts.session_records import Retraction, Session, encode_session
from clickstream.contracts.times import iso_day
from clickstream.sinks.main import make_sink
from clickstream.sinks.records import Record, Refused, decoder
from clickstream.sinks.validation import kept_ms

STORES = ("elasticsearch", "postgres")
COLLISION = [f"TEXTCOLLBYfGiJUETHQ4h{letter}cKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak" for letter in "AE"]
"""Two texts with one MD5 (Marc Stevens' alphanumeric collision, published in 2024)."""


def click_bytes(make_click, event_id="bad", **members):
    """A click with any members, of whatever types."""
    return msgspec.json.encode(msgspec.to_builtins(make_click(event_id)) | members)


def session_bytes(make_session, **members):
    return msgspec.json.encode(msgspec.to_builtins(make_session("2026-01-01-bad", 1)) | members)


@pytest.mark.parametrize("store", STORES)
def test_poison_in_every_partition_is_set_aside_and_all_good_records_arrive(
    store, pipeline, feed, stores, start_sink, until, make_click, make_session
):
    """What anybody may write to a topic, 50 good clicks between each, and one good session."""
    stores.set_up(store)
    names = pipeline.names
    incompressible = "".join(random.Random(1).choices(string.ascii_letters, k=900_000))
    poison = [
        (names.enriched_clicks, value)
        for value in (
            b"not json",
            b"",
            None,
            b"\xff\xfe",
            b"[]",
            b"5",
            b'{"event_id":1}',
            b'"' + incompressible.encode() + b'"',
            click_bytes(make_click, storage_day="1969-12-31"),
            click_bytes(make_click, storage_day="0001-01-01"),
            click_bytes(make_click, event_id="x" * 65),
            click_bytes(make_click, user_id="u" * 3_000),
            click_bytes(make_click, source="s" * 9_000),
            click_bytes(make_click, event_time=2**70),
            click_bytes(make_click, timestamp=-1),
            click_bytes(make_click, ip="no address"),
            click_bytes(make_click, storage_day="2001-01-01"),
            click_bytes(make_click, storage_day="9999-12-31"),
            click_bytes(make_click, received_at=253_402_300_799_999),
            click_bytes(make_click, event_time=253_402_300_799_999),
            click_bytes(make_click, received_at=0, storage_day="1970-01-01"),
        )
    ] + [
        (names.sessions, value)
        for value in (
            b"{",
            None,
            session_bytes(make_session, funnels={"a": 1_099_511_627_776}),
            session_bytes(make_session, funnels={"a": -1}),
            session_bytes(make_session, funnels={str(number): 1 for number in range(1_001)}),
            session_bytes(make_session, events=2**31),
            session_bytes(make_session, page_views=-1),
            session_bytes(make_session, start=5, end=4),
            session_bytes(make_session, start=0, end=2**63),
            session_bytes(make_session, merged_ids=["m"] * 10_001),
            session_bytes(make_session, merged_ids=["m" * 600]),
            session_bytes(make_session, id="2026-01-01-" + "ü" * 251),
            session_bytes(make_session, device="d" * 3_000),
            session_bytes(make_session, version=2**63),
            session_bytes(make_session, id="9999-12-31-bad"),
            session_bytes(make_session, end=253_402_300_799_999),
        )
    ]
    good = 0
    for topic, value in poison:
        for partition in range(3):
            headers = [("traceparent", b"\xff"), *((f"h{number}", b"v" * 10) for number in range(200))]
            feed.producer.produce(topic, value, b"\xff\xfekey", partition=partition, headers=headers)
        feed.clicks([make_click(f"good-{good + number}", user_id=f"user-{number}") for number in range(50)])
        good += 50
    feed.clicks([])
    feed.raw(names.enriched_clicks, "new", click_bytes(make_click, "with-a-field-of-the-next-release", planet="Mars"))
    feed.session(make_session("2026-01-01-good", 3))
    sink = start_sink(store, pipeline)
    until(lambda: feed.settled(store), 90, "everything committed", sink.log)
    wanted = sorted([f"good-{number}" for number in range(good)] + ["with-a-field-of-the-next-release"])
    assert stores.event_ids(store) == wanted
    assert stores.sessions(store) == {"2026-01-01-good": 3}
    dead = feed.dead_letters()
    assert len(dead) == 3 * len(poison)
    for topic, value in poison:
        same = [row for row in dead if row.origin.topic == topic and row.original == (value or b"")[:KEPT_BYTES]]
        assert sorted(row.origin.partition for row in same) in ([0, 1, 2], [0, 0, 1, 1, 2, 2]), value and value[:80]
        for row in same:
            assert row.reason
            assert row.origin.key == b"\xff\xfekey"
            assert row.origin.headers[1] == ("h0", b"v" * 10)
    until(lambda: sink.metric("clickstream_consumer_lag_records") == 0, 20, "no lag", sink.log)
    assert sink.metric("clickstream_dead_letters_total") == 3 * len(poison)
    assert sink.popen.poll() is None
    assert (sink.get("/readyz")[0], sink.get("/healthz")[0]) == (200, 200)


class Message:
    """The part of confluent_kafka's Message that decoding reads."""

    def __init__(self, topic, value, key, headers=None):
        self._values = {"topic": topic, "partition": 0, "offset": 0, "value": value, "key": key, "headers": headers}

    def __getattr__(self, name):
        return lambda: (1, 1_767_261_600_000) if name == "timestamp" else self._values[name]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=80)
    | st.sampled_from(
        ["undated", "2026-01-01", "1970-01-01", "9999-12-31", "\x00", "\\", '"', "🛒", "", "null", "\\N"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def records_like(draw, whole):
    """A good record in which some members have been replaced by anything, or are gone."""
    changed = dict(whole)
    for name in draw(st.lists(st.sampled_from(sorted(whole)), max_size=4)):
        if draw(st.booleans()):
            changed[name] = draw(JSON)
        else:
            changed.pop(name, None)
    return msgspec.json.encode(changed)


CLICK = msgspec.json.decode(
    encode_enriched(
        EnrichedClick(
            "e",
            0,
            0,
            1_767_261_600_000,
            "2026-01-01",
            "u",
            "s",
            "/",
            "/",
            "home",
            properties={"a": 1},
            joins={"j": {"b": "c"}},
        )
    )
) | {
    "title": "t",
    "ip": "203.0.113.1",
    "country": "DE",
    "session": "2026-01-01-s",
    "medium": "direct",
    "device": "other",
}
SESSION = msgspec.json.decode(
    encode_session(
        Session(
            "2026-01-01-a",
            "u",
            "2026-01-01",
            1,
            2,
            3,
            4,
            5,
            "/",
            "/x",
            "direct",
            "other",
            funnels={"f": 1},
            merged_ids=["m"],
        )
    )
)


@pytest.mark.parametrize("store", STORES)
def test_fuzz_whatever_is_decoded_a_store_takes_it_or_names_it(store, pipeline, stores, open_sink):
    """Batches of damaged records beside a good one: no exception, nothing held up, the good one is always stored."""
    sink = open_sink(store)
    decode = decoder(pipeline.names, kept_ms(pipeline, sink.retention), traced=True)
    good = (
        encode_enriched(msgspec.convert(CLICK | {"event_id": "good"}, EnrichedClick)),
        pipeline.names.enriched_clicks,
    )
    tried = 0

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        st.lists(records_like(CLICK) | st.binary(max_size=40), max_size=8), st.lists(records_like(SESSION), max_size=8)
    )
    def batch(clicks, sessions):
        nonlocal tried
        values = [good, *((value, pipeline.names.enriched_clicks) for value in clicks)]
        values += [(value, pipeline.names.sessions) for value in sessions]
        found = [decode(Message(topic, value, b"2026-01-01-a")) for value, topic in values]
        assert all(isinstance(each, Record | Refused) for each in found)
        fit = [each for each in found if isinstance(each, Record)]
        outcome = sink.write(fit)
        assert (outcome.later, outcome.blocked, outcome.trouble) == ([], [], None)
        assert len(outcome.refused) + sum(outcome.stored.values()) + sum(outcome.known.values()) == len(fit)
        assert fit[0] not in [(each.partition, each.offset, each.value) for each in outcome.refused]
        tried += 1

    batch()
    assert tried >= 100
    assert "good" in stores.event_ids(store)
    if store == "elasticsearch":
        stores.es.indices.delete(index=",".join(stores.es.indices.get(index=f"{pipeline.names.index_prefix}.*").body))


@pytest.mark.parametrize("batches", [1, 2], ids=["in one batch", "one after the other"])
def test_two_pages_with_one_md5_are_two_pages(batches, stores, open_sink, records, make_click):
    clicks = [make_click(f"e{number}", page=page, page_path=page) for number, page in enumerate(COLLISION)]
    sink = open_sink("postgres")
    for part in [clicks] if batches == 1 else [[click] for click in clicks]:
        outcome = sink.write(records(*part))
        assert (outcome.stored["click"], outcome.refused) == (len(part), [])
    assert stores.sql("SELECT count(DISTINCT md5(page_path)) FROM page_views_minute") == [(1,)]
    assert stores.sql("SELECT page_path, views::int FROM page_views_minute ORDER BY 1") == [
        (page, 1) for page in COLLISION
    ]


def test_a_session_with_the_longest_landing_page_is_stored_as_its_clicks_are(stores, open_sink, records, make_session):
    letters = random.Random(3)
    pages = ["/" + "".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(2_047)) for _ in range(2)]
    sink = open_sink("postgres")
    outcome = sink.write(
        records(
            make_session(
                "2026-01-01-" + "i" * 245,
                1,
                entry_page=pages[0],
                exit_page=pages[1],
                campaign=pages[0],
                referrer_host=pages[1],
                device="d" * 64,
                medium="ü" * 64,
                country="🛒" * 64,
                user_id="🛒" * 256,
            )
        )
    )
    assert (outcome.stored["session"], outcome.refused) == (1, [])


def test_a_click_with_the_longest_key_is_stored(stores, open_sink, records, make_click):
    letters = random.Random(3)
    texts = ["".join(chr(letters.randrange(0x20000, 0x2A6DF)) for _ in range(256)) for _ in range(3)]
    for store in STORES:
        click = make_click(texts[0][:64], user_id=texts[0], client_session_id=texts[1], source=texts[2])
        outcome = open_sink(store).write(records(click, msgspec.structs.replace(click, source="other")))
        assert (outcome.stored["click"], outcome.refused) == (2, [])


def test_an_error_of_an_unknown_kind_is_the_records_whose_row_it_is(stores, open_sink, records, make_click):
    """XX000, 42xxx and what else a trigger, an extension or a bug may answer for one row."""
    sink = open_sink("postgres")
    stores.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.title LIKE 'error %' THEN RAISE EXCEPTION 'no' USING ERRCODE = split_part(NEW.title, ' ', 2); END IF; "
        "RETURN NEW; END $$"
    )
    stores.sql("CREATE TRIGGER refuse BEFORE INSERT ON clicks FOR EACH ROW EXECUTE FUNCTION refuse()")
    codes = ["XX000", "42P10", "21000", "23505", "0A000", "P0001", "22012", "42883"]
    clicks = [make_click(f"g{number}") for number in range(200)]
    for number, code in enumerate(codes):
        clicks.insert(number * 21, make_click(code, title=f"error {code}"))
    outcome = sink.write(records(*clicks))
    assert (outcome.stored["click"], outcome.later, outcome.blocked) == (200, [], [])
    assert sorted(msgspec.json.decode(each.value)["event_id"] for each in outcome.refused) == sorted(codes)
    assert all(f"SQLSTATE {msgspec.json.decode(each.value)['event_id']}" in each.reason for each in outcome.refused)


def test_an_error_that_comes_without_any_rows_too_is_no_records_fault(stores, open_sink, records, make_click):
    sink = open_sink("postgres")
    assert sink.write(records(make_click("before"))).stored["click"] == 1
    stores.sql(
        "CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = "
        "'XX000'; END $$"
    )
    stores.sql("CREATE TRIGGER break BEFORE INSERT ON clicks FOR EACH STATEMENT EXECUTE FUNCTION break()")
    with pytest.raises(psycopg.errors.InternalError_):
        sink.write(records(*(make_click(f"e{number}") for number in range(10))))


def test_a_request_that_elasticsearch_refuses_as_a_whole_is_halved_to_the_record(
    stores, open_sink, records, make_click
):
    """An id beyond the limit fails the whole request (validation lets none through; another release's might)."""
    sink = open_sink("elasticsearch")
    clicks = [make_click(f"g{number}") for number in range(40)]
    bad = make_click("x" * 600)
    outcome = sink.write(records(*clicks[:17], bad, *clicks[17:]))
    assert (outcome.stored["click"], outcome.later, outcome.blocked) == (40, [], [])
    (refused,) = outcome.refused
    assert (refused.code, msgspec.json.decode(refused.value)["event_id"]) == ("refused_request", "x" * 600)


def test_an_old_session_goes_on_in_its_index_and_no_index_is_made_anew_for_another(
    pipeline, stores, records, make_session, make_click
):
    """Something asks every minute for years: its session has one record after the other, under the day of the first."""
    short = msgspec.structs.replace(
        pipeline, sinks=msgspec.structs.replace(pipeline.sinks, elasticsearch=msgspec.structs.replace(
            pipeline.sinks.elasticsearch, retention="3d"
        ))
    )  # fmt: skip
    stores.set_up("elasticsearch")
    sink, start = make_sink("elasticsearch", short), 1_577_880_000_000  # 2020-01-01
    now = int(time.time() * 1_000)
    first = records(make_session("2020-01-01-a", 1, start=start, end=start), time_ms=start)
    assert sink.write(first).stored["session"] == 1
    hostile = [make_session(f"{iso_day(day * 86_400_000)}-b", 1) for day in range(15_000, 18_000, 10)]
    gone = [Retraction("2019-01-01-c", 2, "2020-01-01-a"), Retraction("2020-01-01-c", 2, "2020-01-01-a")]
    later = make_session("2020-01-01-a", 2, start=start, end=now)
    outcome = sink.write(records(later, *hostile, *gone, make_click("new"), make_session("undated-a", 1)))
    assert outcome.stored == {"session": 2, "retraction": 1, "click": 1}
    assert {(each.code, each.path) for each in outcome.refused} == {("day_is_gone", "$.id")}
    assert len(outcome.refused) == len(hostile) + 1
    days = {
        name.rsplit("sessions.", 1)[1] for name in stores.es.indices.get(index=f"{pipeline.names.sessions_alias}.*")
    }
    assert days == {"2020.01.01", "undated"}
    assert stores.sessions("elasticsearch") == {"2020-01-01-a": 2, "undated-a": 1}
    sink.close()
