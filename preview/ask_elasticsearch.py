"""An Elasticsearch target of a panel, queried as Grafana does: a Lucene filter, one bucket, one metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from preview.search import Search
from preview.tables import NUMBER, TEXT, TIME, Column, Table
from preview.variables import Range, Variables

_TITLES: Final = {"count": "Count", "cardinality": "Unique Count", "avg": "Average"}


def body_of(target: Mapping[str, Any], variables: Variables, range_: Range, interval_ms: int) -> dict[str, Any]:
    lucene = variables.lucene(target["query"], range_)
    filters: list[dict[str, Any]] = [
        {
            "range": {
                target["timeField"]: {"gte": range_.since_ms, "lte": range_.until_ms, "format": "epoch_millis"},
            }
        }
    ]
    if lucene:
        filters.append({"query_string": {"analyze_wildcard": True, "query": lucene}})
    body: dict[str, Any] = {"size": 0, "track_total_hits": False, "query": {"bool": {"filter": filters}}}
    metric = target["metrics"][0]
    if metric["type"] == "raw_data":
        return body | {
            "size": int(metric["settings"]["size"]),
            "sort": [{target["timeField"]: {"order": "desc", "unmapped_type": "boolean"}}],
        }
    bucket = target["bucketAggs"][0]
    inner = {} if metric["type"] == "count" else {"aggs": {"metric": _metric(metric)}}
    return body | {"aggs": {"bucket": _bucket(bucket, range_, interval_ms) | inner}}


def ask_elasticsearch(search: Search, index: str, target: Mapping[str, Any], body: dict[str, Any]) -> Table:
    """Its answer. Raises DevstackError, OSError."""
    answer = search.search(index, body)
    metric = target["metrics"][0]
    if metric["type"] == "raw_data":
        return _documents([hit["_source"] for hit in answer["hits"]["hits"]], target["timeField"])
    bucket = target["bucketAggs"][0]
    found = answer.get("aggregations", {}).get("bucket", {}).get("buckets", [])
    values = [each["doc_count"] if metric["type"] == "count" else each["metric"]["value"] for each in found]
    name = target.get("alias") or _TITLES[metric["type"]]
    if bucket["type"] == "date_histogram":
        times = Column("time", TIME, [each["key"] for each in found])
        return Table([times, Column(name, NUMBER, values)])
    keys = [str(each.get("key_as_string", each["key"])) for each in found]
    return Table([Column(bucket["field"], TEXT, keys), Column(_TITLES[metric["type"]], NUMBER, values)])


def _metric(metric: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: int(value) for name, value in metric.get("settings", {}).items()}
    return {metric["type"]: {"field": metric["field"]} | settings}


def _bucket(bucket: Mapping[str, Any], range_: Range, interval_ms: int) -> dict[str, Any]:
    settings = bucket["settings"]
    if bucket["type"] == "date_histogram":
        least = int(settings["min_doc_count"])
        zone = settings.get("timeZone", "utc")
        bounds = {"extended_bounds": {"min": range_.since_ms, "max": range_.until_ms}} if not least else {}
        return {
            "date_histogram": {
                "field": bucket["field"],
                "fixed_interval": f"{interval_ms}ms" if settings["interval"] == "auto" else settings["interval"],
                "min_doc_count": least,
                "format": "epoch_millis",
                **({} if zone == "utc" else {"time_zone": zone}),
                **bounds,
            }
        }
    missing = {"missing": settings["missing"]} if "missing" in settings else {}
    order = {settings["orderBy"]: settings["order"]}
    return {
        "terms": {"field": bucket["field"], "size": int(settings["size"]), "min_doc_count": 1, "order": order} | missing
    }


def _documents(sources: list[dict[str, Any]], time_field: str) -> Table:
    names = [time_field, *sorted({name for source in sources for name in source if name != time_field})]
    return Table(
        [Column(name, TIME if name == time_field else TEXT, [source.get(name) for source in sources]) for name in names]
    )
