"""What tests do to a cluster's objects, through kubectl: the same for an API server alone and for a whole cluster."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from itertools import groupby
from typing import Any

import yaml

from devstack.errors import StartError
from support.waiting import until

Json = dict[str, Any]


def until_established(kubectl: Callable[..., str], *definitions: str) -> None:
    """Wait until these CRDs are served, all where none is named."""
    # `kubectl wait` fails where a definition has no conditions yet.

    def established() -> bool:
        found = json.loads(kubectl("get", "crd", *definitions, "-o", "json"))
        return all(
            any(each["type"] == "Established" and each["status"] == "True" for each in conditions or [])
            for conditions in (each.get("status", {}).get("conditions") for each in found.get("items", [found]))
        )

    until(established, f"CRDs are established: {' '.join(definitions) or 'all'}", 30)


class Objects:
    """`space` is the namespace that is meant where none is given.

    A wait looks every `pace` seconds, for `patience` seconds; a pipeline has twice as long to become ready.
    """

    space: str
    pace: float = 0.1
    patience: float = 30

    @abstractmethod
    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Its output. Raises StartError with what it said."""

    def explain(self) -> str:
        """What to show when a wait is in vain."""
        return self.kubectl("get", "csp", "-A", "-o", "wide")

    def space_of(self, kind: str) -> str:
        """The namespace of a kind where none is given."""
        return self.space

    def apply(self, *objects: Json) -> str:
        """Apply them in their order; one that names no namespace goes into `space`."""
        told = []
        for named, some in groupby(objects, key=lambda each: "namespace" in each["metadata"]):
            where = () if named else ("-n", self.space)  # kubectl refuses -n beside another namespace in the object
            told.append(self.kubectl(*where, "apply", "-f", "-", text=yaml.safe_dump_all(some)))
        return "".join(told)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Json | None:
        try:
            found: Json = json.loads(
                self.kubectl("get", kind, name, "-n", namespace or self.space_of(kind), "-o", "json")
            )
        except StartError as error:
            if "NotFound" in str(error):
                return None
            raise
        return found

    def all(self, kind: str, labels: str = "", *, namespace: str | None = None) -> list[Json]:
        arguments = [
            "get",
            kind,
            "-n",
            namespace or self.space_of(kind),
            "-o",
            "json",
            *(["-l", labels] if labels else []),
        ]
        found: list[Json] = json.loads(self.kubectl(*arguments))["items"]
        return found

    def patch(self, kind: str, name: str, patch: Json, namespace: str | None = None) -> Json:
        """The object as the patch made it."""
        where = ("-n", namespace or self.space_of(kind))
        made: Json = json.loads(
            self.kubectl("patch", kind, name, *where, "--type=merge", "-p", json.dumps(patch), "-o", "json")
        )
        return made

    def delete(self, kind: str, name: str, namespace: str | None = None, *more: str) -> str:
        return self.kubectl("delete", kind, name, "-n", namespace or self.space_of(kind), "--wait=false", *more)

    def condition(self, name: str = "shop", namespace: str | None = None, kind: str = "Ready") -> Json:
        """A pipeline's condition as it stands for the current generation, empty until it is there."""
        found = self.get("csp", name, namespace)
        if found is None or found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
            return {}
        return next((each for each in found["status"]["conditions"] if each["type"] == kind), {})

    def until(self, what: str, true: Callable[[], Any], seconds: float | None = None) -> Any:
        """Wait until `true()` is; what it answered."""
        return until(true, what, seconds or self.patience, explain=self.explain, every=self.pace)

    def until_ready(self, name: str = "shop", namespace: str | None = None, seconds: float | None = None) -> None:
        def ready() -> bool:
            return self.condition(name, namespace).get("status") == "True"

        self.until(f"{name} is ready", ready, seconds or 2 * self.patience)

    def until_reason(self, reason: str, name: str = "shop", namespace: str | None = None, kind: str = "Ready") -> Json:
        """Wait for a condition's reason; the condition."""

        def there() -> Json | None:
            found = self.condition(name, namespace, kind)
            return found if found.get("reason") == reason else None

        met: Json = self.until(f"{kind} of {name} says {reason}", there)
        return met
