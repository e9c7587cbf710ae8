"""What must be looked up before the desired state can be worked out. Values only: whoever looks them up is elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clickstream_operator.mounts import SecretKey


@dataclass(frozen=True, slots=True)
class Images:
    """Where the pods' image comes from, unless the pipeline names one."""

    apps: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """`secrets` maps each referenced key to a hash of its value, None where Secret or key are not there.

    `credentials` holds the values of the few keys that must be copied into Grafana's data sources. `strimzi`: whether the
    cluster serves KafkaTopics. `topics_ready`: whether all topics were seen to be there, for this or an earlier generation.
    """

    images: Images
    secrets: Mapping[SecretKey, str | None] = field(default_factory=dict)
    credentials: Mapping[SecretKey, str] = field(default_factory=dict)
    strimzi: bool = True
    topics_ready: bool = False

    def missing(self, wanted: Iterable[SecretKey]) -> list[SecretKey]:
        """Those keys that are not there, each once, in order."""
        return [key for key in dict.fromkeys(wanted) if self.secrets.get(key) is None]


def hash_of(secret_uid: str, value: bytes) -> str:
    """A hash of a Secret's value, salted with the Secret's own uid: who may not read the Secret cannot try values out."""
    return hashlib.sha256(secret_uid.encode() + b"\0" + value).hexdigest()[:16]
