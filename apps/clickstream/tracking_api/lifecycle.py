"""The three phases of a process's life, which readiness and the answers' `Connection` header follow."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """`STARTING` until Kafka's client exists, `DRAINING` from the first SIGTERM on."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Lifecycle:
    """The current phase."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    def not_ready(self) -> str | None:
        """Why no new traffic should come; None when it may. A broken Kafka is no reason: a 503 tells clients more."""
        return None if self.phase is Phase.SERVING else self.phase.value
