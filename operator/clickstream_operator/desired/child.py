"""One child of a pipeline: its manifest, whose part it is, and why it has to wait if it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clickstream_operator.naming import labels
from clickstream_operator.spec import PipelineResource

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a child is not applied for now. `creation_only`: what exists already is kept up to date all the same."""

    reason: str
    message: str
    creation_only: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest and the component that it belongs to. `retained`: it outlives the pipeline and is never pruned."""

    manifest: Manifest
    component: str
    hold: Hold | None = None
    retained: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """(kind, namespace, name)."""
        meta = self.manifest["metadata"]
        return self.manifest["kind"], meta["namespace"], meta["name"]


def metadata(pipeline: PipelineResource, name: str, component: str) -> Manifest:
    """Metadata of a child in the pipeline's namespace, owned by the pipeline: it goes when the pipeline goes."""
    return {
        "name": name,
        "namespace": pipeline.namespace,
        "labels": labels(pipeline.namespace, pipeline.name, component),
        "ownerReferences": [
            {
                "apiVersion": pipeline.api_version,
                "kind": pipeline.kind,
                "name": pipeline.name,
                "uid": pipeline.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
