"""kopf's part: it watches pipelines and posts Events. What is to be done is decided in reconcile.py.

Handlers of changes (`kopf.on.create`, `on.update`) are edges that can be missed, and kopf's timers and daemons put
finalizers on every pipeline, which would block a namespace once the operator is uninstalled. So a watched change only
enqueues the pipeline, and each pass enqueues the next one (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

import kopf

from clickstream_operator import naming
from clickstream_operator.finalize import data_kept
from clickstream_operator.metrics import Metrics
from clickstream_operator.naming import Key
from clickstream_operator.reconcile import Reconciler, Result
from clickstream_operator.status import READY, Condition
from clickstream_operator.work_queue import WorkQueue

log: Final = logging.getLogger(__name__)

COALESCE_SECONDS: Final = 0.5
"""From a child's change to the pass over its pipeline."""


class Controller:
    """Runs the reconciler for the keys of its queue, in threads; logs transitions and posts Events of them.

    A pass that fails is counted as failed, and its pipeline as not ready.
    """

    def __init__(self, reconciler: Reconciler, metrics: Metrics, workers: int) -> None:
        self._reconciler = reconciler
        self._metrics = metrics
        self.queue = WorkQueue(self._work, workers)
        self._threads = ThreadPoolExecutor(workers, "pass")
        self._loop: asyncio.AbstractEventLoop | None = None
        # kopf posts Events from the context of its handlers, and passes are made outside of them.
        self._context = contextvars.copy_context()

    async def run(self) -> None:
        """Work until cancelled."""
        self._loop = asyncio.get_running_loop()
        await self.queue.run()

    def close(self) -> None:
        """Wait until no pass runs any more."""
        self._threads.shutdown()

    async def enqueue(self, key: Key) -> None:
        """Reconcile the pipeline soon: it has changed. To be called by a handler."""
        self._context = contextvars.copy_context()
        self._reconciler.changed(key)
        await self.queue.add(key)

    def gone(self, key: Key, body: dict[str, Any]) -> None:
        """Say what its end leaves behind that it was not to leave. To be called by a handler."""
        kept = data_kept(body)
        if kept is not None:
            self._announce(key, Result(body=body, transitions=(kept,)))

    def child_changed(self, key: Key) -> None:
        """Reconcile the pipeline soon. May be called from any thread."""
        self._reconciler.changed(key)
        if self._loop is not None and not self._loop.is_closed():
            # A little later, since changes seldom come alone.
            asyncio.run_coroutine_threadsafe(self.queue.add(key, COALESCE_SECONDS), self._loop)

    async def _work(self, key: Key) -> float | None:
        began = time.monotonic()
        work = self._threads.submit(self._reconciler.reconcile, *key)
        result = await asyncio.wrap_future(work)
        told = "failed" if result.errors else "unchanged" if result.unchanged else "done"
        self._metrics.reconciled(told, time.monotonic() - began)
        if result.requeue_after is None:
            self._metrics.forget(key)
        else:
            self._found(key, result)
        self._announce(key, result)
        if result.errors:
            msg = "a pass failed"
            raise ExceptionGroup(msg, result.errors)  # the queue logs it, and tries again after a pause
        return result.requeue_after

    def _found(self, key: Key, result: Result) -> None:
        if result.report is None and not result.errors:
            self._metrics.unchanged(key)
        else:
            self._metrics.found(key, result.report, failed=bool(result.errors))

    def _announce(self, key: Key, result: Result) -> None:
        for each in result.transitions:
            fields = {"pipeline": "/".join(key), "condition": each.type, "reason": each.reason}
            log.info(each.message, extra={"fields": fields})
            if result.body is not None and _worth_an_event(each):
                kind = "Warning" if each.severe else "Normal"
                message = f"{each.type}: {each.message}"[:1_000]
                body = kopf.Body(cast("kopf.RawBody", result.body))
                self._context.run(kopf.event, body, type=kind, reason=each.reason, message=message)


def register(registry: kopf.OperatorRegistry, controller: Controller, *, clusterwide: bool) -> None:
    """Put the handlers into a registry. Only for the whole cluster may definitions and namespaces be watched."""

    @kopf.on.login(registry=registry)
    def login(**context: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
        settings.posting.loggers = False  # Events are for people: conditions, not log lines
        settings.scanning.disabled = not clusterwide
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.networking.request_timeout = 30
        memo.controller = asyncio.create_task(controller.run(), name="controller")

    @kopf.on.cleanup(registry=registry)
    async def stop(memo: kopf.Memo, **_: Any) -> None:
        memo.controller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await memo.controller

    @kopf.on.event(naming.GROUP, naming.VERSION, naming.PLURAL, registry=registry)
    async def changed(namespace: str | None, name: str, event: Mapping[str, Any], body: kopf.Body, **_: Any) -> None:
        assert namespace is not None, "pipelines are namespaced"
        await controller.enqueue((namespace, name))
        if event["type"] == "DELETED":
            controller.gone((namespace, name), dict(body))


def _worth_an_event(each: Condition) -> bool:
    return each.type == READY or each.severe
