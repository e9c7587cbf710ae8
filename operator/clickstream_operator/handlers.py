"""kopf's part: it watches pipelines, and posts Events. What is to be done is decided in passes (reconcile.py).

Handlers of changes (`kopf.on.create`, `on.update`) are edges that can be missed, and kopf's timers and daemons put
finalizers on every pipeline, which would block a namespace once the operator is gone. So a watched change only asks for
a pass, and passes come by themselves too (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from typing import Any, Final, cast

import kopf

from clickstream_operator import naming
from clickstream_operator.meters import Meters
from clickstream_operator.reconcile import Pass, Reconciler
from clickstream_operator.status import READY, Condition
from clickstream_operator.work_queue import Key, WorkQueue

log: Final = logging.getLogger(__name__)


class Passes:
    """Makes the queue's passes in threads, and tells people of their news."""

    def __init__(self, reconciler: Reconciler, meters: Meters, workers: int) -> None:
        self._reconciler = reconciler
        self._meters = meters
        self.queue = WorkQueue(self._work, workers)
        # kopf's way to post Events is known in the context of its handlers, and passes are made outside of them.
        self._context = contextvars.copy_context()

    async def ask_for(self, key: Key) -> None:
        """A pass over the pipeline, soon. To be called by a handler."""
        self._context = contextvars.copy_context()
        await self.queue.add(key)

    async def _work(self, key: Key) -> float | None:
        began = time.monotonic()
        try:
            done = await asyncio.to_thread(self._reconciler.run, *key)
        except Exception:
            self._meters.passed("failed", time.monotonic() - began)
            raise
        self._meters.passed("done", time.monotonic() - began)
        if done.again_in is None:
            self._meters.gone(key)
        else:
            self._meters.stands(key, ready=done.ready)
        self._announce(key, done)
        return done.again_in

    def _announce(self, key: Key, done: Pass) -> None:
        for news in done.news:
            log.info(
                news.message,
                extra={"fields": {"pipeline": "/".join(key), "condition": news.type, "reason": news.reason}},
            )
            if done.body is not None and _worth_an_event(news):
                kind = "Normal" if news.status is True else "Warning" if news.severe else "Normal"
                told = f"{news.type}: {news.message}"[:1_000]
                body = kopf.Body(cast("kopf.RawBody", done.body))
                self._context.run(kopf.event, body, type=kind, reason=news.reason, message=told)


def register(registry: kopf.OperatorRegistry, passes: Passes, *, clusterwide: bool) -> None:
    """Put the handlers into a registry. Without the whole cluster there is no right to watch definitions and namespaces."""

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
        memo.passes = asyncio.create_task(passes.queue.run(), name="passes")

    @kopf.on.cleanup(registry=registry)
    async def stop(memo: kopf.Memo, **_: Any) -> None:
        memo.passes.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await memo.passes

    @kopf.on.event(naming.GROUP, naming.VERSION, naming.PLURAL, registry=registry)
    async def changed(namespace: str | None, name: str, **_: Any) -> None:
        assert namespace is not None, "pipelines are namespaced"
        await passes.ask_for((namespace, name))


def _worth_an_event(news: Condition) -> bool:
    return news.type == READY or news.severe
