"""What there is in the cluster of a pipeline: its children by label, and the inputs of the desired state."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clickstream_operator import mounts, naming
from clickstream_operator.cluster import KINDS, LISTED, OPTIONAL, Cluster, ClusterError, Secret
from clickstream_operator.components import scaled_components
from clickstream_operator.desired.child_object import Blocked, ChildKey, Manifest
from clickstream_operator.desired.kafka_topics import KIND as KAFKA_TOPIC
from clickstream_operator.inputs import Images, Inputs, hash_of
from clickstream_operator.mounts import SecretKey
from clickstream_operator.spec import PipelineResource, PipelineSpec


@dataclass(slots=True)
class Observed:
    """Live objects."""

    objects: dict[ChildKey, Manifest] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Manifest]:
        return [found for key, found in self.objects.items() if key.kind == kind]


def observe(cluster: Cluster, pipeline: PipelineResource, topics_namespace: str | None) -> Observed:
    """The pipeline's children; KafkaTopics in their namespace, when one is given. Raises ClusterError.

    They are found by label and taken by owner or mark: what somebody else has labelled like them is not among them, so
    that nothing is ever done to it.
    """
    labels = naming.owned_by(pipeline.namespace, pipeline.name)
    found = Observed()
    for kind in LISTED:
        _take(found, pipeline, kind, cluster.list(kind, pipeline.namespace, labels))
    if topics_namespace is not None:
        _take(found, pipeline, KAFKA_TOPIC, cluster.list(KAFKA_TOPIC, topics_namespace, labels))
    for kind in OPTIONAL:
        _take(found, pipeline, kind, _where_served(cluster, kind, pipeline.namespace, labels))
    datasources = cluster.get("Secret", pipeline.namespace, naming.datasources(pipeline.name))
    _take(found, pipeline, "Secret", [] if datasources is None else [datasources])
    return found


def _where_served(cluster: Cluster, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
    """None where the cluster does not serve the kind, or the operator may not look: then it has made none."""
    try:
        return cluster.list(kind, namespace, labels)
    except ClusterError as error:
        if error.status in {403, 404}:
            return []
        raise


def observe_everywhere(cluster: Cluster, pipeline: PipelineResource, topics_namespace: str | None) -> Observed:
    """The same for a deletion: with the KafkaTopics of namespaces that the pipeline named earlier.

    An operator for some namespaces may only look for them in the pipeline's own and in the one that is named now.
    """
    found = observe(cluster, pipeline, None)
    labels = naming.owned_by(pipeline.namespace, pipeline.name)
    try:
        _take(found, pipeline, KAFKA_TOPIC, cluster.list(KAFKA_TOPIC, None, labels))
    except ClusterError as error:
        if error.status != 403:
            raise
        for namespace in {pipeline.namespace, topics_namespace or pipeline.namespace}:
            _take(found, pipeline, KAFKA_TOPIC, cluster.list(KAFKA_TOPIC, namespace, labels))
    return found


def look_up(cluster: Cluster, pipeline: PipelineResource, spec: PipelineSpec, images: Images) -> Inputs:
    """What the desired state needs to know of the cluster. Raises ClusterError."""
    hashes: dict[SecretKey, str | None] = {}
    credentials: dict[SecretKey, str] = {}
    copied = set(mounts.datasource_keys(spec))
    contents: dict[str, Secret | None] = {}
    for key in mounts.all_keys(spec):
        if key.secret not in contents:
            contents[key.secret] = cluster.secret(pipeline.namespace, key.secret)
        secret = contents[key.secret]
        value = None if secret is None else secret.data.get(key.key)
        if secret is None or value is None:
            hashes[key] = None
            continue
        hashes[key] = hash_of(secret.uid, value)
        if key in copied:
            with contextlib.suppress(UnicodeDecodeError):
                credentials[key] = value.decode().rstrip("\r\n")
    strimzi = spec.kafka.strimzi is None or cluster.serves(KAFKA_TOPIC)
    gateway = spec.tracking_api.http_route is None or cluster.serves(naming.HTTP_ROUTE)
    scalers = {part.autoscaling.scaler for part in scaled_components(spec).values()}
    keda = "KEDA" not in scalers or cluster.serves(naming.SCALED_OBJECT)
    versions = {name: None if secret is None else secret.version for name, secret in contents.items()}
    return Inputs(images, hashes, credentials, strimzi, gateway, keda, versions)


def is_ours(live: Mapping[str, Any], pipeline: PipelineResource) -> bool:
    """Whether an object is a child of this pipeline: by owner, or, for what has none, by the mark of what we apply.

    Never by labels alone: people label what is theirs, so that it is shown with the pipeline.
    """
    meta = live["metadata"]
    owners = meta.get("ownerReferences") or []
    if owners:
        return any(owner.get("uid") == pipeline.uid for owner in owners)
    return naming.APPLIED_ANNOTATION in (meta.get("annotations") or {})


def obstacle(cluster: Cluster, pipeline: PipelineResource, key: ChildKey) -> Blocked | None:
    """Why a child cannot be created under its name: an object that is not ours has it. Raises ClusterError."""
    kind, namespace, name = key
    there = cluster.get(kind, namespace, name)
    if there is None or is_ours(there, pipeline):
        return None
    owners = there["metadata"].get("ownerReferences") or []
    if any((owner.get("kind"), owner.get("name")) == (naming.KIND, pipeline.name) for owner in owners):
        message = f"{kind} {namespace}/{name} of an earlier pipeline of this name is being deleted with it"
        return Blocked("WaitingForDeletion", message, severe=False)
    message = f"{kind} {namespace}/{name} exists and does not belong to this pipeline: rename or delete one of them"
    return Blocked("NameConflict", message)


def pods_of(cluster: Cluster, pipeline: PipelineResource, labels: Mapping[str, str]) -> list[Manifest]:
    """Pods, newest first; none where the operator may not look at them: they only serve to explain."""
    try:
        found = cluster.list("Pod", pipeline.namespace, labels)
    except ClusterError as error:
        if error.status == 403:
            return []
        raise
    return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)


def _take(observed: Observed, pipeline: PipelineResource, kind: str, items: list[Manifest]) -> None:
    api_version = KINDS[kind].api.removeprefix("/apis/").removeprefix("/api/")
    for item in items:
        if is_ours(item, pipeline):
            meta = item["metadata"]  # a list's items do not say what they are
            key = ChildKey(kind, meta["namespace"], meta["name"])
            observed.objects[key] = item | {"kind": kind, "apiVersion": api_version}
