"""The demo's pipeline document, and the catalogue that its clicks are joined with.

The write keys are random and live as long as the demo.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from clickstream.contracts.pipeline import (
    ElasticsearchSink,
    Enricher,
    Funnel,
    FunnelStep,
    Join,
    Kafka,
    PageCategory,
    Pipeline,
    PostgresSink,
    Sinks,
    Source,
    Topics,
    TopicSpec,
)
from clickstream.contracts.topics import Topic, topics_of
from clickstream.runtime.kafka import producer_config
from clickstream.setup.topics import TopicAdmin, TopicError
from devstack.errors import DevstackError

NAMESPACE: Final = "demo"
_TOPIC: Final = TopicSpec(partitions=3)
SIMULATED: Final = "web"
"""The source of the simulated visitors: every one of its events is in the ledger."""
BROWSER: Final = "shop-browser"
"""The source of the example shop's own pages: real visitors, who are in no ledger."""


def demo_pipeline(
    name: str, session_gap: str, kafka: str, elasticsearch: str, postgres: str, geoip: Path | None = None
) -> Pipeline:
    """A pipeline on these servers with two sources, a funnel, a join and page categories."""
    catalogue = f"{NAMESPACE}.{name}.catalogue"
    return Pipeline(
        namespace=NAMESPACE,
        name=name,
        kafka=Kafka(kafka, topics=Topics(_TOPIC, _TOPIC, _TOPIC)),
        sources=[
            Source(SIMULATED, write_key=secrets.token_hex(16), allowed_origins=["*"]),
            Source(BROWSER, write_key=secrets.token_hex(16), allowed_origins=["*"]),
        ],
        enricher=Enricher(
            session_gap=session_gap,
            grace=session_gap,
            geoip=None if geoip is None else str(geoip),
            joins=[Join("product", catalogue, "/products/{key}")],
            page_categories=[
                PageCategory("home", "/"),
                PageCategory("products", "/products"),
                PageCategory("product", "/products/*"),
                PageCategory("purchase", "/cart"),
                PageCategory("purchase", "/checkout"),
                PageCategory("purchase", "/thank-you"),
            ],
        ),
        funnels=[
            Funnel(
                "checkout",
                [
                    FunnelStep("Homepage", "/"),
                    FunnelStep("Product", "/products/*"),
                    FunnelStep("Checkout", "/checkout"),
                ],
            )
        ],
        sinks=Sinks(ElasticsearchSink(elasticsearch, replicas=0), PostgresSink(postgres)),
    )


def write_key(pipeline: Pipeline, source: str) -> str:
    """The key of one of the two sources."""
    return next(each.write_key or "" for each in pipeline.sources if each.name == source)


def demo_topics(pipeline: Pipeline) -> tuple[Topic, ...]:
    """The pipeline's own topics and the catalogue's, which belongs to the shop."""
    catalogue = Topic(pipeline.enricher.joins[0].topic, 1, 1, {"cleanup.policy": "compact"})
    return (*topics_of(pipeline), catalogue)


def create_topics(pipeline: Pipeline) -> None:
    """Create `demo_topics`. Raises DevstackError."""
    try:
        TopicAdmin(pipeline.kafka).create(demo_topics(pipeline))
    except TopicError as error:
        raise DevstackError(str(error)) from error


def load_catalogue(pipeline: Pipeline, products: Path) -> int:
    """Write every product to the catalogue topic, keyed by its id; returns how many. Raises DevstackError."""
    try:
        rows: list[dict[str, Any]] = msgspec.convert(json.loads(products.read_bytes()), list[dict[str, Any]])
    except (OSError, ValueError, msgspec.ValidationError) as error:
        msg = f"{products}: {error}"
        raise DevstackError(msg) from error
    failed: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error.str())

    producer = Producer(producer_config(pipeline.kafka, "demo-catalogue", idempotent=True))
    for row in rows:
        producer.produce(
            pipeline.enricher.joins[0].topic,
            key=str(row["id"]),
            value=json.dumps({name: value for name, value in row.items() if name != "id"}),
            on_delivery=delivered,
        )
    if producer.flush(15) or failed:
        msg = f"the catalogue could not be written to Kafka: {failed[0] if failed else 'no answer'}"
        raise DevstackError(msg)
    return len(rows)
