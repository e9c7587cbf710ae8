"""How far the consumers are behind, as their pods tell Prometheus.

Pods are asked in the background, so that a pass never waits for them: each pipeline's at most every half minute, and
with bounds on time and bytes. What is known stays until something newer is: only an answer for all partitions counts,
since those that nobody has at the moment (a rebalance, a pod that does not answer) may be the ones that are behind.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from clickstream_operator import naming
from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.components import Consumer
from clickstream_operator.desired.child_object import Manifest
from clickstream_operator.failures import describe, trace
from clickstream_operator.figures import has_figures, read_figures
from clickstream_operator.naming import Key

log: Final = logging.getLogger(__name__)

EVERY_SECONDS: Final = 30.0
AT_REST_SECONDS: Final = 60.0
"""The same for a pipeline at rest."""
BEHIND_SECONDS: Final = 60.0
CAUGHT_UP_SECONDS: Final = 15.0
"""A consumer that is more behind than the one is behind, until it is less so than the other."""
_CHANGED_SECONDS: Final = 5.0
MAX_BYTES: Final = 4 << 20
"""Of one pod's answer."""
_POD_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 10.0
_MOST_PODS: Final = 200
_WORKERS: Final = 4

Fetch = Callable[[str], str]
"""A pod's /metrics, by its address. Raises OSError or http.client.HTTPException."""


def fetch_metrics(address: str) -> str:
    """See `Fetch`. Redirects are not followed."""
    deadline = time.monotonic() + _POD_SECONDS
    with closing(http.client.HTTPConnection(address, naming.OPS_PORT, timeout=_POD_SECONDS)) as connection:
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            msg = f"HTTP {answer.status}"
            raise OSError(msg)
        content = bytearray()
        while part := answer.read1(64 << 10):
            content += part
            if len(content) > MAX_BYTES or time.monotonic() > deadline:
                msg = "the answer is too large, or too slow"
                raise OSError(msg)
    return content.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Known:
    """`oldest`: by consumer, when the oldest record that it had not processed came in, as of its last answer.

    Seconds since 1970; a consumer that has given no answer is left out. Of when they were last asked: `behind`, how
    many seconds that was then, of those that have answered; `silent`, those whose pods run and have said nothing.
    """

    oldest: Mapping[str, float] = field(default_factory=dict)
    behind: Mapping[str, float] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()

    @property
    def gist(self) -> object:
        """What of it a pass goes by."""
        steps = {name: bisect((CAUGHT_UP_SECONDS, BEHIND_SECONDS), seconds) for name, seconds in self.behind.items()}
        return steps, self.silent


class Backlogs:
    """Thread-safe. `clock`: seconds since 1970."""

    def __init__(self, cluster: Cluster, fetch: Fetch = fetch_metrics, clock: Callable[[], float] = time.time) -> None:
        self._cluster = cluster
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: dict[Key, Known] = {}
        self._asked: dict[Key, tuple[float, tuple[Consumer, ...]]] = {}
        self._changed: Callable[[Key], None] = lambda _key: None
        self._pool = ThreadPoolExecutor(_WORKERS, "backlog")

    def start(self, changed: Callable[[Key], None]) -> None:
        """Call `changed` from a thread when a pipeline's consumers fall behind, catch up or fall silent."""
        self._changed = changed

    def known(self, pipeline: Key, consumers: Iterable[Consumer]) -> Known:
        """What the pods said last. Those of `consumers` are asked when it is time, sooner when these are others."""
        now, wanted = self._clock(), tuple(consumers)
        with self._lock:
            found = self._answers.get(pipeline, Known())
            before, asked = self._asked.get(pipeline, (float("-inf"), wanted))
            due = not 0 <= now - before < (EVERY_SECONDS if asked == wanted else _CHANGED_SECONDS)
            if due:
                self._asked[pipeline] = now, wanted
        if due:
            self._pool.submit(self._try_to_ask, pipeline, wanted)
        return found

    def refresh(self, pipeline: Key) -> None:
        """Ask those of last time again when it is time, of a pipeline at rest."""
        now = self._clock()
        with self._lock:
            before, consumers = self._asked.get(pipeline, (now, ()))
            if 0 <= now - before < AT_REST_SECONDS:
                return
            self._asked[pipeline] = now, consumers
        self._pool.submit(self._try_to_ask, pipeline, consumers)

    def forget(self, pipeline: Key) -> None:
        """The pipeline is gone."""
        with self._lock:
            self._answers.pop(pipeline, None)
            self._asked.pop(pipeline, None)

    def close(self) -> None:
        """Wait for the answers that are under way."""
        self._pool.shutdown(cancel_futures=True)

    def _try_to_ask(self, pipeline: Key, consumers: tuple[Consumer, ...]) -> None:
        try:
            self._ask(pipeline, consumers)
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            fields = {"pipeline": "/".join(pipeline), "trace": trace(error)}
            log.error("the consumers' backlog is not known: %s", describe(error), extra={"fields": fields})  # noqa: TRY400

    def _ask(self, pipeline: Key, consumers: tuple[Consumer, ...]) -> None:
        namespace, name = pipeline
        try:
            pods = self._cluster.list("Pod", namespace, naming.owned_by(namespace, name))
        except ClusterError:
            return  # the next pass tells of it, if it lasts
        deadline = time.monotonic() + _LOOK_SECONDS
        told = [(each, self._partitions(each, pods, deadline)) for each in consumers]
        behind = {
            each.component: max(found.values()) for each, found in told if found and len(found) >= each.partitions
        }
        silent = frozenset(each.component for each, found in told if found is None)
        now = self._clock()
        with self._lock:
            if pipeline not in self._asked:  # forgotten meanwhile
                return
            before = self._answers.get(pipeline, Known())
            oldest = dict(before.oldest) | {name: now - seconds for name, seconds in behind.items()}
            after = self._answers[pipeline] = Known(oldest, behind, silent)
        if after.gist != before.gist:
            self._changed(pipeline)

    def _partitions(
        self, consumer: Consumer, pods: list[Manifest], deadline: float
    ) -> dict[tuple[str, str], float] | None:
        """Seconds behind, of each partition that is told of; None when pods run and none of them says anything."""
        topics = {topic.name for topic in consumer.topics}
        ours = [pod for pod in pods if has_figures(pod) and _component(pod) == consumer.component]
        partitions: dict[tuple[str, str], float] = {}
        silent = bool(ours)
        for pod in ours[:_MOST_PODS]:
            address = (pod.get("status") or {}).get("podIP")
            if not address or time.monotonic() > deadline:
                continue
            try:
                found = read_figures(consumer.component, self._fetch(address), 0.0).partitions
            except (OSError, http.client.HTTPException, ValueError):
                continue
            silent = False
            for partition, seconds in found.items():
                if partition[0] in topics:
                    partitions[partition] = max(seconds, partitions.get(partition, 0.0))
        return None if silent else partitions


def _component(pod: Manifest) -> str:
    return naming.component_of(pod["metadata"].get("labels"))
