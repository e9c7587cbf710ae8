"""A pipeline's own copy of a committed dashboard (grafana/dashboards/*.json): its uid, title, tags, links and variables.

Whoever shows dashboards (the operator in ConfigMaps, the demo) takes them through `dashboard_of`, so that several
pipelines share one Grafana without meeting. Deliberately absent: the data sources' addresses and credentials, which
only the one who provisions them knows; their uids are agreed here.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from clickstream.contracts.names import Names

KINDS: Final = ("overview", "live", "audience", "funnels", "health")
"""The committed dashboards, by file name."""

PIPELINE_TAG: Final = "clickstream-pipeline"
SOURCES: Final = ("postgres", "clicks", "sessions", "prometheus")
"""Variables of type `datasource` in the dashboards."""


def dashboard_uid(names: Names, kind: str) -> str:
    """Stable, unique per pipeline, and short: Grafana takes at most 40 characters."""
    return f"clickstream-{_digest(names)}-{kind}"


def source_uid(names: Names, source: str) -> str:
    """The uid (and the name) of one of a pipeline's own data sources: `postgres`, `clicks`, `sessions`."""
    return f"clickstream-{_digest(names)}-{source}"


def dashboard_of(
    document: Mapping[str, Any], names: Names, sources: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """The pipeline's copy of a committed dashboard. `document` stays as it is.

    `sources`: uid of a data source by variable name, where it is not the pipeline's own (`source_uid`), such as the
    cluster's Prometheus; None, and `prometheus` unless it is given: the reader chooses. Raises KeyError for a JSON that
    is no dashboard of ours.
    """
    made = copy.deepcopy(dict(document))
    kind = str(made["uid"]).removeprefix("clickstream-")
    tag = f"clickstream:{names.prefix}"
    made["uid"] = dashboard_uid(names, kind)
    made["title"] = f"{made['title']} · {names.namespace}/{names.pipeline}"
    made["tags"] = [tag if each == PIPELINE_TAG else each for each in made["tags"]]
    for link in made["links"]:
        link["tags"] = [tag if each == PIPELINE_TAG else each for each in link["tags"]]
    constants = {"pipeline": names.pipeline, "namespace": names.namespace, "schema": names.schema}
    own = {source: source_uid(names, source) for source in SOURCES if source != "prometheus"} | dict(sources or {})
    # A constant, not a choice of one: a choice goes by the data source's name, which whoever provisions it may change.
    constants |= {source: uid for source, uid in own.items() if uid is not None}
    for variable in made["templating"]["list"]:
        name = variable["name"]
        if name in constants:
            option = {"selected": True, "text": constants[name], "value": constants[name]}
            variable |= {
                "type": "constant", "query": constants[name], "current": option, "options": [option], "hide": 2,
            }  # fmt: skip
    return made


def _digest(names: Names) -> str:
    return hashlib.sha256(names.prefix.encode()).hexdigest()[:12]
