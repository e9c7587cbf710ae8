"""Grafana dashboards as ConfigMaps for the sidecar of Grafana's chart: the committed JSON, made this pipeline's own.

What differs from pipeline to pipeline is the uid, the title, and the values of the dashboards' variables
(grafana/README.md lists them).
"""

from __future__ import annotations

import copy
import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from clickstream.contracts.pipeline import Pipeline
from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.desired.datasources import uids_of
from clickstream_operator.spec import PipelineResource, PipelineSpec

COMPONENT: Final = "dashboards"
FOLDER_ANNOTATION: Final = "grafana_folder"


@cache
def committed() -> dict[str, str]:
    """The generated dashboards by uid, as JSON text: packaged with the operator, or in `grafana/` of the checkout."""
    packaged = resources.files("clickstream_operator").joinpath("data", "dashboards")
    folder: Traversable = packaged if packaged.is_dir() else Path(__file__).parents[3] / "grafana" / "dashboards"
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".json")]
    return dict(sorted((json.loads(text)["uid"], text) for text in texts))


def dashboard_config_maps(pipeline: PipelineResource, spec: PipelineSpec, document: Pipeline) -> list[Manifest]:
    """One ConfigMap a dashboard: the sidecar's files must have different names in one folder."""
    found = []
    for uid, text in committed().items():
        meta = metadata(pipeline, naming.dashboard(pipeline.name, uid), COMPONENT)
        meta["labels"] |= spec.dashboards.labels
        meta["annotations"] = {FOLDER_ANNOTATION: spec.dashboards.folder or pipeline.name}
        content = json.dumps(dashboard_of(json.loads(text), document), indent=1, ensure_ascii=False)
        found.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": meta,
                "data": {f"{pipeline.namespace}-{pipeline.name}-{uid}.json": content + "\n"},
            }
        )
    return found


def dashboard_of(dashboard: dict[str, Any], document: Pipeline) -> dict[str, Any]:
    """A copy for one pipeline: stable uid of at most 40 characters, title, links and variables."""
    found = copy.deepcopy(dashboard)
    names = document.names
    suffix = naming.digest(names.prefix)
    found["uid"] = f"{dashboard['uid']}-{suffix}"
    found["title"] = f"{dashboard['title']} · {names.prefix}"
    found["id"] = None
    values = uids_of(document) | {"schema": names.schema, "namespace": names.namespace, "pipeline": names.pipeline}
    for variable in found.get("templating", {}).get("list", []):
        value = values.get(variable["name"])
        if value is None:
            continue
        variable["current"] = {"selected": True, "text": value, "value": value}
        if variable["type"] == "constant":
            variable["query"] = value
    for link in found.get("links", []):
        for uid in committed():
            if link.get("url", "").startswith(f"/d/{uid}"):
                link["url"] = link["url"].replace(f"/d/{uid}", f"/d/{uid}-{suffix}", 1)
    return found
