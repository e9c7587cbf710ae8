"""What there is of a pipeline in the cluster: its children by label, and the facts that the desired state needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from clickstream_operator import mounts, naming
from clickstream_operator.cluster import KINDS, LISTED, Cluster, ClusterError
from clickstream_operator.facts import Facts, Images, hash_of
from clickstream_operator.mounts import SecretKey
from clickstream_operator.spec import PipelineResource, PipelineSpec

Manifest = dict[str, Any]
ChildKey = tuple[str, str, str]
"""(kind, namespace, name)."""

TOPIC_KIND: Final = "KafkaTopic"


@dataclass(slots=True)
class Observed:
    """Live objects by key."""

    objects: dict[ChildKey, Manifest] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Manifest]:
        """All of one kind."""
        return [found for key, found in self.objects.items() if key[0] == kind]


def observe(cluster: Cluster, pipeline: PipelineResource, topics_namespace: str | None) -> Observed:
    """Everything with the pipeline's labels; KafkaTopics in their namespace, when one is given. Raises ClusterError."""
    labels = naming.owned_by(pipeline.namespace, pipeline.name)
    found = Observed()
    for kind in LISTED:
        _take(found, kind, cluster.list(kind, pipeline.namespace, labels))
    if topics_namespace is not None:
        _take(found, TOPIC_KIND, cluster.list(TOPIC_KIND, topics_namespace, labels))
    datasources = cluster.get("Secret", pipeline.namespace, naming.datasources(pipeline.name))
    if datasources is not None and is_ours(datasources, pipeline):
        _take(found, "Secret", [datasources])
    return found


def look_up(cluster: Cluster, pipeline: PipelineResource, spec: PipelineSpec, images: Images) -> Facts:
    """The facts, but for `topics_ready`. Raises ClusterError."""
    hashes: dict[SecretKey, str | None] = {}
    credentials: dict[SecretKey, str] = {}
    copied = set(mounts.datasource_keys(spec))
    contents: dict[str, tuple[str, Mapping[str, bytes]] | None] = {}
    for key in mounts.all_keys(spec):
        if key.secret not in contents:
            contents[key.secret] = cluster.secret(pipeline.namespace, key.secret)
        secret = contents[key.secret]
        value = None if secret is None else secret[1].get(key.key)
        if secret is None or value is None:
            hashes[key] = None
            continue
        hashes[key] = hash_of(secret[0], value)
        if key in copied:
            credentials[key] = value.decode("utf-8", "replace").rstrip("\r\n")
    strimzi = spec.kafka.strimzi is None or cluster.serves(TOPIC_KIND)
    return Facts(images, hashes, credentials, strimzi)


def is_ours(live: Mapping[str, Any], pipeline: PipelineResource) -> bool:
    """Whether an object is a child of this pipeline: by owner, or, for what outlives its pipeline, by label.

    One that has lost a label, and has the mark of what we apply under a name that only this pipeline gives, is too.
    """
    meta = live["metadata"]
    owners = meta.get("ownerReferences") or []
    if owners:
        return any(owner.get("uid") == pipeline.uid for owner in owners)
    labels = meta.get("labels") or {}
    wanted = naming.owned_by(pipeline.namespace, pipeline.name)
    marked = naming.APPLIED_ANNOTATION in (meta.get("annotations") or {})
    return marked or all(labels.get(name) == value for name, value in wanted.items())


def conflict(cluster: Cluster, pipeline: PipelineResource, key: ChildKey) -> str | None:
    """Why a child cannot be created under its name: somebody else has it. Raises ClusterError."""
    kind, namespace, name = key
    there = cluster.get(kind, namespace, name)
    if there is None or is_ours(there, pipeline):
        return None
    return f"{kind} {namespace}/{name} exists and does not belong to this pipeline: rename or delete one of them"


def pods_of(cluster: Cluster, pipeline: PipelineResource, labels: Mapping[str, str]) -> list[Manifest]:
    """Pods, newest first; none where the operator may not look at them: they only serve to explain."""
    try:
        found = cluster.list("Pod", pipeline.namespace, labels)
    except ClusterError as error:
        if error.status == 403:
            return []
        raise
    return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)


def _take(observed: Observed, kind: str, items: list[Manifest]) -> None:
    api_version = KINDS[kind].api.removeprefix("/apis/").removeprefix("/api/")
    for item in items:  # a list's items do not say what they are
        item |= {"kind": kind, "apiVersion": api_version}
        meta = item["metadata"]
        observed.objects[kind, meta["namespace"], meta["name"]] = item
