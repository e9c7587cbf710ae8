"""Every name that the pipeline's parts share, derived from its namespace and name.

A namespace and a pipeline name hold no dot, so `<namespace>.<name>.<part>` can be read back and two pipelines never
meet, whatever their names are prefixes of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNDATED = "undated"
"""The storage day of a click whose own timestamp is too far from its receipt to be believed."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MAX_NAME = 40
MAX_NAMESPACE = 63


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one pipeline. Raises ValueError when namespace or name are not DNS labels of the right length."""

    namespace: str
    pipeline: str

    def __post_init__(self) -> None:
        for what, value, limit in (("namespace", self.namespace, MAX_NAMESPACE), ("name", self.pipeline, MAX_NAME)):
            if len(value) > limit or not _LABEL.fullmatch(value):
                msg = f"pipeline {what} {value!r}: at most {limit} of a-z, 0-9 and '-', not starting or ending with '-'"
                raise ValueError(msg)

    @property
    def prefix(self) -> str:
        """`<namespace>.<pipeline>`, what every Kafka name of the pipeline starts with."""
        return f"{self.namespace}.{self.pipeline}"

    @property
    def raw_clicks(self) -> str:
        """Topic of collected clicks, keyed by the grouping key."""
        return f"{self.prefix}.raw-clicks"

    @property
    def enriched_clicks(self) -> str:
        """Topic with one record a click, keyed as the raw topic is."""
        return f"{self.prefix}.enriched-clicks"

    @property
    def sessions(self) -> str:
        """Compacted topic of session records, keyed by session id; a tombstone retracts."""
        return f"{self.prefix}.sessions"

    @property
    def dead_letters(self) -> str:
        """Topic of bad input, bytes unchanged, the reason in headers."""
        return f"{self.prefix}.dead-letters"

    @property
    def enricher_group(self) -> str:
        """Consumer group of the enricher, and its Faust application id."""
        return f"{self.prefix}.enricher"

    @property
    def enricher_changelog(self) -> str:
        """Changelog topic of the enricher's session state; as many partitions as the raw topic."""
        return f"{self.enricher_group}-sessions-changelog"

    def sink_group(self, sink: str) -> str:
        """Consumer group of a sink (`elasticsearch`, `postgres`)."""
        return f"{self.prefix}.sink-{sink}"

    @property
    def index_prefix(self) -> str:
        """What every Elasticsearch index, alias and template of the pipeline starts with."""
        return f"clickstream.{self.prefix}"

    def clicks_index(self, storage_day: str) -> str:
        """Index of a storage day (`YYYY-MM-DD` or `undated`): `clickstream.<ns>.<name>.clicks.YYYY.MM.DD`."""
        return f"{self.index_prefix}.clicks.{storage_day.replace('-', '.')}"

    def sessions_index(self, storage_day: str) -> str:
        """Index of the sessions whose id was given on that storage day."""
        return f"{self.index_prefix}.sessions.{storage_day.replace('-', '.')}"

    @property
    def clicks_alias(self) -> str:
        """Elasticsearch alias over every click of the pipeline."""
        return f"{self.index_prefix}.clicks"

    @property
    def sessions_alias(self) -> str:
        """Elasticsearch alias over the sessions without the retracted ones."""
        return f"{self.index_prefix}.sessions"

    @property
    def schema(self) -> str:
        """PostgreSQL schema of the pipeline."""
        return self.pipeline.replace("-", "_")
