"""Offsets that are gone, and logs that are other ones: what was lost is counted, what is there is all stored."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from clickstream.contracts.clicks import encode_enriched
from clickstream.contracts.topics import topics_of
from clickstream.setup.topics import LaterError, TopicAdmin, TopicError
from clickstream.sinks.consumer import SinkConsumer
from support.topics import end_offsets

STORE = "postgres"
SKIPPED = "clickstream_skipped_records_total"


@pytest.fixture
def admin(pipeline):
    return AdminClient({"bootstrap.servers": pipeline.kafka.bootstrap_servers})


@pytest.fixture
def recreate(pipeline, admin, until):
    """Deletes the topic of enriched clicks and creates it anew, as fast as the brokers do."""

    def again():
        topic = pipeline.names.enriched_clicks
        admin.delete_topics([topic])[topic].result()

        def created():
            try:
                TopicAdmin(pipeline.kafka).create([each for each in topics_of(pipeline) if each.name == topic])
            except (TopicError, LaterError):  # it is being deleted
                return False
            return topic in admin.list_topics(timeout=10).topics

        until(created, 30, "the new topic")

    return again


def many(make_click, prefix, count):
    return [make_click(f"{prefix}-{number}", user_id=f"user-{number}") for number in range(count)]


def delete_all(admin, pipeline, feed, store=STORE):
    """What retention does to a partition: everything that is there goes."""
    ends = {
        partition: end
        for partition, (_, end) in feed.committed(store).items()
        if partition[0] == pipeline.names.enriched_clicks
    }
    for future in admin.delete_records([TopicPartition(*partition, end) for partition, end in ends.items()]).values():
        future.result()


def settled(feed, until, sink):
    until(lambda: feed.settled(STORE), 60, "everything committed", sink.log)


def test_what_retention_deleted_is_counted_once_and_reading_goes_on(
    pipeline, feed, stores, start_sink, until, make_click, admin
):
    stores.set_up(STORE)
    feed.clicks(many(make_click, "a", 300))
    sink = start_sink(STORE, pipeline)
    settled(feed, until, sink)
    assert sink.stop() == 0
    feed.clicks(many(make_click, "lost", 300))
    delete_all(admin, pipeline, feed)
    sink = start_sink(STORE, pipeline)
    until(lambda: sink.metric(SKIPPED) == 300, 30, "counted although no record has come since", sink.log)
    settled_lag = lambda: sink.metric("clickstream_consumer_lag_records") == 0  # noqa: E731
    until(settled_lag, 10, "nothing is waited for", sink.log)
    feed.clicks(many(make_click, "b", 300))
    until(lambda: len(stores.event_ids(STORE)) == 600, 60, "what came afterwards", sink.log)
    settled(feed, until, sink)
    assert sink.metric(SKIPPED, topic=pipeline.names.enriched_clicks) == 300
    assert "were deleted before they could be read" in sink.log.read_text()
    assert sink.stop() == 0
    sink = start_sink(STORE, pipeline)
    feed.clicks(many(make_click, "c", 10))
    until(lambda: len(stores.event_ids(STORE)) == 610, 60, "a second start", sink.log)
    assert (sink.metric(SKIPPED), sink.metric("clickstream_events_duplicate_total")) == (0, 0), "where it stopped"


@pytest.mark.parametrize("now_there", [30, 900], ids=["shorter", "grown beyond the committed offset"])
@pytest.mark.parametrize("marks", ["ours", "of the release before"])
def test_a_topic_that_was_created_anew_while_the_sink_was_away_is_read_from_its_beginning(
    now_there, marks, pipeline, feed, stores, start_sink, until, make_click, recreate
):
    if marks == "of the release before" and now_there == 900:
        now_there = 30  # an offset without a fingerprint cannot tell: only a shorter log shows
    stores.set_up(STORE)
    feed.clicks(many(make_click, "a", 300))
    sink = start_sink(STORE, pipeline)
    settled(feed, until, sink)
    assert sink.stop() == 0
    committed = feed.committed(STORE)
    marked = metadata(feed)
    recreate()
    feed.clicks(many(make_click, "b", now_there))
    commit_as_before(feed, committed, {} if marks != "ours" else marked)
    sink = start_sink(STORE, pipeline)
    until(lambda: len(stores.event_ids(STORE)) == 300 + now_there, 60, "both", sink.log)
    settled(feed, until, sink)
    assert sink.metric(SKIPPED, topic=pipeline.names.enriched_clicks) >= 3
    log = sink.log.read_text()
    assert "read from its beginning" in log
    if marks == "ours":
        assert "created anew" in log


def metadata(feed):
    consumer = feed._consumer(feed.names.sink_group(STORE))
    try:
        partitions = [TopicPartition(topic, number) for topic, number in feed.committed(STORE)]
        return {
            (partition.topic, partition.partition): partition.metadata
            for partition in consumer.committed(partitions, timeout=10)
        }
    finally:
        consumer.close()


def commit_as_before(feed, committed, marked):
    """Kafka forgets the offsets of a deleted topic; a restored cluster, or a mirrored one, has them."""
    consumer = Consumer(
        {"bootstrap.servers": feed.pipeline.kafka.bootstrap_servers, "group.id": feed.names.sink_group(STORE)}
    )
    partitions = [
        TopicPartition(*partition, offset, marked[partition])
        if marked.get(partition)
        else TopicPartition(*partition, offset)
        for partition, (offset, _) in committed.items()
    ]
    consumer.commit(offsets=partitions, asynchronous=False)
    consumer.close()


def test_another_log_under_the_same_topic_id_is_seen_by_its_records(
    pipeline, feed, stores, start_sink, until, make_click
):
    """As when the brokers' disks are restored from an older copy, and new records have taken the place of old ones."""
    stores.set_up(STORE)
    feed.clicks(many(make_click, "a", 300))
    sink = start_sink(STORE, pipeline)
    settled(feed, until, sink)
    assert sink.stop() == 0
    other = {partition: text and f"1 {'0' * 16} {text.split(' ')[2]}" for partition, text in metadata(feed).items()}
    commit_as_before(feed, feed.committed(STORE), other)
    feed.clicks(many(make_click, "b", 10))
    sink = start_sink(STORE, pipeline)
    until(lambda: len(stores.event_ids(STORE)) == 310, 60, "all", sink.log)
    settled(feed, until, sink)
    assert sink.metric("clickstream_events_duplicate_total", kind="click") == 300
    assert sink.metric(SKIPPED) == 3
    assert "is not the one that was read there" in sink.log.read_text()


