"""Every address of a running demo, with commands to try.

Why it exists: the demo is there to be played with. Deliberately absent: anything that a firewall would have to let in;
all of it is on loopback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.text import Text

from clickstream.contracts.pipeline import Pipeline
from devstack.demo.document import BROWSER, write_key
from devstack.ports import LOOPBACK

_EVENT: Final = '{"event_id":"\'$RANDOM$RANDOM\'","timestamp":"\'$(date -u +%FT%TZ)\'","user_id":"me","session_id":"mine","page":"/"}'


def links(pipeline: Pipeline, api: str, shop: str, dashboards: str | None) -> tuple[tuple[str, str], ...]:
    """The few that stay on the screen: (name, address)."""
    elasticsearch, postgres = _stores(pipeline)
    shown = () if dashboards is None else (("dashboards", dashboards),)
    return (
        *shown,
        ("shop", shop),
        ("tracking API", f"{api}/docs"),
        ("Elasticsearch", elasticsearch),
        ("PostgreSQL", postgres),
    )


def addresses(pipeline: Pipeline, api: str, shop: str, dashboards: str | None, ports: Mapping[str, int]) -> Text:
    """All of them, and commands that can be copied: long lines are not broken."""
    elasticsearch, postgres = _stores(pipeline)
    names = pipeline.names
    key = write_key(pipeline, BROWSER)  # not the simulator's: the ledger would call your click a phantom
    shown = [] if dashboards is None else [("dashboards", f"{dashboards}   everything below, drawn")]
    rows = [
        *shown,
        ("shop", f"{shop}   click through it: you are a visitor, too"),
        ("tracking API", f"{api}   documentation {api}/docs"),
        *((f"{name}", f"http://{LOOPBACK}:{port}/metrics") for name, port in ports.items()),
        ("Kafka", f"{pipeline.kafka.bootstrap_servers}   topics {names.prefix}.*"),
        ("Elasticsearch", elasticsearch),
        ("PostgreSQL", f"{postgres}   schema {names.schema}"),
        ("try", f"curl '{elasticsearch}/{names.clicks_alias}/_search?size=1&sort=event_time:desc&pretty'"),
        ("", f"psql {postgres} -c 'select * from {names.schema}.funnel_results order by step'"),  # noqa: S608 - to be read
        ("", f"curl {api}/v1/events -H 'X-Write-Key: {key}' -d '{_EVENT}'"),
    ]
    return Text("\n").join(Text.assemble((f" {name:<14}", "bold"), value) for name, value in rows)


def _stores(pipeline: Pipeline) -> tuple[str, str]:
    sinks = pipeline.sinks
    assert sinks.elasticsearch is not None
    assert sinks.postgres is not None
    return sinks.elasticsearch.url, sinks.postgres.dsn or ""
