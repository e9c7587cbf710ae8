"""Queries as Grafana's three data sources take them, and the variables that every query may use.

SQL names the schema through `${schema}`; Elasticsearch queries name no index, since that is the data source's.
Transformations are deliberately absent: a query's result is what is drawn, so that another renderer (preview, tests)
only has to run the query.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

POSTGRES: Final = DataSourceRef("postgres", "${postgres}")
CLICKS: Final = DataSourceRef("elasticsearch", "${clicks}")
SESSIONS: Final = DataSourceRef("elasticsearch", "${sessions}")
PROMETHEUS: Final = DataSourceRef("prometheus", "${prometheus}")

VISITORS_SQL: Final = "(NOT bot OR '${bots:raw}' <> 'false') AND (bot OR '${bots:raw}' <> 'true')"
"""Folds to a constant before the plan is made, so that it costs nothing."""
HOURS_SQL: Final = "hour > $__timeFrom()::timestamptz - interval '1 hour' AND hour <= $__timeTo()::timestamptz"
"""Hours that are at least partly in the time range."""
VISITORS: Final = "bot:${bots:raw}"
POD: Final = 'namespace="$namespace",pod=~"$pipeline-(tracking-api|enricher|sink-.*)-.*"'

Json: TypeAlias = dict[str, Any]


class Query(Dataquery):
    """One target, as JSON."""

    def __init__(self, source: DataSourceRef, content: Json) -> None:
        self.source, self.content = source, content

    def to_json(self) -> Json:
        """What the encoder writes."""
        return {"datasource": self.source.to_json(), **self.content}


class Target(Builder[Query]):
    """A finished query, in the form that the panels' builders take."""

    def __init__(self, query: Query) -> None:
        self._query = query

    @property
    def source(self) -> DataSourceRef:
        return self._query.source

    def build(self) -> Query:
        return self._query


def chosen(variable: str, column: str) -> str:
    """SQL: the column's value is chosen in a dashboard variable with an All (`'*'`); a NULL is called unknown."""
    options = f"${{{variable}:sqlstring}}"
    return f"('*' IN ({options}) OR coalesce({column}, 'unknown') IN ({options}))"


AUDIENCE_SQL: Final = f"""{VISITORS_SQL} AND {chosen("device", "device")} AND {chosen("country", "country")}"""
LAST_DAY_SQL: Final = """greatest($__timeFrom()::timestamptz, $__timeTo()::timestamptz - interval '1 day'), \
$__timeTo()::timestamptz"""
"""The arguments `from` and `to` of a function that reads the clicks."""


def bins(least_seconds: int) -> str:
    """SQL: one row `b` for `date_bin(b.width, …, b.monday)`: what a point of the panel stands for, in the time zone."""
    return f"""(
            SELECT make_interval(secs => greatest({least_seconds}, $__interval_ms / 1000)) AS width,
                   date_trunc('week', $__timeFrom()::timestamptz, time_zone) AS monday
            FROM "${{schema}}".pipeline
        ) b"""


def sql(text: str, *, time_series: bool = False, ref: str = "A") -> Target:
    """A PostgreSQL query. A time series has a column `time`, one for each series, and is sorted by time."""
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return Target(
        Query(
            POSTGRES,
            {
                "refId": ref,
                "editorMode": "code",
                "format": "time_series" if time_series else "table",
                "rawQuery": True,
                "rawSql": lines,
            },
        )
    )


def prometheus(expr: str, legend: str, *, ref: str = "A", instant: bool = False) -> Target:
    """A PromQL query: over the range, or at its end."""
    how: Json = {"instant": True, "range": False, "format": "table"} if instant else {"instant": False, "range": True}
    return Target(
        Query(PROMETHEUS, {"refId": ref, "editorMode": "code", "expr": expr.strip(), "legendFormat": legend, **how})
    )


def by_stage(series: str) -> str:
    """PromQL: the series with the label `stage`, which is the component that the pod belongs to."""
    return f'label_replace({series}, "stage", "$1", "pod", "$pipeline-(tracking-api|enricher|sink-[a-z]+)-.*")'


def count() -> Json:
    """Metric: how many documents."""
    return {"id": "1", "type": "count"}


def distinct(field: str) -> Json:
    """Metric: how many different values; exact up to the threshold, within a few percent above."""
    return {"id": "1", "type": "cardinality", "field": field, "settings": {"precision_threshold": "40000"}}


def by_time(interval: str, field: str = "event_time", *, empty: bool = True) -> Json:
    """Buckets of a fixed interval, or (`auto`) of what a point of the panel stands for; empty ones if wanted.

    Empty ones are made for the whole time range: too many for Elasticsearch where short ones meet a long range.
    """
    settings = {"interval": interval, "min_doc_count": "0" if empty else "1", "trimEdges": "0"}
    return {"id": "2", "type": "date_histogram", "field": field, "settings": settings}


def by_value(field: str, size: int = 10, missing: str | None = None) -> Json:
    """Buckets of the values with the most of the metric."""
    settings = {"min_doc_count": "1", "order": "desc", "orderBy": "_count", "size": str(size)}
    if missing is not None:
        settings["missing"] = missing
    return {"id": "2", "type": "terms", "field": field, "settings": settings}


def by_key(field: str, size: int) -> Json:
    """Buckets of values in the order of the values."""
    return {
        "id": "2",
        "type": "terms",
        "field": field,
        "settings": {"min_doc_count": "1", "order": "asc", "orderBy": "_key", "size": str(size)},
    }


def at_once() -> Json:
    """One bucket of everything in the range: Grafana wants a bucket, and a time bucket could be cut in two.

    No document has the field, and all of them are counted as what it is missing for.
    """
    settings = {"min_doc_count": "1", "order": "desc", "orderBy": "_count", "size": "1", "missing": "all"}
    return {"id": "2", "type": "terms", "field": "everything", "settings": settings}


def search(
    query: str, metric: Json, *buckets: Json, source: DataSourceRef = CLICKS, alias: str = "", ref: str = "A"
) -> Target:
    """An Elasticsearch query: a Lucene filter, one metric, and the buckets that it is counted in.

    `alias` names the series where the query answers one.
    """
    time_field = "event_time" if source is CLICKS else "start"
    return Target(
        Query(
            source,
            {
                "refId": ref,
                "alias": alias,
                "query": query,
                "timeField": time_field,
                "metrics": [metric],
                "bucketAggs": list(buckets),
            },
        )
    )


def last(minutes: int, field: str = "event_time") -> str:
    """Lucene: of the last minutes of the time range. Grafana's own `timeFrom` is ignored where a range is absolute."""
    return f'{field}:["${{__to}}||-{minutes}m" TO "${{__to}}"]'


def documents(query: str, size: int) -> Target:
    """The newest clicks themselves."""
    metric = {"id": "1", "type": "raw_data", "settings": {"size": str(size)}}
    return search(query, metric)