@pytest.mark.parametrize("now_there", [30, 900], ids=["shorter", "grown beyond where it was read"])
def test_a_topic_that_is_created_anew_under_a_running_sink_is_read_from_its_beginning(
    now_there, pipeline, feed, stores, start_sink, until, make_click, recreate
):
    stores.set_up(STORE)
    feed.clicks(many(make_click, "a", 300))
    sink = start_sink(STORE, pipeline)
    settled(feed, until, sink)
    recreate()
    feed.clicks(many(make_click, "b", now_there))
    until(lambda: len(stores.event_ids(STORE)) == 300 + now_there, 60, "both", sink.log)
    feed.clicks(many(make_click, "c", 30))
    until(lambda: len(stores.event_ids(STORE)) == 330 + now_there, 60, "and what follows", sink.log)
    settled(feed, until, sink)
    assert sink.popen.poll() is None
    assert stores.sql("SELECT sum(views)::int FROM page_views_minute") == [(330 + now_there,)]


def test_a_topic_is_read_anew_also_when_the_old_ones_leaders_had_changed_more_often(
    stack, pipeline, feed, stores, start_sink, until, make_click, recreate
):
    """Leader epochs begin anew with a topic; librdkafka takes a lower one for old news, and never reads from it."""
    stores.set_up(STORE)
    feed.clicks(many(make_click, "a", 300))
    sink = start_sink(STORE, pipeline)
    settled(feed, until, sink)
    stack.kafka.stop()
    stack.kafka.start()
    feed.clicks(many(make_click, "b", 30))
    until(lambda: len(stores.event_ids(STORE)) == 330, 90, "the brokers' restart is over", sink.log)
    recreate()
    feed.clicks(many(make_click, "c", 30))
    until(lambda: len(stores.event_ids(STORE)) == 360, 60, "the new topic", sink.log)
    settled(feed, until, sink)
    assert sink.popen.poll() is None
    assert sink.metric(SKIPPED, topic=pipeline.names.enriched_clicks) == 3


