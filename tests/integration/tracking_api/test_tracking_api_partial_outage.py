"""What cannot be written refuses only what belongs there: a topic that is gone, that lacks replicas, or that takes
less."""

from __future__ import annotations

import gzip
import random
import threading
import time

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from clickstream.contracts.dead_letters import KEPT_BYTES
from clickstream.tracking_api.availability import partition_of
from support.waiting import until


@pytest.fixture
def admin(stack):
    return AdminClient({"bootstrap.servers": stack.kafka.bootstrap_servers})


def configure(admin, topic: str, **changes: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in changes.items()
    ]
    [done] = admin.incremental_alter_configs([ConfigResource("topic", topic, incremental_configs=entries)]).values()
    done.result(30)


def delete(admin, topic: str) -> None:
    admin.delete_topics([topic])[topic].result(30)


def create(admin, topic: str, partitions: int) -> None:
    def created() -> bool:
        try:
            admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)
        except KafkaException as error:
            return error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS  # its removal is still under way
        return True

    until(created, seconds=30)


def test_without_dead_letters_only_what_is_refused_gets_503_and_good_clicks_go_on_at_full_speed(
    start_api, read, event, admin
):
    api = start_api()
    letters = api.pipeline.names.dead_letters
    assert api.post({"canary": 1}).status == 422
    delete(admin, letters)
    until(lambda: api.post({"canary": 1}).status == 503, seconds=30, explain=lambda: api.output)

    slowest = 0.0
    bad: list[int] = []
    ended = threading.Event()

    def send_rubbish() -> None:
        while not ended.is_set():
            bad.append(api.post({"canary": 1}).status)

    senders = [threading.Thread(target=send_rubbish) for _ in range(3)]
    for sender in senders:
        sender.start()
    for number in range(300):
        started = time.monotonic()
        assert api.post(event(event_id=f"good-{number}", user_id=f"u-{number}")).status == 202
        slowest = max(slowest, time.monotonic() - started)
    ended.set()
    for sender in senders:
        sender.join()
    assert set(bad) == {503}
    assert slowest < 3

    batch = {"events": [event(event_id="a"), {"canary": 1}, event(event_id="b"), 17]}
    answer = api.post(batch, "/v1/events/batch")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert (answer.json["accepted"], answer.json["rejected"], answer.json["unstored"]) == (2, [], [1, 3])
    assert answer.json["error"]["code"] == "unavailable"
    stored = {click.event_id for click in read(api, "raw_clicks").clicks()}
    assert stored == {"a", "b", *(f"good-{number}" for number in range(300))}

    create(admin, letters, 1)
    until(lambda: api.post({"canary": 1}).status == 422, seconds=60, explain=lambda: api.output)
    again = api.post({"events": [{"canary": 1}, 17]}, "/v1/events/batch")
    assert (again.status, again.json["accepted"], len(again.json["rejected"])) == (422, 0, 2)
    assert "Traceback" not in api.output


def test_without_the_topic_of_clicks_they_get_503_and_what_is_refused_does_not(start_api, read, event, admin):
    api = start_api()
    clicks = api.pipeline.names.raw_clicks
    assert api.post(event()).status == 202
    delete(admin, clicks)
    until(lambda: api.post(event()).status == 503, seconds=30, explain=lambda: api.output)
    answer = api.post({"events": [event(), {"canary": 1}]}, "/v1/events/batch")
    assert (answer.status, answer.json["accepted"], answer.json["unstored"]) == (503, 0, [0])
    assert [rejected["index"] for rejected in answer.json["rejected"]] == [1]
    for _ in range(5):
        started = time.monotonic()
        assert api.post({"canary": 1}).status == 422
        assert time.monotonic() - started < 3
    assert [letter.code for letter in read(api, "dead_letters").letters()] == ["missing_field"] * 6

    create(admin, clicks, 3)
    until(lambda: api.post(event(event_id="after")).status == 202, seconds=60, explain=lambda: api.output)
    for number in range(20):
        assert api.post(event(user_id=f"u-{number}")).status == 202
    assert "after" in {click.event_id for click in read(api, "raw_clicks").clicks()}
    assert "Traceback" not in api.output


def test_events_and_dead_letters_of_megabytes_are_refused_for_good_and_their_neighbours_are_taken(
    start_api, read, event
):
    api = start_api()
    large = event(page="x" * 1_900_000)
    batch = {"events": [event(event_id="a"), large, event(event_id="b")]}
    answer = api.post(gzip.compress(msgspec.json.encode(batch)), "/v1/events/batch", Content_Encoding="gzip")
    assert (answer.status, answer.json["accepted"]) == (202, 2)
    assert [(each["index"], each["code"]) for each in answer.json["rejected"]] == [(1, "event_too_large")]
    assert api.post(gzip.compress(msgspec.json.encode(large)), Content_Encoding="gzip").status == 413
    unreadable = b"[" * 1_900_000
    assert api.post(gzip.compress(unreadable), "/v1/events/batch", Content_Encoding="gzip").status == 422
    letters = read(api, "dead_letters").new()
    assert [(len(message.value()), dict(message.headers())["original_bytes"]) for message in letters] == [
        (KEPT_BYTES, b"%d" % len(msgspec.json.encode(large))),
        (KEPT_BYTES, b"%d" % len(msgspec.json.encode(large))),
        (KEPT_BYTES, b"1900000"),
    ]
    assert [click.event_id for click in read(api, "raw_clicks").clicks()] == ["a", "b"]


def test_a_topic_that_takes_less_than_ours_refuses_for_good(start_api, read, event, admin):
    api = start_api()
    names = api.pipeline.names
    configure(admin, names.raw_clicks, max_message_bytes="2000")
    noise = random.Random(1).randbytes(9_000).hex()  # what does not compress
    until(lambda: api.post(event(title=noise[:8_000])).status == 413, seconds=30, explain=lambda: api.output)
    refused = api.post({"events": [event(title=noise[:8_000], user_id="x")]}, "/v1/events/batch")
    assert (refused.status, refused.json["rejected"][0]["code"]) == (422, "record_too_large")
    kept = read(api, "dead_letters").letters()
    assert {letter.code for letter in kept} == {"record_too_large"}

    configure(admin, names.dead_letters, max_message_bytes="2000")
    bad = {"canary": noise[:8_000]}
    lost = 'clickstream_dead_letters_refused_total{stage="collect"}'
    until(lambda: api.post(bad).status == 422 and api.metrics()[lost] > 0, seconds=30, explain=lambda: api.output)
    answer = api.post(bad)
    assert (answer.status, answer.json["error"]["code"]) == (422, "missing_field"), "not 503: it would be so for ever"
    assert "raise its max.message.bytes" in api.output
    assert api.post(event()).status == 202


def test_keys_go_to_the_partitions_that_the_api_expects(start_api, read, event, stack):
    kafka = stack.kafka.member() | {"topics": {"rawClicks": {"partitions": 12}}}
    api = start_api(kafka=kafka)
    events = [event(user_id=f"{'ü' * (number % 7)}user {number}") for number in range(200)]
    assert api.post({"events": events}, "/v1/events/batch").json["accepted"] == 200
    messages = read(api, "raw_clicks").new()
    assert len({message.partition() for message in messages}) == 12
    for message in messages:
        assert message.partition() == partition_of(message.key(), 12)
