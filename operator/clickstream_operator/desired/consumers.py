"""The processes that read Kafka: the enricher and the sinks."""

from __future__ import annotations

from typing import Final

from clickstream_operator import naming
from clickstream_operator.desired.pods import Process
from clickstream_operator.spec import PipelineSpec

GRACE_SECONDS: Final = 60
"""For the chunk or batch at hand, its delivery and the last commit."""


def enricher(spec: PipelineSpec) -> Process:
    """What the enricher's pods run."""
    geoip = spec.enricher.geoip
    return Process(
        component=naming.ENRICHER,
        container="enricher",
        arguments=("enricher",),
        resources=spec.enricher.resources,
        mounts_for=naming.ENRICHER,
        env={"CLICKSTREAM_OPS_PORT": str(naming.OPS_PORT)},
        port=("ops", naming.OPS_PORT),
        grace_seconds=GRACE_SECONDS,
        # Ready once its state is recovered: ten minutes, where half a minute is expected.
        started=("/readyz", 300),
        geoip_claim=None if geoip is None else geoip.claim_name,
    )


def sink(spec: PipelineSpec, store: str) -> Process:
    """What a sink's pods run."""
    return Process(
        component=naming.sink(store),
        container="sink",
        arguments=("sink", store),
        resources=getattr(spec.sinks, store).resources,
        mounts_for=naming.sink(store),
        env={"CLICKSTREAM_OPS_PORT": str(naming.OPS_PORT)},
        port=("ops", naming.OPS_PORT),
        grace_seconds=GRACE_SECONDS,
    )