def test_a_topic_that_is_created_anew_is_told_also_when_partitions_move_before_anybody_looks(
    pipeline, feed, until, make_click, recreate
):
    """Kafka has forgotten what was committed, and a new assignment begins like a first one."""
    topic, group, told, found = pipeline.names.enriched_clicks, pipeline.names.sink_group(STORE), [], []
    first, second = SinkConsumer(pipeline.kafka, group, (topic,), "first"), None
    first.on_skipped = lambda partition, count: told.extend([partition] * count)

    def read(*members):
        for member in members:
            found.extend(message.value() for message in member.poll_batch(1_000, 1 << 20, 0.1))

    try:
        feed.clicks(many(make_click, "a", 60))
        until(lambda: read(first) or len(found) == 60, 30, "the old topic")
        recreate()
        second = SinkConsumer(pipeline.kafka, group, (topic,), "second")
        until(lambda: read(second, first) or second._owned, 60, "partitions move")
        until(lambda: read(first, second) or len(told) >= 2, 30, "it is told")
        second.close()
        feed.clicks(many(make_click, "b", 60))
        until(lambda: read(first) or len(set(found)) == 120, 60, "the new topic")
    finally:
        first.close()
        if second is not None:
            second.close()
    assert len(told) == len(set(told)), "each partition once"


def test_a_topic_that_is_created_anew_is_told_for_each_partition_also_when_they_are_assigned_in_steps(
    pipeline, feed, until, make_click, recreate
):
    """A broker that does not know the new topic yet makes the first assignment one without its partitions."""
    names, told, found = pipeline.names, [], []
    topics = (names.enriched_clicks, names.sessions)
    consumer = SinkConsumer(pipeline.kafka, names.sink_group(STORE), topics, "first")
    consumer.on_skipped = lambda partition, count: told.extend([partition] * count)
    try:
        feed.clicks(many(make_click, "a", 60))
        until(lambda: found.extend(consumer.poll_batch(1_000, 1 << 20, 0.1)) or len(found) == 60, 30, "the old topic")
        owned = sorted(consumer._owned)
        recreate()
        consumer._revoked(None, [TopicPartition(*partition) for partition in owned])
        for partition in reversed(owned):  # sessions first
            consumer._marks([TopicPartition(*partition)])
    finally:
        consumer.close()
    assert sorted(told) == [partition for partition in owned if partition[0] == names.enriched_clicks]


