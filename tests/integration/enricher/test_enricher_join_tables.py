"""A compacted topic as a table, on a real broker: complete before the first click, kept up to date, served while the
broker is away."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from clickstream.contracts.clicks import Click, EnrichedClick, encode_click
from clickstream.contracts.pipeline import Kafka, Pipeline
from clickstream.contracts.topics import Topic
from clickstream.enricher.join_tables import JoinError, JoinTable
from clickstream.enricher.metrics import Metrics
from clickstream.enricher.opening import Opened
from clickstream.runtime.telemetry import Telemetry
from clickstream.setup.topics import TopicAdmin
from devstack import Stack
from support.processes import wait_for

Put = Callable[..., None]


@pytest.fixture
def topic(stack: Stack) -> str:
    name = f"catalogue-{uuid.uuid4().hex[:8]}"
    TopicAdmin(Kafka(stack.kafka.bootstrap_servers)).create([Topic(name, 3, 1, {"cleanup.policy": "compact"})])
    return name


@pytest.fixture
def put(stack: Stack, topic: str) -> Put:
    producer = Producer(
        {
            "bootstrap.servers": stack.kafka.bootstrap_servers,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "message.max.bytes": 10_000_000,
            "topic.metadata.refresh.interval.ms": 200,
        }
    )

    def produce(key: str | bytes | None, row: object, partition: int = -1) -> None:
        value = row if row is None or isinstance(row, bytes) else json.dumps(row).encode()
        refused: list[object] = []
        producer.produce(topic, value, key, partition, lambda error, _: refused.append(error))
        assert producer.flush(30) == 0
        assert refused == [None]

    return produce


@pytest.fixture
def open_table(stack: Stack, topic: str) -> Iterator[Callable[..., JoinTable]]:
    tables: list[JoinTable] = []

    def make(**options: object) -> JoinTable:
        table = JoinTable("catalogue", topic, Kafka(stack.kafka.bootstrap_servers), "test-joins", **options)
        tables.append(table)
        table.load(30)
        return table

    yield make
    for table in tables:
        table.close()


def test_every_row_is_there_once_it_is_loaded_and_the_newest_counts(
    put: Put, open_table: Callable[..., JoinTable]
) -> None:
    for number in range(100):
        put(f"item-{number}", {"name": f"Old {number}", "price": number})
    for number in range(50):
        put(f"item-{number}", {"name": f"New {number}", "price": number / 2})
    put("item-7", None)
    table = open_table()
    assert table.rows == 99
    assert table.get("item-7") is None
    assert table.get("item-3") == {"name": "New 3", "price": 1.5}
    assert table.get("item-99") == {"name": "Old 99", "price": 99}
    assert table.ignored == 0
    assert table.staleness < 30


def test_a_change_and_a_removal_show_while_it_runs(put: Put, open_table: Callable[..., JoinTable]) -> None:
    put("item-1", {"name": "Shoe"})
    table = open_table()
    before = table.get("item-1")
    put("item-1", {"name": "Boot"})
    put("item-2", {"name": "Hat"})
    wait_for(lambda: table.get("item-1") == {"name": "Boot"} and table.get("item-2") == {"name": "Hat"}, "the change")
    assert before == {"name": "Shoe"}
    put("item-2", None)
    wait_for(lambda: table.get("item-2") is None, "the removal")
    assert table.rows == 1


def test_what_is_no_row_is_counted_and_ignored(
    put: Put, open_table: Callable[..., JoinTable], caplog: pytest.LogCaptureFixture
) -> None:
    put("good", {"name": "Shoe"})
    bad = [
        b"",
        b"not json",
        b"[1]",
        b'"text"',
        b"12",
        b"null",
        b"[" * 15_000,
        b'{"a":"\xff"}',
        b"\x00\x00\x00\x00\x01avro",
    ]
    for value in [*bad, {"big": "x" * 20_000}, {"compressible": "x" * 5_000_000}]:
        put("good", value)
    put(b"\xff", {"name": "no text"})
    put("", None)
    put("k" * 2_049, {"name": "a key that no page has"})
    table = open_table()
    assert table.ignored == len(bad) + 5
    assert table.get("good") == {"name": "Shoe"}
    assert table.rows == 1
    (told,) = [record for record in caplog.records if "are no rows" in record.message]
    assert f"{table.ignored} records" in told.message, "one line for all"
    telemetry = Telemetry("test", {}, None)
    Metrics(telemetry, "raw").watch_joins([table])
    assert (
        f'clickstream_join_ignored_total{{join="catalogue"}} {table.ignored}.0' in telemetry.prometheus_text().decode()
    )


def test_nested_values_become_json_text_and_nul_is_replaced(put: Put, open_table: Callable[..., JoinTable]) -> None:
    put("item", {"tags": ["a", "b"], "size": {"cm": 3}, "name": "a\0b", "n\0": True, "none": None, "big": 10**25})
    row = open_table().get("item")
    assert row == {
        "tags": '["a","b"]',
        "size": '{"cm":3}',
        "name": "a\ufffdb",
        "n\ufffd": True,
        "none": None,
        "big": 10**25,
    }
    assert msgspec.json.encode(row)


def test_an_empty_topic_is_an_empty_table(open_table: Callable[..., JoinTable]) -> None:
    table = open_table()
    assert table.rows == 0
    assert table.get("item") is None


def test_a_topic_that_ends_in_a_transaction_marker_is_read_to_its_end(
    stack: Stack, topic: str, open_table: Callable[..., JoinTable]
) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions(30)
    for outcome, name in ((producer.commit_transaction, "kept"), (producer.abort_transaction, "aborted")):
        producer.begin_transaction()
        for number in range(6):
            producer.produce(topic, b'{"name":"x"}', f"{name}-{number}")
        assert producer.flush(30) == 0
        outcome(30)
    table = open_table()
    assert table.rows == 6
    assert table.get("aborted-1") is None


def test_a_missing_topic_and_an_unreachable_broker_are_clear_errors(stack: Stack) -> None:
    missing = JoinTable("catalogue", "no-such-topic", Kafka(stack.kafka.bootstrap_servers), "test-joins")
    with pytest.raises(JoinError, match=r"enricher\.joins\.catalogue: topic 'no-such-topic': .*[Uu]nknown topic"):
        missing.load(10)
    missing.close()
    admin = AdminClient({"bootstrap.servers": stack.kafka.bootstrap_servers})
    assert "no-such-topic" not in admin.list_topics(timeout=10).topics
    unreachable = JoinTable("catalogue", "products", Kafka("127.0.0.1:1"), "test-joins")
    with pytest.raises(JoinError, match=r"enricher\.joins\.catalogue: topic 'products'"):
        unreachable.load(1)
    unreachable.close()
    unreachable.close()


def test_partitions_that_are_added_are_read_too(
    stack: Stack, topic: str, put: Put, open_table: Callable[..., JoinTable]
) -> None:
    table = open_table(look_seconds=0.3)
    admin = AdminClient({"bootstrap.servers": stack.kafka.bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(30)
    wait_for(lambda: len(admin.list_topics(topic, 10).topics[topic].partitions) == 5, "the new partitions")
    for partition in range(5):
        put(f"item-{partition}", {"partition": partition}, partition)
    wait_for(lambda: table.rows == 5, "rows of the new partitions")


@pytest.mark.parametrize(
    ("more", "restarted"),
    [(1, False), (50, False), (1, True)],
    ids=["shorter than before", "longer than before", "its leaders had changed more often"],
)
def test_of_a_topic_that_was_created_anew_only_the_new_rows_stay(
    stack: Stack, topic: str, put: Put, open_table: Callable[..., JoinTable], more: int, restarted: bool
) -> None:
    for number in range(20):
        put(f"item-{number}", {"name": "Old"}, number % 3)
    table = open_table(look_seconds=0.3)
    assert table.rows == 20
    if restarted:
        stack.kafka.stop()
        stack.kafka.start()
        put("item-20", {"name": "Old"}, 0)
        wait_for(lambda: table.get("item-20") is not None, "a row after the restart")
        put("item-20", None, 0)
        wait_for(lambda: table.rows == 20, "its end")
    admin = AdminClient({"bootstrap.servers": stack.kafka.bootstrap_servers})
    admin.delete_topics([topic])[topic].result(30)
    wait_for(lambda: topic not in admin.list_topics(timeout=10).topics, "the topic's end")
    wait_for(lambda: table.staleness > 1, "a look at a topic that is gone")
    assert table.rows == 20, "the last known rows are served"
    TopicAdmin(Kafka(stack.kafka.bootstrap_servers)).create([Topic(topic, 2, 1, {"cleanup.policy": "compact"})])
    for number in range(1, 20 * more):
        put(f"item-{number}", {"name": "New"}, number % 2)
    wait_for(lambda: table.get("item-0") is None, "the end of a row that the new topic has not")
    wait_for(lambda: table.rows == 20 * more - 1 and table.get("item-1") == {"name": "New"}, "the new rows")
    put("item-1", {"name": "Newest"}, 1)
    wait_for(lambda: table.get("item-1") == {"name": "Newest"}, "a change of the new topic")
    wait_for(lambda: table.staleness < 1, "a fresh table")


def test_a_consumer_that_has_stopped_to_fetch_is_replaced(
    stack: Stack, topic: str, put: Put, open_table: Callable[..., JoinTable], caplog: pytest.LogCaptureFixture
) -> None:
    put("item-1", {"name": "Shoe"}, 0)
    table = open_table(look_seconds=0.5)
    wait_for(lambda: table.staleness < 0.5, "a fresh table")
    table._consumer.pause([TopicPartition(topic, number) for number in range(3)])
    put("item-2", {"name": "Hat"}, 0)
    wait_for(lambda: table.get("item-2") == {"name": "Hat"}, "the row that was not fetched")
    assert table.get("item-1") == {"name": "Shoe"}
    assert "nothing was read for" in caplog.text
    for _ in range(3):
        wait_for(lambda: table.staleness > 0.4, "the time of a look")
        wait_for(lambda: table.staleness < 0.2, "a fresh table")
    assert caplog.text.count("nothing was read for") == 1, "it is not replaced again"


def test_while_the_broker_is_away_the_last_known_rows_are_served_and_then_it_recovers(
    stack: Stack, put: Put, open_table: Callable[..., JoinTable]
) -> None:
    put("item-1", {"name": "Shoe"})
    table = open_table(look_seconds=0.5)
    wait_for(lambda: table.staleness < 1, "a fresh table")
    stack.kafka.kill()
    try:
        wait_for(lambda: table.staleness > 3, "a stale table")
        assert table.get("item-1") == {"name": "Shoe"}
    finally:
        stack.kafka.start()
    put("item-1", {"name": "Boot"})
    wait_for(lambda: table.get("item-1") == {"name": "Boot"}, "the change after the outage")
    wait_for(lambda: table.staleness < 2, "a fresh table again")


def test_a_flow_joins_the_catalogue_and_closes_quickly(
    new_pipeline: Callable[..., Pipeline], topic: str, put: Put
) -> None:
    put("item-7", {"name": "Shoe", "price": 12.5})
    pipeline = new_pipeline(enricher={"joins": [{"name": "catalogue", "topic": topic, "page": "/products/{key}"}]})
    click = Click("e", 1, "u", "s", "https://shop.example/products/item-7", 1)
    opened = Opened(pipeline)

    def joined() -> dict:
        draft = opened.flow.enrich(encode_click(click), 1)
        assert isinstance(draft, EnrichedClick)
        return draft.joins

    assert joined() == {"catalogue": {"name": "Shoe", "price": 12.5}}
    put("item-7", {"name": "Shoe", "price": 9.5})
    wait_for(lambda: joined() == {"catalogue": {"name": "Shoe", "price": 9.5}}, "the new price")
    started = time.monotonic()
    opened.close()
    opened.close()
    assert time.monotonic() - started < 5
    missing = new_pipeline(enricher={"joins": [{"name": "other", "topic": "absent", "page": "/{key}"}]})
    with pytest.raises(JoinError, match="absent"):
        Opened(missing)
