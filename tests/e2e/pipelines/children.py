"""What a pipeline of the stories has, by the names of its children without the pipeline's."""

from __future__ import annotations

from clickstream.contracts.dashboards import KINDS
from e2e.pipelines.surroundings import Surroundings

CHILDREN = {
    "deployment": {"tracking-api", "enricher", "sink-elasticsearch", "sink-postgres"},
    "hpa": {"tracking-api", "enricher", "sink-elasticsearch", "sink-postgres"},
    "service": {"tracking-api"},
    "pdb": {"tracking-api"},
    "configmap": {"pipeline", *(f"dashboard-{kind}" for kind in KINDS)},
    "serviceaccount": {"clickstream"},
    "networkpolicy": {"tracking-api", "enricher", "sink-elasticsearch", "sink-postgres", "setup", "drop"},
}
TOPICS = {"raw-clicks", "enriched-clicks", "sessions", "dead-letters", "enricher-sessions-changelog"}


def names(cluster: Surroundings, kind: str, web: str, name: str = "shop") -> set[str]:
    """Names of the pipeline's children of a kind, without the pipeline's."""
    found = cluster.all(kind, f"clickstream.dev/pipeline={name}", namespace=web)
    return {each["metadata"]["name"].removeprefix(f"{name}-") for each in found}
