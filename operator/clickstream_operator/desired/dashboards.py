"""Grafana dashboards as ConfigMaps for the sidecar of Grafana's chart: the committed JSON, made this pipeline's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import Final

import msgspec

from clickstream.contracts.dashboards import dashboard_of
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Funnel
from clickstream_operator import naming
from clickstream_operator.desired.child_object import ChildObject
from clickstream_operator.desired.context import Context
from clickstream_operator.desired.datasources import elasticsearch_url, prometheus_uid

FOLDER_ANNOTATION: Final = "grafana_folder"
_CACHED_PIPELINES: Final = 64
"""About half a megabyte each."""
# Made in the one thread that imports, as in spec.py.
_FUNNELS: Final = msgspec.json.Decoder(list[Funnel])


@cache
def committed() -> dict[str, str]:
    """The generated dashboards by kind, as JSON text, packaged with the operator."""
    folder = resources.files("clickstream_operator").joinpath("data", "dashboards")
    found = {file.name.removesuffix(".json"): file for file in folder.iterdir() if file.name.endswith(".json")}
    return {kind: found[kind].read_text(encoding="utf-8") for kind in sorted(found)}


def dashboards(context: Context) -> Iterator[ChildObject]:
    """One ConfigMap a dashboard: the sidecar's files must have different names in one folder."""
    wanted, names = context.spec.dashboards, context.parsed.names
    if not wanted.enabled:
        return
    # Where the pipeline names no data source the reader of the dashboard chooses one.
    sources = {"prometheus": prometheus_uid(context.spec, names)}
    if wanted.datasources.postgres is None:
        sources["postgres"] = None
    if elasticsearch_url(context) is None:
        sources |= {"clicks": None, "sessions": None}
    funnels = msgspec.json.encode(context.parsed.funnels)
    for kind, text in _rendered(names, tuple(sources.items()), funnels, context.parsed.time_zone):
        meta = context.metadata(naming.dashboard(context.pipeline.name, kind), naming.DASHBOARDS, wanted.labels)
        meta["annotations"] = {FOLDER_ANNOTATION: wanted.folder or context.pipeline.name}
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "data": {f"{names.prefix}.{kind}.json": text},
        }
        yield ChildObject(manifest, naming.DASHBOARDS)


@lru_cache(_CACHED_PIPELINES)
def _rendered(
    names: Names, sources: tuple[tuple[str, str | None], ...], funnels: bytes, time_zone: str
) -> tuple[tuple[str, str], ...]:
    """(kind, JSON text) of each dashboard, by all that they depend on. `funnels`: as JSON, which can be hashed."""
    decoded = _FUNNELS.decode(funnels)
    made = {
        kind: dashboard_of(json.loads(text), names, dict(sources), decoded, time_zone)
        for kind, text in committed().items()
    }
    return tuple((kind, json.dumps(board, indent=1, ensure_ascii=False) + "\n") for kind, board in made.items())
