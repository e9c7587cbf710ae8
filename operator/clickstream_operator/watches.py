"""Watches on the children of all pipelines. They tell whose children changed; what is to be done is for a pass to find.

Nothing of an object is kept but a digest, so that news that change nothing, such as an autoscaler's current metrics,
wake nobody. A watch that is away only costs: as long as it is, every pass looks at everything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from clickstream.runtime.backoff import Backoff
from clickstream_operator import naming
from clickstream_operator.cluster import LISTED, OPTIONAL, Cluster, ClusterError, Manifest
from clickstream_operator.desired.kafka_topics import KIND as KAFKA_TOPIC
from clickstream_operator.failures import describe, trace
from clickstream_operator.naming import Key

log: Final = logging.getLogger(__name__)

WATCHED: Final = (*LISTED, *OPTIONAL, KAFKA_TOPIC)

_SELECTOR: Final = f"{naming.PIPELINE_LABEL},{naming.NAMESPACE_LABEL}"
_WITH_STATUS: Final = frozenset(
    {"Deployment", "HorizontalPodAutoscaler", naming.SCALED_OBJECT, "Job", "Ingress", KAFKA_TOPIC}
)
"""Kinds whose status passes look at. Of the others only the metadata are sent: a dashboard has 40 kB."""
_NOISE: Final = frozenset({"currentMetrics", "lastActiveTime"})
"""Members of an autoscaler's status that change all the time and that no pass looks at."""
_BOOKKEEPING: Final = frozenset({"resourceVersion", "managedFields"})
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0
_EXPIRED: Final = 410


class Watches:
    """A thread a kind and namespace; `namespaces` none: all of the cluster. Thread-safe."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str]) -> None:
        self._cluster = cluster
        self._changed: Callable[[Key], None] = lambda _key: None
        self._namespaces = tuple(namespaces)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._watches: dict[tuple[str, str | None], _Watch] = {}

    def start(self, changed: Callable[[Key], None]) -> None:
        """Begin to watch every kind of child. `changed` is called from threads."""
        self._changed = changed
        for kind in WATCHED:
            for namespace in self._namespaces or (None,):
                self._start(kind, namespace)

    def stop(self) -> None:
        """Tell nothing from now on. The threads end by themselves, or with the process."""
        self._stopping.set()

    def include_topics(self, namespace: str) -> bool:
        """Watch KafkaTopics there as well; False where that is so already."""
        return bool(self._namespaces) and namespace not in self._namespaces and self._start(KAFKA_TOPIC, namespace)

    def in_sync(self) -> bool:
        """Whether every change of a child is told."""
        with self._lock:
            watches = list(self._watches.values())
        return bool(watches) and all(each.in_sync for each in watches)

    def _start(self, kind: str, namespace: str | None) -> bool:
        with self._lock:
            if (kind, namespace) in self._watches or self._stopping.is_set():
                return False
            watch = self._watches[kind, namespace] = _Watch(
                self._cluster, kind, namespace, self._changed, self._stopping
            )
        threading.Thread(target=watch.run, name=f"watch-{kind}-{namespace or 'all'}", daemon=True).start()
        return True


class _Watch:
    """Of one kind, in one namespace or in all."""

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        namespace: str | None,
        changed: Callable[[Key], None],
        stopping: threading.Event,
    ) -> None:
        self.in_sync = False
        self._cluster, self._kind, self._namespace = cluster, kind, namespace
        self._changed, self._stopping = changed, stopping
        self._whole = kind in _WITH_STATUS
        self._known: dict[tuple[str, str], tuple[Key, str]] = {}
        self._version = ""

    def run(self) -> None:
        """Until told to stop."""
        backoff = Backoff(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        said = ""
        while not self._stopping.is_set():
            try:
                self._follow()
                backoff.reset()
                said = ""
                self._stopping.wait(_FIRST_WAIT_SECONDS)  # an API server that ends watches at once is not hammered
                continue
            except ClusterError as error:
                # A kind that is not served has no objects; it may be served later.
                self.in_sync = error.status == 404
                if error.status in {404, _EXPIRED}:
                    self._version = ""
                if error.status == _EXPIRED and backoff.attempts == 0:
                    backoff.next_wait()
                    continue
                told = "" if error.status == 404 else str(error)
            except Exception as error:  # noqa: BLE001 - a watch never dies unseen
                self.in_sync, self._version = False, ""
                told = f"{describe(error)} ({trace(error)})"
            if told and told != said:
                fields = {"kind": self._kind, "namespace": self._namespace or "all"}
                msg = "cannot watch %s, so every pass reads everything until it can: %s"
                log.warning(msg, self._kind, told, extra={"fields": fields})
            said = told
            self._stopping.wait(backoff.next_wait())

    def _follow(self) -> None:
        """Until the API server ends the watch, as it does after some minutes. Raises ClusterError."""
        if not self._version:
            self._compare()
        events = self._cluster.watch(self._kind, self._namespace, _SELECTOR, self._version, whole=self._whole)
        self.in_sync = True
        for what, found in events:
            if self._stopping.is_set():
                return
            if what != "BOOKMARK":
                self._take(found, gone=what == "DELETED")
            self._version = found["metadata"]["resourceVersion"]

    def _compare(self) -> None:
        """Everything as it is, against what was known."""
        found = self._cluster.snapshot(self._kind, self._namespace, _SELECTOR, whole=self._whole)
        there = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found.objects}
        for name in [each for each in self._known if each not in there]:
            key, _ = self._known.pop(name)
            self._changed(key)
        for each in found.objects:
            self._take(each, gone=False)
        self._version, self.in_sync = found.version, True

    def _take(self, found: Manifest, *, gone: bool) -> None:
        meta = found["metadata"]
        name = meta["namespace"], meta["name"]
        key = meta["labels"][naming.NAMESPACE_LABEL], meta["labels"][naming.PIPELINE_LABEL]
        digest = "" if gone else naming.digest(self._of_interest(found), 16)
        known = self._known.pop(name, None)
        if not gone:
            self._known[name] = key, digest
        if known != (key, digest):
            self._changed(key)
            if known is not None and known[0] != key:
                self._changed(known[0])

    def _of_interest(self, found: Manifest) -> Any:
        if not self._whole:
            return found["metadata"]["resourceVersion"]
        meta = {name: value for name, value in found["metadata"].items() if name not in _BOOKKEEPING}
        status = {name: value for name, value in found.get("status", {}).items() if name not in _NOISE}
        return [meta, found.get("spec"), status]
