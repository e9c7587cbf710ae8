"""The FastAPI application: its routes, its lifespan (which owns the Kafka client), its errors.

The collecting routes are plain ASGI endpoints (`collect`), so FastAPI's parsing and validation never see an event; the
OpenAPI document is made by hand (`openapi`) and describes what they do.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clickstream.contracts.geoip import GeoIP
from clickstream.contracts.kafka import producer_config
from clickstream.contracts.telemetry import Telemetry
from clickstream.tracking_api import answers
from clickstream.tracking_api.admission import Admission
from clickstream.tracking_api.availability import Availability
from clickstream.tracking_api.collect import CollectEndpoint, Collector, Form
from clickstream.tracking_api.docs_page import docs_page
from clickstream.tracking_api.instruments import Instruments
from clickstream.tracking_api.lifecycle import Lifecycle, Phase
from clickstream.tracking_api.openapi import openapi
from clickstream.tracking_api.producer import RecordProducer
from clickstream.tracking_api.records import Records
from clickstream.tracking_api.rejections import Code, Rejection
from clickstream.tracking_api.settings import TrackingSettings

_log = logging.getLogger(__name__)
_FLUSH_SECONDS: Final = 5.0
_NOT_FOUND = Rejection(Code.NOT_FOUND, "$", "there is nothing at this path; /docs lists what there is")


class CollectingApp(FastAPI):
    """FastAPI with the collecting endpoints in front of its middleware, which costs more than all of their own work."""

    def __init__(self, endpoints: Mapping[str, ASGIApp], **options: Any) -> None:
        super().__init__(**options)
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None and scope["type"] == "http" and scope["method"] == "TRACE":
            endpoint = _refuse_trace
        await (super().__call__ if endpoint is None else endpoint)(scope, receive, send)


def create_app(settings: TrackingSettings, telemetry: Telemetry, lifecycle: Lifecycle) -> FastAPI:
    """The application. It connects to Kafka when its lifespan starts, and delivers what is queued when it ends."""
    collector: Collector | None = None

    def the_collector() -> Collector:
        assert collector is not None, "no request comes before the lifespan has started"
        return collector

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal collector
        pipeline = settings.process.pipeline
        producer = RecordProducer(_producer_config(settings), Admission(Availability(time.monotonic)))
        geoip = await asyncio.to_thread(GeoIP, pipeline.enricher.geoip)
        records = Records(pipeline.names, by_session=pipeline.enricher.group_by == "session_id")
        collector = Collector(
            access=settings.access,
            trusted_proxies=settings.trusted_proxies,
            privacy=pipeline.tracking_api.privacy,
            records=records,
            producer=producer,
            instruments=Instruments(telemetry, producer.__len__),
            telemetry=telemetry,
            country_of=geoip.country_of,
        )
        geoip.watch(telemetry)
        topics = [pipeline.names.raw_clicks, pipeline.names.dead_letters]
        watch = asyncio.create_task(asyncio.to_thread(producer.watch_partitions, topics))
        lifecycle.phase = Phase.SERVING
        yield
        lifecycle.phase = Phase.DRAINING
        geoip.close()
        left = await asyncio.to_thread(producer.close, _FLUSH_SECONDS)
        await watch
        if left:
            _log.warning("%d records were not delivered; none of them was acknowledged", left)

    document = openapi()
    app = CollectingApp(
        {form.value: CollectEndpoint(form, the_collector) for form in Form},
        title=document["info"]["title"],
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Ours is clickstream.contracts.telemetry; FastAPI's own would look for providers at each request.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.openapi = lambda: document  # type: ignore[method-assign]
    _add_service_routes(app, telemetry, lifecycle, document)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _our_error)
    return app


def _add_service_routes(app: FastAPI, telemetry: Telemetry, lifecycle: Lifecycle, document: dict[str, Any]) -> None:
    script = resources.files("clickstream.tracking_api").joinpath("static/tracker.js").read_bytes()
    script_headers = {
        "etag": f'"{hashlib.sha256(script).hexdigest()[:16]}"',
        "cache-control": "public, max-age=3600",
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
        "x-content-type-options": "nosniff",
    }
    page = docs_page(document)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = lifecycle.not_ready()
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    async def metrics(_: Request) -> Response:
        return Response(telemetry.prometheus_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def tracker(request: Request) -> Response:
        if request.headers.get("if-none-match") == script_headers["etag"]:
            return Response(status_code=304, headers=script_headers)
        return Response(script, headers=script_headers, media_type="text/javascript; charset=utf-8")

    async def docs(_: Request) -> Response:
        return HTMLResponse(page)

    for path, endpoint in (
        ("/healthz", healthz),
        ("/readyz", readyz),
        ("/metrics", metrics),
        ("/tracker.js", tracker),
        ("/docs", docs),
    ):
        app.router.routes.append(Route(path, endpoint))


def _producer_config(settings: TrackingSettings) -> dict[str, Any]:
    # One second less than an answer waits, so that a delivery that fails is known to have failed.
    return producer_config(settings.process.pipeline.kafka, "tracking-api", idempotent=False) | {
        "message.timeout.ms": 8_000,
        "queue.buffering.max.messages": settings.queue_max_messages,
        "queue.buffering.max.kbytes": settings.queue_max_kbytes,
    }


async def _refuse_trace(_: Scope, __: Receive, send: Send) -> None:
    """TRACE is for no path: an answer would hold what proxies have added to the request."""
    answer = answers.refusal(answers.METHOD_NOT_ALLOWED).with_headers([(b"allow", b"GET, HEAD, POST, OPTIONS")])
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _http_error(_: Request, error: Exception) -> Response:
    method = isinstance(error, HTTPException) and error.status_code == 405
    answer = answers.refusal(answers.METHOD_NOT_ALLOWED if method else _NOT_FOUND)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return Response(answer.body, answer.status, headers, media_type="application/json")


async def _our_error(_: Request, __: Exception) -> Response:
    answer = answers.refusal(answers.INTERNAL)
    return Response(answer.body, answer.status, media_type="application/json")
