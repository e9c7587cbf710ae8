"""What the desired state needs beside the pipeline, as values: settings, and what was looked up in the cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from clickstream_operator.mounts import SecretKey

USER: Final = 10_001
"""The image's user (images/apps.Dockerfile)."""


@dataclass(frozen=True, slots=True)
class Images:
    """Where the pods' image comes from, unless the pipeline names one, and the user that it runs as.

    `run_as_user` None: the platform chooses.
    """

    apps: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    run_as_user: int | None = USER


@dataclass(frozen=True, slots=True)
class Inputs:
    """`secrets` maps each referenced key to a hash of its value, None where Secret or key are missing.

    `credentials` holds the values of the few keys that must be copied into Grafana's data sources, where they are UTF-8
    text. `strimzi`, `gateway`, `keda`: whether the cluster serves KafkaTopics, HTTPRoutes and ScaledObjects; looked up
    where they are wanted. `versions` are the resourceVersions of the Secrets that were read, by name.
    """

    images: Images
    secrets: Mapping[SecretKey, str | None] = field(default_factory=dict)
    credentials: Mapping[SecretKey, str] = field(default_factory=dict)
    strimzi: bool = True
    gateway: bool = True
    keda: bool = True
    versions: Mapping[str, str | None] = field(default_factory=dict)


def hash_of(secret_uid: str, value: bytes) -> str:
    """A hash of a Secret's value, salted with its uid: who may not read the Secret cannot try values out."""
    return hashlib.sha256(secret_uid.encode() + b"\0" + value).hexdigest()[:16]
