"""A click in a store: once, with exactly the values that were sent, and counted once in the rollups."""

from __future__ import annotations

import datetime as dt
import json
import random

import msgspec
import pytest

STORES = ("elasticsearch", "postgres")

NASTY = [
    "emoji 🛒👩‍👩‍👧 and ümläut and 漢字",
    'quotes " and \' and "" and `',
    "backslash \\ and \\\\ and \\n and \\N and \\.",
    "\\N",
    "\\.",
    "null",
    "tab\tnewline\nreturn\r\nbell\x07 escape\x1b unit\x1f delete\x7f",
    "comma, semicolon; {braces} [brackets] %percent %s $1 ${x}",
    " leading and trailing ",
    "line separator \u2028 and nbsp \u00a0 and bom \ufeff and noncharacter \uffff",
]


def document(store, stores, event_id):
    """A stored click as a dict of the contract's fields, absent ones None."""
    if store == "elasticsearch":
        return stores.search(stores.names.clicks_alias, query={"term": {"event_id": event_id}})[0]["_source"]
    columns = "event_id, user_id, title, page, page_path, referrer, user_agent, properties, joins, host(ip), session_id"
    row = stores.sql(f"SELECT {columns} FROM clicks WHERE event_id = %s", event_id)[0]
    names = ["event_id", "user_id", "title", "page", "page_path", "referrer", "user_agent", "properties", "joins", "ip"]
    return dict(zip([*names, "session"], row, strict=True))


@pytest.mark.parametrize("store", STORES)
def test_every_string_comes_out_as_it_went_in(store, stores, open_sink, records, make_click):
    sink = open_sink(store)
    clicks = [
        make_click(
            f"e{number}",
            user_id=text,
            title=text,
            page=text,
            page_path=text,
            referrer=text,
            user_agent=text,
            session=None if number % 2 else text,
            ip="2001:db8:0:1::" if number % 2 else "203.0.113.0",
            properties={
                text: text,
                "n": 1.5,
                "big": 12345678901234567890123,
                "yes": True,
                "no": None,
                "": "",
                "a.b": 1,
            },
            joins={"product": {"name": text, "price": 19.9}},
        )
        for number, text in enumerate(NASTY)
    ]
    outcome = sink.write(records(*clicks))
    assert (outcome.stored["click"], outcome.refused, outcome.later) == (len(NASTY), [], [])
    for click in clicks:
        found = document(store, stores, click.event_id)
        wanted = msgspec.to_builtins(click)
        for field in ("user_id", "title", "page", "page_path", "referrer", "user_agent", "properties", "joins", "ip"):
            assert found[field] == wanted[field], (click.event_id, field)
        assert found["session"] == click.session


def test_both_stores_hold_every_field_of_a_click(stores, open_sink, records, make_click):
    late = make_click(
        "full",
        timestamp=1_700_000_000_123,
        event_time=253_402_300_799_999,
        received_at=1_700_000_001_456,
        late=True,
        bot=True,
        bot_kind="ai",
        source="web",
        type="add_to_cart",
        page_host="shop.example",
        referrer_host="www.google.com",
        referrer_source="google",
        medium="search",
        campaign="autumn",
        campaign_source="news",
        campaign_medium="email",
        campaign_term="shoes",
        campaign_content="top",
        browser="Chrome",
        browser_version="130",
        os="Linux",
        device="desktop",
        country="DE",
    )
    for store in STORES:
        assert open_sink(store).write(records(late)).stored["click"] == 1
    found = stores.search(stores.names.clicks_alias)[0]
    assert found["_index"] == stores.names.clicks_index("2023-11-14")
    assert found["_source"] == msgspec.to_builtins(late) | dict.fromkeys(("title", "referrer", "user_agent", "ip")) | {
        "joins": {},
        "properties": {},
    }
    row = stores.sql(
        "SELECT json_build_object('event_time', to_char(event_time, 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), "
        "'received_at', received_at, 'client_timestamp', client_timestamp, 'day', storage_day, 'rest', "
        "to_jsonb(c) - ARRAY['event_time','received_at','client_timestamp','storage_day']) FROM clicks c"
    )[0][0]
    assert row["event_time"] == "9999-12-31T23:59:59.999000"
    assert dt.datetime.fromisoformat(row["received_at"]) == dt.datetime(2023, 11, 14, 22, 13, 21, 456_000, dt.UTC)
    assert dt.datetime.fromisoformat(row["client_timestamp"]) == dt.datetime(2023, 11, 14, 22, 13, 20, 123_000, dt.UTC)
    assert row["day"] == "2023-11-14"
    rest = row["rest"]
    assert rest.pop("session_id") == late.session
    assert rest.pop("replayed_at") is None
    for name, value in rest.items():
        assert value == getattr(late, name), name


