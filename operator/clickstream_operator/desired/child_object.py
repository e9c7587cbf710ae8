"""One child of a pipeline: its manifest, the component whose condition it counts for, and what blocks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

Manifest = dict[str, Any]


def is_going(live: Manifest) -> bool:
    """Whether it is being deleted already."""
    return live["metadata"].get("deletionTimestamp") is not None


class ChildKey(NamedTuple):
    """What identifies an object in the cluster."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a child is not applied. `severe`: it wants a person, not time."""

    reason: str
    message: str
    severe: bool = True


WAITING_FOR_TOPICS: Final = Blocked("WaitingForTopics", "waiting for all topics to be ready", severe=False)


@dataclass(frozen=True, slots=True)
class ChildObject:
    """`blocked`: by what the inputs lack. `needs_topics`: it is first created when all topics are ready.

    `hand_over`: a Deployment's replicas, which were ours and are to stay as many when the field is let go of.
    """

    manifest: Manifest
    component: str
    blocked: Blocked | None = None
    needs_topics: bool = False
    hand_over: int | None = None

    @property
    def key(self) -> ChildKey:
        meta = self.manifest["metadata"]
        return ChildKey(self.manifest["kind"], meta["namespace"], meta["name"])

    def blocker(self, *, topics_ready: bool, exists: bool = False) -> Blocked | None:
        """Why it cannot be applied now. What exists already is kept up to date while topics are not ready."""
        if self.blocked is None and self.needs_topics and not topics_ready and not exists:
            return WAITING_FOR_TOPICS
        return self.blocked
