"""The rights that the examples document: Kafka's ACLs of `manifests/examples/kafka-users.yaml`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

KAFKA_USERS = Path(__file__).parents[2] / "manifests" / "examples" / "kafka-users.yaml"
EXAMPLE_PREFIX = "web.shop."
"""What the names of the example's pipeline begin with; `web.catalogue` is the topic that it joins."""

_PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}
_KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}


@dataclass(frozen=True, slots=True)
class Right:
    """One operation on a resource; `kind` is `topic` or `group`, `pattern` `literal` or `prefix`."""

    kind: str
    name: str
    pattern: str
    operation: str

    def __str__(self) -> str:
        return f"{self.operation} on {self.kind} {self.name}{'*' if self.pattern == 'prefix' else ''}"

    def of(self, prefix: str) -> Right:
        """The same for the pipeline whose names begin with `prefix`."""
        return Right(self.kind, self.name.replace(EXAMPLE_PREFIX, prefix), self.pattern, self.operation)


def documented() -> dict[str, list[Right]]:
    """By the name of the KafkaUser."""
    users = [one for one in yaml.safe_load_all(KAFKA_USERS.read_text()) if one]
    return {one["metadata"]["name"]: list(_rights(one["spec"]["authorization"]["acls"])) for one in users}


def _rights(acls: list[dict[str, Any]]) -> Iterable[Right]:
    for acl in acls:
        assert acl.get("type", "allow") == "allow"
        where = acl["resource"]
        for operation in acl["operations"]:
            yield Right(where["type"], where["name"], where["patternType"], operation)


def new_user(admin: AdminClient, rights: Iterable[Right], folder: Path) -> dict[str, str]:
    """Make a Kafka user with these rights and no other; what names it in a document's `kafka.authentication`."""
    name, password = f"u-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    made = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(name, made, password.encode())
    for answer in admin.alter_user_scram_credentials([wanted]).values():
        answer.result(30)
    bindings = [
        AclBinding(
            _KINDS[right.kind], right.name, _PATTERNS[right.pattern], f"User:{name}", "*",
            _OPERATIONS[right.operation], AclPermissionType.ALLOW,
        )
        for right in rights
    ]  # fmt: skip
    for answer in admin.create_acls(bindings).values() if bindings else ():
        answer.result(30)
    file = folder / f"{name}-password"
    file.write_text(password)
    return {"type": "scram-sha-512", "username": name, "passwordFile": str(file)}
