"""Grafana dashboards as ConfigMaps for the sidecar of Grafana's chart: the committed JSON, made this pipeline's own."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Final

from clickstream.contracts.dashboards import dashboard_of
from clickstream.contracts.pipeline import Pipeline
from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.desired.datasources import elasticsearch_url, prometheus_uid
from clickstream_operator.spec import PipelineResource, PipelineSpec

COMPONENT: Final = "dashboards"
FOLDER_ANNOTATION: Final = "grafana_folder"


@cache
def committed() -> dict[str, str]:
    """The generated dashboards by kind, as JSON text, packaged with the operator."""
    folder = resources.files("clickstream_operator").joinpath("data", "dashboards")
    found = {file.name.removesuffix(".json"): file for file in folder.iterdir() if file.name.endswith(".json")}
    return {kind: found[kind].read_text(encoding="utf-8") for kind in sorted(found)}


def dashboard_config_maps(pipeline: PipelineResource, spec: PipelineSpec, document: Pipeline) -> list[Manifest]:
    """One ConfigMap a dashboard: the sidecar's files must have different names in one folder."""
    # Where the pipeline names no data source the reader of the dashboard chooses one.
    sources = {"prometheus": prometheus_uid(spec, document.names)}
    if spec.dashboards.datasources.postgres is None:
        sources["postgres"] = None
    if elasticsearch_url(spec) is None:
        sources |= {"clicks": None, "sessions": None}
    found = []
    for kind, text in committed().items():
        meta = metadata(pipeline, naming.dashboard(pipeline.name, kind), COMPONENT)
        meta["labels"] |= spec.dashboards.labels
        meta["annotations"] = {FOLDER_ANNOTATION: spec.dashboards.folder or pipeline.name}
        content = dashboard_of(json.loads(text), document.names, sources, document.funnels)
        found.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": meta,
                "data": {
                    f"{document.names.prefix}.{kind}.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n"
                },
            }
        )
    return found