def in_a_transaction(pipeline, clicks, *, commit):
    """Whether it ended as it should; one whose end a slow broker does not know any more is made once more."""
    producer = Producer(
        {"bootstrap.servers": pipeline.kafka.bootstrap_servers, "transactional.id": f"test {pipeline.names.prefix}"}
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for click in clicks:
            producer.produce(pipeline.names.enriched_clicks, encode_enriched(click), click.user_id)
        (producer.commit_transaction if commit else producer.abort_transaction)()
    except KafkaException:
        return False
    return True


def test_gaps_that_compaction_and_transactions_leave_are_no_loss(
    pipeline, feed, stores, start_sink, until, make_click, make_session, admin
):
    stores.set_up(STORE)
    names = pipeline.names
    for number in range(6):
        clicks = many(make_click, f"t{number}", 10)
        until(lambda clicks=clicks, number=number: in_a_transaction(pipeline, clicks, commit=number % 2 == 0), 60)
    resource = ConfigResource(
        ResourceType.TOPIC,
        names.sessions,
        incremental_configs=[
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in {
                "min.compaction.lag.ms": "0",
                "segment.ms": "100",
                "min.cleanable.dirty.ratio": "0.01",
                "max.compaction.lag.ms": "100",
            }.items()
        ],
    )
    admin.incremental_alter_configs([resource])[resource].result()
    for version in range(400):
        feed.session(make_session("2026-01-01-a", version))
    feed.session(make_session("2026-01-01-b", 1))

    def compacted():
        feed.session(make_session("2026-01-01-b", 2))  # rolls segments
        return count_of(feed, names.sessions) < 300

    until(compacted, 90, "compaction")
    sink = start_sink(STORE, pipeline)
    until(lambda: len(stores.event_ids(STORE)) == 30, 60, "the committed clicks", sink.log)
    until(
        lambda: sink.metric("clickstream_consumer_lag_records", topic=names.enriched_clicks) == 0,
        20,
        "no lag, though markers are the last that the partitions have",
        sink.log,
    )
    until(lambda: stores.sessions(STORE).get("2026-01-01-a") == 399, 60, "sessions", sink.log)
    assert sink.stop() == 0
    sink = start_sink(STORE, pipeline)
    feed.clicks(many(make_click, "after", 30))
    until(lambda: len(stores.event_ids(STORE)) == 60, 60, "what follows", sink.log)
    assert sink.metric(SKIPPED) == 0
    assert "lost" not in sink.log.read_text()


def count_of(feed, topic):
    """How many records can be read from a topic."""
    consumer = feed._consumer("test-count")
    try:
        total = 0
        for number, (low, high) in end_offsets(consumer, topic).items():
            consumer.assign([TopicPartition(topic, number, low)])
            at = low
            while at < high:
                message = consumer.poll(2)
                if message is None:
                    break
                total += 1
                at = message.offset() + 1
        return total
    finally:
        consumer.close()


def test_a_partition_that_gives_nothing_beside_busy_ones_is_found(pipeline, feed, until, make_click, monkeypatch):
    """Liveness looks at each partition; one that has no records is not stuck, nor any while the store is waited for."""
    monkeypatch.setattr("clickstream.sinks.liveness.STALLED_SECONDS", 3.0)
    monkeypatch.setattr("clickstream.sinks.liveness.QUIET_SECONDS", 0.5)
    topic = pipeline.names.enriched_clicks
    consumer = SinkConsumer(pipeline.kafka, pipeline.names.sink_group(STORE), (topic,), "test")
    try:
        feed.clicks(many(make_click, "a", 60))
        found = []
        until(lambda: found.extend(consumer.poll_batch(100, 1 << 20, 0.2)) or len(found) == 60, 30)
        ending = time.monotonic() + 5
        while time.monotonic() < ending:
            consumer.poll_batch(100, 1 << 20, 0.1)
            assert consumer.lag.stalled is None, "idle"
        consumer._consumer.pause([TopicPartition(topic, 1)])
        feed.clicks(many(make_click, "b", 60))
        until(lambda: consumer.poll_batch(100, 1 << 20, 0.1) is None or consumer.lag.stalled, 20, "it is found")
        assert consumer.lag.stalled.startswith(f"partition {topic}-1 has records and gave none")
        consumer.wait(1.0, lambda: False)
        assert consumer.lag.stalled is None, "held on purpose"
        consumer.resume()
        until(lambda: found.extend(consumer.poll_batch(100, 1 << 20, 0.1)) or len(found) >= 80, 20, "the rest")
        assert consumer.lag.stalled is None
    finally:
        consumer.close()


def test_the_lag_is_right_from_the_first_second(pipeline, feed, until, make_click):
    feed.clicks(many(make_click, "a", 90))
    topic = pipeline.names.enriched_clicks
    consumer = SinkConsumer(pipeline.kafka, pipeline.names.sink_group(STORE), (topic,), "test")
    try:
        until(lambda: consumer.poll_batch(1, 1 << 20, 0.01) is None or consumer.joined, 30)
        assert sum(count for count, _ in consumer.lag.records()) == 90
    finally:
        consumer.close()
