"""Hours and days of the rollups are those of the pipeline's time zone, through midnight and daylight saving."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from clickstream.sinks.main import make_sink

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1_000)


CLICKS = {
    # local midnight is 22:00 or 23:00 UTC
    "summer-before": "2026-07-01T23:59:59+02:00",
    "summer-after": "2026-07-02T00:00:00+02:00",
    "winter-before": "2026-12-31T23:59:59+01:00",
    "winter-after": "2027-01-01T00:00:00+01:00",
    # the hour from 2 to 3 comes twice on 2026-10-25
    "first-half-past-two": "2026-10-25T02:30:00+02:00",
    "second-half-past-two": "2026-10-25T02:30:00+01:00",
}
DAYS = [("2026-07-01", 1), ("2026-07-02", 1), ("2026-10-25", 1), ("2026-12-31", 1), ("2027-01-01", 1)]


@pytest.fixture
def berlin(pipeline):
    return msgspec.structs.replace(pipeline, time_zone=BERLIN)


def days(stores):
    return [
        (str(day), users)
        for day, users in stores.sql("SELECT day, count(*) FROM active_users_day GROUP BY 1 ORDER BY 1")
    ]


def test_hours_and_days_are_local(berlin, stores_of, records, make_click):
    stores = stores_of(berlin)
    stores.set_up("postgres")
    sink = make_sink("postgres", berlin)
    clicks = [make_click(name, timestamp=ms(text), user_id="u") for name, text in CLICKS.items()]
    bot = make_click("bot", timestamp=ms(CLICKS["summer-after"]), user_id="crawler", bot=True)
    assert sink.write(records(*clicks, bot)).stored["click"] == 7
    sink.close()
    assert days(stores) == [(day, users + (day == "2026-07-02")) for day, users in DAYS]
    hours = [row[0].isoformat() for row in stores.sql("SELECT DISTINCT hour FROM active_users_hour ORDER BY 1")]
    assert hours == [
        "2026-07-01T21:00:00+00:00",
        "2026-07-01T22:00:00+00:00",
        "2026-10-25T00:00:00+00:00",  # both hours from 2 to 3, apart
        "2026-10-25T01:00:00+00:00",
        "2026-12-31T22:00:00+00:00",
        "2026-12-31T23:00:00+00:00",
    ]
    found = stores.sql("SELECT period_start, users::int FROM unique_users WHERE grain = 'day' ORDER BY 1")
    assert [(start.isoformat(), users) for start, users in found][:2] == [
        ("2026-06-30T22:00:00+00:00", 1),
        ("2026-07-01T22:00:00+00:00", 1),
    ], "days begin at local midnight, bots are left out"


def test_a_zone_of_half_an_hour_has_hours_of_its_own(pipeline, stores_of, records, make_click):
    india = msgspec.structs.replace(pipeline, time_zone="Asia/Kolkata")
    stores = stores_of(india)
    stores.set_up("postgres")
    sink = make_sink("postgres", india)
    sink.write(records(make_click("e", timestamp=ms("2026-07-01T12:15:00+05:30"))))
    sink.close()
    assert stores.sql("SELECT hour::text FROM active_users_hour") == [("2026-07-01 06:30:00+00",)]


def test_a_changed_time_zone_counts_the_past_anew_and_running_sinks_follow(
    berlin, stores, stores_of, open_sink, records, make_click
):
    sink = open_sink("postgres")  # set up with UTC
    texts = list(CLICKS.items())
    sink.write(records(*[make_click(name, timestamp=ms(text), user_id="u") for name, text in texts[:5]]))
    assert [day for day, _ in days(stores)] == ["2026-07-01", "2026-10-25", "2026-12-31"]
    after = stores_of(berlin)
    after.set_up("postgres")
    sink.write(records(*[make_click(name, timestamp=ms(text), user_id="u") for name, text in texts[5:]]))
    assert days(after) == DAYS
