"""A pipeline's own copy of a committed dashboard: its uid, title, tags, links and variables.

The operator (in ConfigMaps) and the demo take dashboards through `dashboard_of`, so that several pipelines can share
one Grafana. The data sources' addresses and credentials are known only to whoever provisions them; their uids are
agreed here.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Funnel
from clickstream.contracts.session_records import funnel_step

KINDS: Final = (
    "overview",
    "live",
    "audience",
    "acquisition",
    "funnels",
    "retention",
    "experience",
    "sessions",
    "health",
)
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
    document: Mapping[str, Any],
    names: Names,
    sources: Mapping[str, str | None] | None = None,
    funnels: Sequence[Funnel] = (),
    time_zone: str = "UTC",
) -> dict[str, Any]:
    """The pipeline's copy of a committed dashboard; `document` stays unchanged.

    `sources`: uid of a data source by variable name, where it is not the pipeline's own (`source_uid`), such as the
    cluster's Prometheus; None lets the viewer choose, as does leaving `prometheus` out. `funnels`: the pipeline's,
    whose steps Elasticsearch only numbers. `time_zone`: in which times are shown. Raises KeyError for JSON that is not
    one of the committed dashboards.
    """
    made = copy.deepcopy(dict(document))
    kind = str(made["uid"]).removeprefix("clickstream-")
    tag = f"clickstream:{names.prefix}"
    made["uid"] = dashboard_uid(names, kind)
    zone = made["timezone"] = "utc" if time_zone == "UTC" else time_zone
    made["title"] = f"{made['title']} · {names.namespace}/{names.pipeline}"
    made["tags"] = [tag if each == PIPELINE_TAG else each for each in made["tags"]]
    for link in made["links"]:
        link["tags"] = [tag if each == PIPELINE_TAG else each for each in link["tags"]]
    constants = {"pipeline": names.pipeline, "namespace": names.namespace, "schema": names.schema}
    own = {source: source_uid(names, source) for source in SOURCES if source != "prometheus"} | dict(sources or {})
    # A constant, not a choice of one: a choice refers to the data source by name, which may change.
    constants |= {source: uid for source, uid in own.items() if uid is not None}
    for variable in made["templating"]["list"]:
        name = variable["name"]
        if name in constants:
            option = {"selected": True, "text": constants[name], "value": constants[name]}
            variable |= {
                "type": "constant", "query": constants[name], "current": option, "options": [option], "hide": 2,
            }  # fmt: skip
    for link in _links(made["panels"]):
        path, _, rest = link["url"].removeprefix("/d/clickstream-").partition("?")
        link["url"] = f"/d/{dashboard_uid(names, path)}?{rest}"
    _set_zone(made["panels"], zone)
    steps = _step_names(funnels)
    for panel in made["panels"] if steps else ():
        if any(by.get("field") == "funnel_steps" for target in panel["targets"] for by in target.get("bucketAggs", ())):
            panel["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": steps}]
    return made


def _set_zone(panels: Sequence[Mapping[str, Any]], zone: str) -> None:
    """Elasticsearch's buckets of time are cut in it."""
    buckets = (by for panel in panels for target in panel["targets"] for by in target.get("bucketAggs", ()))
    for bucket in buckets:
        if bucket["type"] == "date_histogram":
            bucket["settings"]["timeZone"] = zone


def _links(panels: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The cells' links to other dashboards."""
    for panel in panels:
        for override in panel["fieldConfig"]["overrides"]:
            for each in override["properties"]:
                if each["id"] == "links":
                    yield from each["value"]


def _step_names(funnels: Sequence[Funnel]) -> dict[str, dict[str, Any]]:
    """Options of a value mapping: a session's `funnel_steps` by name, with the funnel's if there are several."""
    names = {
        funnel_step(funnel.name, number): (f"{funnel.name}: " if len(funnels) > 1 else "") + f"{number}. {step.name}"
        for funnel in funnels
        for number, step in enumerate(funnel.steps, 1)
    }
    return {value: {"index": index, "text": text} for index, (value, text) in enumerate(names.items())}


def _digest(names: Names) -> str:
    return hashlib.sha256(names.prefix.encode()).hexdigest()[:12]