@pytest.mark.parametrize("store", STORES)
def test_a_retry_that_differs_in_all_but_its_id_is_the_same_click(store, stores, open_sink, records, make_click):
    """Across midnight, a restart and the dedup horizon: receipt, event time and session move, the storage day does
    not."""
    sink = open_sink(store)
    sent = 1_767_225_590_000  # 2025-12-31T23:59:50Z
    first = make_click("retry", timestamp=sent, event_time=sent, received_at=sent + 500, session="2025-12-31-a")
    again = make_click(
        "retry", timestamp=sent, event_time=sent + 86_400_000, received_at=sent + 86_400_000, session="2026-01-01-b"
    )
    assert sink.write(records(first)).stored["click"] == 1
    both = sink.write(records(again, again, make_click("other", timestamp=sent, received_at=sent)))
    assert (both.stored["click"], both.known["click"]) == (1, 2)
    assert stores.event_ids(store) == ["other", "retry"]
    if store == "postgres":
        assert stores.sql("SELECT minute::text, views::int FROM page_views_minute") == [("2025-12-31 23:59:00+00", 2)]
        assert stores.sql("SELECT count(*) FROM active_users_day") == [(1,)]


@pytest.mark.parametrize("store", STORES)
def test_of_two_copies_in_a_batch_the_first_one_stands(store, stores, open_sink, records, make_click):
    """In both stores alike, wherever in the batch they are: a session counts the same clicks by either."""
    copies = [[make_click(f"e{number}", session=f"{copy} copy") for number in range(300)] for copy in ("first", "next")]
    random.Random(7).shuffle(copies[1])
    outcome = open_sink(store).write(records(*copies[0], *copies[1]))
    assert (outcome.stored["click"], outcome.known["click"]) == (300, 300)
    if store == "elasticsearch":
        stood = {hit["_source"]["session"] for hit in stores.search(stores.names.clicks_alias)}
    else:
        stood = {session for (session,) in stores.sql("SELECT session_id FROM clicks")}
    assert stood == {"first copy"}


@pytest.mark.parametrize("store", STORES)
def test_undated_clicks_and_clicks_of_many_days_find_their_place(store, stores, open_sink, records, make_click):
    sink = open_sink(store)
    start = 1_767_225_600_000
    days = [make_click(f"d{number}", timestamp=start + number * 86_400_000) for number in range(5)]
    undated = [make_click(f"u{number}", timestamp=number, storage_day="undated") for number in (0, 2024, 2**41)]
    outcome = sink.write(records(*days, *undated, *undated))
    assert (outcome.stored["click"], outcome.known["click"]) == (8, 3)
    assert len(stores.event_ids(store)) == 8
    if store == "postgres":
        found = stores.sql("SELECT event_id, storage_day, tableoid::regclass::text FROM clicks ORDER BY 1")
        assert found[0] == ("d0", dt.date(2026, 1, 1), "clicks_20260101")
        assert found[-1][1:] == (dt.date(1, 1, 1), "clicks_undated")
    else:
        times = {hit["_id"]: hit["_source"]["timestamp"] for hit in stores.search(stores.names.clicks_index("undated"))}
        assert times == {"u0": 0, "u2024": 2024, f"u{2**41}": 2**41}


