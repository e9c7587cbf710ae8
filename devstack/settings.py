"""Where the devstack keeps things and which servers are not its own, read from the environment once."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.errors import DevstackError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICES = ("kafka", "elasticsearch", "postgres")
ELASTICSEARCH_HEAP = "768m"
KAFKA_HEAP = "512m"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that can be chosen: see `devstack --help` for the variables."""

    home: Path
    cache: Path
    external: Mapping[str, str]
    elasticsearch_heap: str = ELASTICSEARCH_HEAP
    kafka_heap: str = KAFKA_HEAP
    kafka_properties: Mapping[str, str] = field(default_factory=dict)
    """Broker properties that override the defaults; in Python only."""
    kafka_listeners: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Further plain listeners, for clients that are to come through a proxy: name → (port, the address that it
    advertises)."""
    kafka_acls: bool = False
    """Of a secure home: the broker denies what no ACL allows, except to the home's own user, who gives the ACLs."""

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, *, home: Path | str | None = None
    ) -> Settings:
        """Read the variables; an explicit `home` wins over DEVSTACK_HOME, that over `.devstack` right here."""
        env = os.environ if environment is None else environment
        return cls(
            home=Path(home or env.get("DEVSTACK_HOME") or ".devstack").expanduser().absolute(),
            cache=cache_folder(env),
            external={name: url for name in SERVICES if (url := env.get(f"DEVSTACK_{name.upper()}", "").strip())},
            elasticsearch_heap=_heap(env, "DEVSTACK_ES_HEAP", ELASTICSEARCH_HEAP),
            kafka_heap=_heap(env, "DEVSTACK_KAFKA_HEAP", KAFKA_HEAP),
        )


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder for downloads: DEVSTACK_CACHE, else below XDG_CACHE_HOME, else below ~/.cache."""
    env = os.environ if environment is None else environment
    if chosen := env.get("DEVSTACK_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(env.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "clickstream-devstack"


def _heap(env: Mapping[str, str], name: str, default: str) -> str:
    value = env.get(name) or default
    if not re.fullmatch(r"[1-9]\d*[mMgG]", value):
        message = f"{name}={value}: give a Java heap size such as 768m or 2g"
        raise DevstackError(message)
    return value
