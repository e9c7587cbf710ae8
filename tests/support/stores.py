"""Reading back what the stores hold of one pipeline."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from clickstream.contracts.pipeline import Pipeline
from clickstream.sinks.records import StoredClick
from support.elasticsearch import patient


class Stores:
    """Both stores of a pipeline: those of its document, or its names at other addresses."""

    def __init__(self, pipeline: Pipeline, elasticsearch: str | None = None, dsn: str | None = None) -> None:
        assert pipeline.sinks.elasticsearch is not None
        assert pipeline.sinks.postgres is not None
        self.names = pipeline.names
        self.elasticsearch = patient(elasticsearch or pipeline.sinks.elasticsearch.url)
        address = dsn or pipeline.sinks.postgres.dsn or ""
        self.postgres = psycopg.connect(address, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        self.elasticsearch.close()
        self.postgres.close()

    def sql(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of a query; `{s}` stands for the pipeline's schema."""
        return self.postgres.execute(query.replace("{s}", f'"{self.names.schema}"'), values).fetchall()

    def documents(self, alias: str, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """All documents (`_source`) behind an alias that match, at most 10,000 at a time."""
        if not self.elasticsearch.indices.exists_alias(name=alias):
            return []
        # An index that a sink is just creating has no shard to search yet.
        self.elasticsearch.cluster.health(index=alias, wait_for_status="yellow", timeout="30s")
        self.elasticsearch.indices.refresh(index=alias)
        found: list[dict[str, Any]] = []
        after: list[Any] | None = None
        with_pit = self.elasticsearch.open_point_in_time(index=alias, keep_alive="1m")["id"]
        while True:
            page = self.elasticsearch.search(
                pit={"id": with_pit, "keep_alive": "1m"},
                query=query or {"match_all": {}},
                size=5_000,
                sort=[{"_shard_doc": "asc"}],
                search_after=after,
                track_total_hits=False,
            )["hits"]["hits"]
            if not page:
                self.elasticsearch.close_point_in_time(id=with_pit)
                return found
            found += [hit["_source"] for hit in page]
            after = page[-1]["sort"]

    def clicks_es(self, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        return self.documents(self.names.clicks_alias, query)

    def clicks_pg(self) -> list[dict[str, Any]]:
        """Clicks in PostgreSQL, in the shape that those in Elasticsearch have."""
        times = {"timestamp": "client_timestamp", "event_time": "event_time", "received_at": "received_at"}
        columns = [f"(extract(epoch FROM {column}) * 1000)::bigint AS {name}" for name, column in times.items()]
        columns += ["CASE WHEN storage_day < '1970-01-01' THEN 'undated' ELSE storage_day::text END AS storage_day"]
        columns += ["session_id AS session", "host(ip) AS ip"]
        special = {*times, "storage_day", "session", "ip"}
        columns += [f'"{name}"' for name in StoredClick.__struct_fields__ if name not in special]
        return self.sql(f"SELECT {', '.join(columns)} FROM {{s}}.clicks")

    def sessions_es(self) -> list[dict[str, Any]]:
        """Current sessions in Elasticsearch."""
        return self.documents(self.names.sessions_alias)

    def counts(self) -> tuple[int, int]:
        """Clicks in Elasticsearch and in PostgreSQL."""
        alias = self.names.clicks_alias
        there = self.elasticsearch.indices.exists_alias(name=alias)
        if there:
            self.elasticsearch.indices.refresh(index=alias)
        documents = int(self.elasticsearch.count(index=alias)["count"]) if there else 0
        return documents, int(self.sql("SELECT count(*) AS n FROM {s}.clicks")[0]["n"])
