"""What should never, or hardly ever, happen in a pipeline: curves that are empty while all is well.

What is counted before a process's first scrape has no increase that Prometheus could see: those panels show the
counters themselves, since each pod's start.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from clickstream_dashboards import style
from clickstream_dashboards.queries import POD, Target, by_stage, prometheus


def _curve(title: str, what: str, *queries: Target, empty: str, unit: str = "short") -> timeseries.Panel:
    return style.curve(title, what, queries, unit=unit, colours={}, empty=empty, width=8, height=8)


def skipped() -> timeseries.Panel:
    """Records that were deleted before they were read."""
    series = by_stage(f"clickstream_skipped_records_total{{{POD}}}")
    return _curve(
        "Skipped records",
        "Records that retention deleted before a stage had read them, since its pods' start. Each one is lost to it.",
        prometheus(f"sum by (stage, topic) ({series}) > 0", "{{stage}} {{topic}}"),
        empty="Nothing was skipped in this time range.",
    )


def parked() -> timeseries.Panel:
    """Records of blocked indices and partitions."""
    series = by_stage(f"clickstream_parked_records{{{POD}}}")
    return _curve(
        "Parked records",
        "Records for an index or partition that takes none for now. After 15 minutes they go to dead-letters.",
        prometheus(f"sum by (stage) ({series}) > 0", "{{stage}}"),
        empty="Nothing was parked in this time range.",
    )


def forgotten() -> timeseries.Panel:
    """Event ids that were dropped."""
    return _curve(
        "Forgotten event ids",
        "Per second, of users with more than 16,384 events within gap and grace: many people behind one user id. "
        "A repeated click of theirs may count twice in a session.",
        prometheus(
            f"sum(rate(clickstream_enricher_forgotten_ids_total{{{POD}}}[$__rate_interval])) > 0", "forgotten ids"
        ),
        empty="No event ids were forgotten in this time range.",
        unit="cps",
    )


def replaced() -> timeseries.Panel:
    """Topics that became others, and what others wrote."""
    return _curve(
        "Replaced topics and foreign records",
        "Partitions of raw-clicks that began again, and records on the changelog that no enricher wrote, since the "
        "pods' "
        "start.",
        prometheus(f"sum(clickstream_enricher_source_replaced_total{{{POD}}}) > 0", "replaced partitions"),
        prometheus(
            f"sum(clickstream_enricher_foreign_changelog_records_total{{{POD}}}) > 0", "foreign records", ref="B"
        ),
        empty="Neither was seen in this time range.",
    )


def geoip_age() -> timeseries.Panel:
    """How old the country database is."""
    series = by_stage(f"clickstream_geoip_build_timestamp_seconds{{{POD}}}")
    return _curve(
        "Age of the country database",
        "Since the oldest GeoIP database in use was built. Addresses move; a few weeks are fine.",
        prometheus(f"(time() - min by (stage) ({series})) / 86400", "{{stage}}"),
        empty="No GeoIP database is in use: the pipeline has none, or it cannot be read.",
        unit="suffix:d",
    )


def geoip_failures() -> timeseries.Panel:
    """What failed with the country database."""
    loads = by_stage(f"increase(clickstream_geoip_failed_loads_total{{{POD}}}[$__rate_interval])")
    lookups = by_stage(f"increase(clickstream_geoip_failed_lookups_total{{{POD}}}[$__rate_interval])")
    return _curve(
        "Country database failures",
        "Looks at a GeoIP database that could not be used (one each 30 s), and addresses that a damaged one failed on.",
        prometheus(f"sum by (stage) ({loads}) > 0", "loads, {{stage}}"),
        prometheus(f"sum by (stage) ({lookups}) > 0", "look-ups, {{stage}}", ref="B"),
        empty="Nothing failed in this time range.",
    )