@pytest.mark.parametrize("store", STORES)
def test_what_a_store_refuses_for_good_is_named_and_the_others_are_stored(
    store, stores, open_sink, records, make_click, make_session
):
    sink = open_sink(store)
    good = [make_click(f"g{number}") for number in range(50)]
    bad = make_click("bad", ip="not-an-address-4711")
    outcome = sink.write(records(*good[:20], bad, *good[20:], make_session("2026-01-01-s", 1)))
    assert outcome.stored == {"click": 50, "session": 1} | ({"retraction": 0} if store == "postgres" else {})
    assert outcome.later == []
    (refused,) = outcome.refused
    assert json.loads(refused.value)["event_id"] == "bad"
    assert (refused.path, refused.received_at) == ("$.ip", bad.received_at)
    assert "4711" not in refused.reason
    assert refused.code == ("document_parsing_exception" if store == "elasticsearch" else "invalid_text_representation")
    assert stores.event_ids(store) == sorted(click.event_id for click in good)
    if store == "postgres":
        assert stores.sql("SELECT sum(views)::int FROM page_views_minute") == [(50,)]


def test_postgres_refuses_a_nul_character_and_a_number_out_of_range_alone(
    stores, open_sink, records, make_click, make_session
):
    sink = open_sink("postgres")
    outcome = sink.write(
        records(
            make_click("nul", title="a\x00b"),
            make_click("nul-in-json", properties={"a": "\x00"}),
            make_click("good"),
            make_session("2026-01-01-big", 1, events=2**40),
            make_session("2026-01-01-good", 2),
        )
    )
    assert sorted(item.code for item in outcome.refused) == [
        "character_not_in_repertoire",
        "numeric_value_out_of_range",
        "untranslatable_character",
    ]
    assert stores.event_ids("postgres") == ["good"]
    assert stores.sessions("postgres") == {"2026-01-01-good": 2}


def test_a_click_too_large_for_one_bulk_request_goes_alone(stores, open_sink, records, make_click):
    """Values longer than Lucene's largest term are kept, and only not searchable."""
    sink = open_sink("elasticsearch")
    clicks = [make_click(f"e{number}", title="ü" * 300_000, referrer="x" * 100_000) for number in range(20)]
    assert sink.write(records(*clicks)).stored["click"] == 20
    assert len(stores.event_ids("elasticsearch")) == 20


def test_page_paths_longer_than_an_index_row_are_counted_apart(stores, open_sink, records, make_click):
    letters = random.Random(1)
    sink = open_sink("postgres")
    paths = ["/" + "".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(2_047)) for _ in range(3)]
    clicks = [make_click(f"e{number}-{copy}", page_path=path) for number, path in enumerate(paths) for copy in range(2)]
    outcome = sink.write(records(*clicks))
    assert (outcome.stored["click"], outcome.refused) == (6, [])
    assert stores.sql("SELECT views::int FROM page_views_minute GROUP BY page_path, views") == [(2,)] * 3


def test_a_fault_of_ours_ends_the_write_instead_of_filling_dead_letters(stores, open_sink, records, make_click):
    sink = open_sink("postgres")
    assert sink.write(records(make_click("before"))).stored["click"] == 1
    stores.sql("ALTER TABLE clicks RENAME COLUMN title TO heading")
    with pytest.raises(Exception, match="title"):
        sink.write(records(make_click("after")))


def test_a_partition_that_is_dropped_under_a_running_sink_is_made_again(stores, open_sink, records, make_click):
    sink = open_sink("postgres")
    at = 1_767_225_600_000
    assert sink.write(records(make_click("one", timestamp=at))).stored["click"] == 1
    stores.sql("DROP TABLE clicks_20260101")
    outcome = sink.write(records(make_click("two", timestamp=at)))
    assert (outcome.stored["click"], outcome.refused, outcome.later) == (1, [], [])
    assert stores.event_ids("postgres") == ["two"]
