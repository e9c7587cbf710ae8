"""Which of several operators works: the one that holds a Lease and renews it in time, as client-go's leader election.

Not the Python client's leader election: its requests have no time limit, so that a leader whose connection hangs goes
on working while another takes over, and it reads the wall clock. Here whoever could not renew for `RENEW_SECONDS` ends,
before `LEASE_SECONDS` after which another may begin; both by the monotonic clock of each machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from clickstream_operator.cluster import Cluster, ClusterError

log: Final = logging.getLogger(__name__)

LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 2.0

_KIND: Final = "Lease"


class LeaseName(NamedTuple):
    """Where the Lease is."""

    namespace: str
    name: str


class Leadership:
    """Of one candidate, `identity`. `lost` is called once when it was leader and can no longer be sure of it."""

    def __init__(
        self,
        cluster: Cluster,
        lease: LeaseName,
        identity: str,
        lost: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._lease, self._identity = cluster, lease, identity
        self._lost, self._clock = lost, clock
        self._stopping = threading.Event()
        self._seen: tuple[Any, float] = (None, clock())
        self._renewed = 0.0
        self._thread: threading.Thread | None = None
        self._watchdog: threading.Thread | None = None

    def acquire(self, stopping: threading.Event) -> bool:
        """Wait until this candidate leads, then keep the Lease in a thread; False when `stopping` was set before."""
        said = ""
        while not stopping.is_set():
            began = self._clock()
            try:
                holder = self._try()
            except ClusterError as error:
                holder = f"nobody knows whom: {error}"
            if holder == self._identity:
                self._renewed = began
                self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
                self._thread.start()
                self._watchdog = threading.Thread(target=self._watch, name="lease-watchdog", daemon=True)
                self._watchdog.start()
                log.info("leader: holds Lease %s/%s", *self._lease, extra={"fields": {"identity": self._identity}})
                return True
            if holder is not None and holder != said:
                log.info("standing by: Lease %s/%s is held by %s", *self._lease, holder)
                said = holder
            stopping.wait(RETRY_SECONDS)
        return False

    def release(self) -> None:
        """Let another one lead at once. To be called when nothing works any more."""
        self._stopping.set()
        if self._thread is None:
            return
        self._thread.join()
        try:
            found = self._cluster.get(_KIND, *self._lease)
            if found is not None and found["spec"].get("holderIdentity") == self._identity:
                self._write(found, None, found["spec"])
        except ClusterError as error:
            log.warning("the Lease could not be released, another operator begins in %d s: %s", LEASE_SECONDS, error)

    def _renew(self) -> None:
        while not self._stopping.wait(RETRY_SECONDS):
            began = self._clock()
            try:
                holder = self._try()
            except ClusterError as error:
                log.warning("the Lease could not be renewed, trying again: %s", error)
                continue
            if holder == self._identity:
                self._renewed = began
            elif holder is not None:
                log.error("the Lease is held by %s", holder)
                self._renewed = float("-inf")
                return

    def _watch(self) -> None:
        """Apart from the renewal, which may hang."""
        while not self._stopping.wait(0.5):
            if self._clock() - self._renewed > RENEW_SECONDS:
                self._lost()
                return

    def _try(self) -> str | None:
        """Take or renew the Lease if it is free, expired or ours; who holds it then, None where it was just changed.

        Raises ClusterError.
        """
        found = self._cluster.get(_KIND, *self._lease)
        try:
            if found is None:
                spec = self._spec(self._identity, _now(), 0)
                meta = self._lease._asdict()
                api = "coordination.k8s.io/v1"
                self._cluster.create({"apiVersion": api, "kind": _KIND, "metadata": meta, "spec": spec})
                return self._identity
            spec = found.get("spec") or {}
            holder = spec.get("holderIdentity") or ""
            # Another's Lease is over when it has not changed for its time by our own clock.
            if (spec, holder) != self._seen[0]:
                self._seen = (spec, holder), self._clock()
            lasts = float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
            if holder not in {"", self._identity} and self._clock() - self._seen[1] < lasts:
                return str(holder)
            self._write(found, self._identity, spec)
        except ClusterError as error:
            if error.status != 409:
                raise
            return None
        return self._identity

    def _write(self, found: dict[str, Any], holder: str | None, before: dict[str, Any]) -> None:
        changes = int(before.get("leaseTransitions") or 0)
        if before.get("holderIdentity") == holder:
            spec = self._spec(holder, before.get("acquireTime") or _now(), changes)
        else:
            spec = self._spec(holder, _now(), changes + (holder is not None))
        patch = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": spec}
        self._cluster.merge(_KIND, *self._lease, patch)

    def _spec(self, holder: str | None, acquired: str, changes: int) -> dict[str, Any]:
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": acquired,
            "renewTime": _now(),
            "leaseTransitions": changes,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
