"""Kafka dies and comes back: 503 with Retry-After meanwhile, then 202 again, by the same process."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from confluent_kafka.admin import AdminClient

from clickstream.contracts.topics import topics_of
from clickstream.setup.topics import LaterError, TopicAdmin, TopicError
from devstack import Stack


@pytest.fixture
def own_kafka(tmp_path):
    """A Kafka that may be killed without disturbing other tests."""
    with Stack.up(home=tmp_path / "servers", services=("kafka",)) as stack:
        yield stack


def test_while_kafka_is_dead_events_are_answered_with_503_and_afterwards_accepted_again(
    start_api, read, own_kafka, event
):
    api = start_api(servers=own_kafka)
    assert api.post(event(event_id="before")).status == 202
    own_kafka.kafka.kill()

    answers = []

    def post(body: object, target: str) -> None:
        started = time.monotonic()
        answers.append((api.post(body, target), time.monotonic() - started))

    calls = [(event(), "/v1/events"), ({"events": [event()] * 9}, "/v1/events/batch"), (b"not json", "/v1/events")] * 3
    threads = [threading.Thread(target=post, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == len(calls)
    for answer, seconds in answers:
        assert answer.status == 503, answer
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json["error"]["code"] == "unavailable"
        assert seconds < 10

    # Known to be down, it no longer makes clients wait: but for one probe at a time they are refused at once.
    probe = threading.Thread(target=post, args=(event(event_id="early"), "/v1/events"))
    probe.start()
    deadline = time.monotonic() + 10
    while not api.metrics()["clickstream_producer_queue_records"]:
        assert time.monotonic() < deadline, api.output
    started = time.monotonic()
    for _ in range(20):
        assert api.post(event(event_id="early"), Origin="https://shop.example").status == 503
    assert time.monotonic() - started < 3
    probe.join()
    assert api.request("GET", "/readyz").status == 200
    assert api.request("GET", "/healthz").status == 200
    assert api.metrics()["clickstream_http_unavailable_total"] >= 9

    own_kafka.kafka.start()
    deadline = time.monotonic() + 60
    while (answer := api.post(event(event_id="after"))).status == 503:
        assert time.monotonic() < deadline, api.output
    assert answer.status == 202
    for number in range(20):
        assert api.post(event(event_id=f"later-{number}")).status == 202

    stored = {click.event_id for click in read(api, "raw_clicks").clicks()}
    assert stored >= {"before", "after", *(f"later-{number}" for number in range(20))}
    assert "Traceback" not in api.output
    assert api.stop() == 0


def test_while_the_brokers_are_frozen_nobody_waits_long_and_afterwards_all_is_well(start_api, read, own_kafka, event):
    """Connections stay open and nothing is answered: only time tells."""
    api = start_api(servers=own_kafka)
    assert api.post(event(event_id="before")).status == 202
    os.kill(own_kafka.kafka.pid, signal.SIGSTOP)
    try:
        for number in range(3):
            started = time.monotonic()
            assert api.post(event(event_id=f"frozen-{number}")).status == 503
            assert time.monotonic() - started < 10
    finally:
        os.kill(own_kafka.kafka.pid, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while api.post(event(event_id="after")).status == 503:
        assert time.monotonic() < deadline, api.output
    # What was answered with 503 may have got through; whoever sends it again changes nothing.
    again = [f"frozen-{number}" for number in range(3)]
    assert [api.post(event(event_id=event_id)).status for event_id in again] == [202] * 3
    assert {click.event_id for click in read(api, "raw_clicks").clicks()} == {"before", "after", *again}
    assert "Traceback" not in api.output


def test_an_api_that_starts_before_kafka_is_ready_and_accepts_once_kafka_is_there(
    start_api, own_kafka, event, tmp_path
):
    earlier = start_api(servers=own_kafka)
    assert earlier.stop() == 0
    own_kafka.kafka.stop()
    api = type(earlier)(earlier.pipeline, tmp_path)
    try:
        assert api.request("GET", "/readyz").status == 200
        assert api.post(event()).status == 503
        own_kafka.kafka.start()
        deadline = time.monotonic() + 60
        while api.post(event()).status == 503:
            assert time.monotonic() < deadline, api.output
    finally:
        assert api.stop() == 0


def test_a_topic_that_is_created_anew_after_a_restart_of_the_brokers_gets_a_new_client(
    start_api, read, own_kafka, event
):
    """Its leader epochs are lower than those that the old client knows. Nothing that is accepted is missing from it."""
    api = start_api(servers=own_kafka)
    assert api.post(event(event_id="before")).status == 202
    own_kafka.kafka.stop()
    own_kafka.kafka.start()
    topics = {topic.name: topic for topic in topics_of(api.pipeline)}
    name = api.pipeline.names.raw_clicks
    admin = AdminClient({"bootstrap.servers": own_kafka.kafka.bootstrap_servers})
    admin.delete_topics([name])[name].result()
    deadline = time.monotonic() + 60
    while True:
        try:
            TopicAdmin(api.pipeline.kafka).create([topics[name]])
            break
        except (TopicError, LaterError):  # it is being deleted
            assert time.monotonic() < deadline
    accepted: list[str] = []
    while "was created anew" not in api.output or len(accepted) < 20:
        event_id = f"after-{len(accepted)}"
        if api.post(event(event_id=event_id)).status == 202:
            accepted.append(event_id)
        assert time.monotonic() < deadline, api.output
    for number in range(20):
        assert api.post(event(event_id=f"new-client-{number}")).status == 202
    stored = {click.event_id for click in read(api, "raw_clicks").clicks()}
    # What was accepted a moment before the deletion was seen may have gone into the old topic.
    assert stored >= {*accepted[-10:], *(f"new-client-{number}" for number in range(20))}
    assert "before" not in stored
    assert "Traceback" not in api.output
    assert api.stop() == 0


def test_a_full_queue_is_answered_with_503_and_nothing_else_is_lost(start_api, read, event):
    api = start_api(env={"CLICKSTREAM_QUEUE_MAX_MESSAGES": "100"})
    batch = {"events": [event(event_id=f"e-{number}") for number in range(400)]}
    refused = api.post(batch, "/v1/events/batch")
    assert refused.status == 503
    assert "retry-after" in refused.headers
    small = {"events": [event(event_id=f"small-{number}") for number in range(50)]}
    deadline = time.monotonic() + 20
    while api.post(small, "/v1/events/batch").status == 503:
        assert time.monotonic() < deadline
    stored = {click.event_id for click in read(api, "raw_clicks").clicks()}
    assert stored >= {f"small-{number}" for number in range(50)}
