"""Opens and fills what a flow needs before its first click: the country database and the join tables."""

from __future__ import annotations

from typing import Final

from clickstream.contracts.pipeline import Pipeline
from clickstream.enricher.join_tables import JoinTable
from clickstream.enrichment.flow import Flow
from clickstream.runtime.geoip import GeoIP

LOAD_SECONDS: Final = 60.0
"""For each table; its end must be read before the first click."""


class Opened:
    """A flow, ready for clicks, and the tables behind it. Raises JoinError."""

    def __init__(self, pipeline: Pipeline, load_seconds: float = LOAD_SECONDS) -> None:
        self.geoip = GeoIP(pipeline.enricher.geoip)
        self.tables: list[JoinTable] = []
        try:
            for join in pipeline.enricher.joins:
                table = JoinTable(join.name, join.topic, pipeline.kafka, f"{pipeline.names.enricher_group}-joins")
                self.tables.append(table)
                table.load(load_seconds)
        except BaseException:
            self.close()
            raise
        self.flow = Flow(pipeline, self.geoip.country_of, {table.name: table for table in self.tables})

    def close(self) -> None:
        """Stop following the tables and the country database. Idempotent."""
        self.geoip.close()
        for table in self.tables:
            table.close()
