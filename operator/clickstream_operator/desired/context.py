"""What every factory of children is given: one pipeline and what is derived from it, made once per pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clickstream.contracts.pipeline import Pipeline
from clickstream_operator import naming
from clickstream_operator.desired.child_object import Blocked, Manifest
from clickstream_operator.document import build_document, parse_document
from clickstream_operator.inputs import Inputs
from clickstream_operator.mounts import SecretKey, mounts_of
from clickstream_operator.spec import PipelineResource, PipelineSpec


@dataclass(frozen=True, slots=True)
class Context:
    """`document` is the pipeline document as JSON, `parsed` the same as the processes will see it."""

    pipeline: PipelineResource
    spec: PipelineSpec
    document: dict[str, Any]
    parsed: Pipeline
    inputs: Inputs

    @classmethod
    def of(cls, pipeline: PipelineResource, spec: PipelineSpec, inputs: Inputs) -> Context:
        """Raises InvalidSpecError when the processes would refuse the document."""
        document = build_document(pipeline.namespace, pipeline.name, spec)
        return cls(pipeline, spec, document, parse_document(document), inputs)

    @property
    def topics_namespace(self) -> str | None:
        """Where Strimzi's KafkaTopics are; None: there are none."""
        strimzi = self.spec.kafka.strimzi
        return None if strimzi is None or not self.inputs.strimzi else strimzi.namespace or self.pipeline.namespace

    def labels(self, component: str) -> dict[str, str]:
        return naming.labels(self.pipeline.namespace, self.pipeline.name, component)

    def selector(self, component: str) -> dict[str, str]:
        return naming.selector(self.pipeline.name, component)

    def metadata(
        self,
        name: str,
        component: str,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Metadata of a child in the pipeline's namespace; owned by the pipeline, it is deleted with it.

        `labels` and `annotations` are the user's: they never take the place of those that say whose child it is.
        """
        found: Manifest = {
            "name": name,
            "namespace": self.pipeline.namespace,
            "labels": self.labels(component) | dict(labels or {}) | self.labels(component),
            "ownerReferences": [
                {
                    "apiVersion": self.pipeline.api_version,
                    "kind": self.pipeline.kind,
                    "name": self.pipeline.name,
                    "uid": self.pipeline.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }
        if annotations:
            found["annotations"] = dict(annotations)
        return found

    def missing_mounts(self, component: str) -> Blocked | None:
        """Secrets that a component's pods would wait for (mounts.py)."""
        return self.missing_keys(mount.key for mount in mounts_of(self.spec, component))

    def missing_keys(self, wanted: Iterable[SecretKey]) -> Blocked | None:
        missing = [key for key in dict.fromkeys(wanted) if self.inputs.secrets.get(key) is None]
        if not missing:
            return None
        return Blocked("SecretMissing", "missing (Secret/key): " + ", ".join("/".join(key) for key in missing))
