"""What a change of release keeps of open sessions and event ids, and the limits that docs/operations.md names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from clickstream.contracts.clicks import Click, EnrichedClick
from clickstream.contracts.pipeline import Pipeline, dump_pipeline
from clickstream.contracts.session_records import Session, decode_session
from demo.drain import Lag, records_on
from support.processes import Process, clickstream, wait_for
from support.releases import THIS, Release
from support.topics import feed, read_all
from support.traffic import MINUTE, START, standing

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def click(number: int, user: str = "person", agent: str = FIREFOX) -> Click:
    """A user's click of that minute. The older release does not know the field `country`."""
    return Click(
        event_id=f"{user}-{number}",
        timestamp=START + number * MINUTE,
        user_id=user,
        session_id="tab",
        page=f"https://shop.example/{number}",
        received_at=START + number * MINUTE + 1,
        source="web",
        user_agent=agent,
        country="DE",
    )


def enrich(pipeline: Pipeline, release: Release, folder: Path, *clicks: Click) -> None:
    """Let an enricher of that release, started for it, take these clicks."""
    document = folder / "pipeline.json"
    document.write_bytes(dump_pipeline(pipeline))
    command = clickstream("enricher", "--pipeline", str(document), "--ops-port-file", "{ops_port_file}")
    enricher = Process("enricher", command, folder, release.env | {"CLICKSTREAM_LOG_FORMAT": "text"})
    try:
        enricher.wait_ready()
        feed(pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks, clicks)
        lag = Lag(pipeline)
        wait_for(lambda: lag.enricher() == 0, "the clicks are enriched", enricher)
        assert enricher.stop() == 0
    finally:
        enricher.kill()


def test_sessions_go_on_and_known_limits_hold(pipeline: Pipeline, old: Release, tmp_path: Path) -> None:
    servers, names = pipeline.kafka.bootstrap_servers, pipeline.names
    bots = [click(number, "crawler", GOOGLEBOT) for number in range(4)]
    enrich(pipeline, old, tmp_path, click(0), bots[0])
    enrich(pipeline, THIS, tmp_path, click(0), click(1), bots[1])  # up: what the older release knew is known
    enrich(pipeline, old, tmp_path, click(1), click(2), bots[2])  # down: it does not know what the newer one saw
    enrich(pipeline, THIS, tmp_path, click(0), click(1), click(2), click(3), bots[3])

    assert records_on(pipeline, names.dead_letters) == 0
    enriched = [
        msgspec.json.decode(message.value() or b"", type=EnrichedClick)
        for message in read_all(servers, names.enriched_clicks)
    ]
    # A click of before the downgrade that is sent again after it is enriched again, once: stores know its identity.
    assert Counter(each.event_id for each in enriched if each.user_id == "person") == {
        "person-0": 2,
        "person-1": 2,
        "person-2": 1,
        "person-3": 1,
    }
    sessions = standing(
        [
            decode_session(message.key() or b"", message.value(), message.headers())
            for message in read_all(servers, names.sessions)
        ]
    )
    (person,) = [each for each in sessions if each.user_id == "person"]
    assert (person.start, person.end) == (START, START + 3 * MINUTE)
    assert person.events == 6, "each of the two counts twice in its session"
    assert {each.session for each in enriched if each.user_id == "person"} == {person.id}
    # The older release keeps a bot's clicks with a person's of that user id: a bot's session ends with the release.
    crawls = [each for each in sessions if each.user_id == "crawler"]
    assert all(isinstance(each, Session) and each.bot for each in crawls)
    assert sorted(each.events for each in crawls) == [2, 2]
