"""The FastAPI application: its routes, its lifespan (which owns the Kafka client), its errors.

The collecting routes are plain ASGI applications (`endpoints`), so FastAPI's parsing and validation never see an event;
the OpenAPI document is made by hand (`openapi`) and describes what they do. It is served on the ops port, as are the
metrics: whoever reaches this application may be anybody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clickstream.runtime.geoip import GeoIP
from clickstream.runtime.kafka import producer_config
from clickstream.runtime.telemetry import Telemetry
from clickstream.tracking_api import answers, rejections
from clickstream.tracking_api.answers import Answer
from clickstream.tracking_api.availability import Admission, Availability
from clickstream.tracking_api.endpoints import Endpoint, EndpointApp, Services
from clickstream.tracking_api.metrics import Metrics
from clickstream.tracking_api.producer import RecordProducer
from clickstream.tracking_api.rate_limits import limits_of
from clickstream.tracking_api.records import Records
from clickstream.tracking_api.redaction import redaction_of
from clickstream.tracking_api.rejections import Code, Rejection
from clickstream.tracking_api.script import Script, coding_for, read_scripts
from clickstream.tracking_api.server import Lifecycle, Phase
from clickstream.tracking_api.settings import TrackingSettings
from clickstream.tracking_api.verdicts import Validator

_log = logging.getLogger(__name__)
_FLUSH_SECONDS: Final = 5.0


class CollectingApp(FastAPI):
    """FastAPI with the endpoints in front of its middleware, which costs more than all of their own work.

    `refused` counts a request that reaches no endpoint; the HTTP server calls it as well.
    """

    def __init__(self, by_path: Mapping[str, ASGIApp], refused: Callable[[Code], None], **options: Any) -> None:
        super().__init__(**options)
        self._by_path = by_path
        self.refused = refused
        self.add_exception_handler(HTTPException, self._http_error)
        self.add_exception_handler(Exception, self._internal_error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._by_path.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None and scope["type"] == "http" and scope["method"] == "TRACE":
            endpoint = self._reject_trace
        await (super().__call__ if endpoint is None else endpoint)(scope, receive, send)

    def _refuse(self, reason: Rejection) -> Answer:
        self.refused(reason.code)
        return answers.rejection(reason)

    async def _reject_trace(self, _: Scope, __: Receive, send: Send) -> None:
        """TRACE is for no path: an answer would hold what proxies have added to the request."""
        answer = self._refuse(rejections.METHOD_NOT_ALLOWED).with_headers([(b"allow", b"GET, HEAD, POST, OPTIONS")])
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _http_error(self, _: Request, error: Exception) -> Response:
        method = isinstance(error, HTTPException) and error.status_code == 405
        answer = self._refuse(rejections.METHOD_NOT_ALLOWED if method else rejections.NOT_FOUND)
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return Response(answer.body, answer.status, headers, media_type="application/json")

    async def _internal_error(self, _: Request, __: Exception) -> Response:
        answer = self._refuse(rejections.INTERNAL)
        return Response(answer.body, answer.status, media_type="application/json")


def create_app(settings: TrackingSettings, telemetry: Telemetry, lifecycle: Lifecycle) -> CollectingApp:
    """The application. It connects to Kafka when its lifespan starts, and delivers what is queued when it ends."""
    services: Services | None = None

    def get_services() -> Services:
        assert services is not None, "no request comes before the lifespan has started"
        return services

    def refused(code: Code) -> None:
        get_services().metrics.rejected(code)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal services
        pipeline = settings.process.pipeline
        producer = RecordProducer(_producer_config(settings), Admission(Availability(time.monotonic)))
        geoip = await asyncio.to_thread(GeoIP, pipeline.enricher.geoip)
        privacy = pipeline.tracking_api.privacy
        redaction = redaction_of(privacy)
        records = Records(pipeline.names, by_session=pipeline.enricher.group_by == "session_id")
        services = Services(
            access=settings.access,
            limits=limits_of(pipeline.sources),
            trusted_proxies=settings.trusted_proxies,
            redaction=redaction,
            redaction_of_private=redaction.of_nobody() if privacy.respect_gpc else redaction,
            records=records,
            producer=producer,
            metrics=Metrics(telemetry, producer.__len__),
            telemetry=telemetry,
            country_of=geoip.country_of,
            validator=Validator(pipeline, geoip.country_of),
        )
        services.metrics.watch_limits(services.limits)
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
            _log.warning("shut down with %d records undelivered; none of them was acknowledged", left)

    app = CollectingApp(
        {path: EndpointApp(endpoint, get_services) for endpoint in Endpoint for path in endpoint.paths},
        refused,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        # clickstream.runtime.telemetry does it; FastAPI's own would look for providers at each request.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    _add_service_routes(app, lifecycle)
    return app


def _add_service_routes(app: FastAPI, lifecycle: Lifecycle) -> None:
    """The tracker's scripts, and the probes: they ask the loop that takes the clicks (docs/adr/0015)."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = lifecycle.not_ready()
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    def serves(forms: dict[str, Script]) -> Callable[[Request], Awaitable[Response]]:
        async def script(request: Request) -> Response:
            form = forms[coding_for(request.headers.get("accept-encoding", ""))]
            if request.headers.get("if-none-match") == form.headers["etag"]:
                return Response(status_code=304, headers=form.headers)
            return Response(form.body, headers=form.headers)

        return script

    scripts = {path: serves(forms) for path, forms in read_scripts().items()}
    for path, endpoint in ({"/healthz": healthz, "/readyz": readyz} | scripts).items():
        app.router.routes.append(Route(path, endpoint))


def _producer_config(settings: TrackingSettings) -> dict[str, Any]:
    # One second less than an answer waits, so that a delivery that fails is known to have failed.
    return producer_config(settings.process.pipeline.kafka, "tracking-api", idempotent=False) | {
        "message.timeout.ms": 8_000,
        "queue.buffering.max.messages": settings.queue_max_messages,
        "queue.buffering.max.kbytes": settings.queue_max_kbytes,
    }
