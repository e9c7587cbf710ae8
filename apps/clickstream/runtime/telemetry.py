"""Metrics and traces of a process, through opentelemetry-sdk: Prometheus text always, OTLP when an endpoint is set.

The names here are the pipeline's SLIs (dashboards and alerts use them). Counters are added to per chunk or batch with
the number of events, never per event: a call costs some microseconds.

Tracing stays off the hot path: only a request that arrives with a sampled `traceparent` has spans, and only when an
OTLP endpoint is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ACCEPTED: Final = "clickstream.events.accepted"
REJECTED: Final = "clickstream.events.rejected"
DEAD_LETTERS: Final = "clickstream.dead_letters"
PROCESSED: Final = "clickstream.events.processed"
DUPLICATES: Final = "clickstream.events.duplicate"
LATE: Final = "clickstream.events.late"
STORED: Final = "clickstream.events.stored"
REPLACED: Final = "clickstream.events.replaced"
SKIPPED: Final = "clickstream.skipped_records"
"""Records that were deleted before they could be read; labels: topic and partition."""
PARKED: Final = "clickstream.parked_records"
LAG_RECORDS: Final = "clickstream.consumer.lag.records"
LAG_SECONDS: Final = "clickstream.consumer.lag"
CLICK_TO_STORE: Final = "clickstream.click_to_store"
JOIN_ROWS: Final = "clickstream.join.rows"
JOIN_STALENESS: Final = "clickstream.join.staleness"
JOIN_IGNORED: Final = "clickstream.join.ignored"
GEOIP_BUILT: Final = "clickstream.geoip.build_timestamp"
GEOIP_FAILED_LOADS: Final = "clickstream.geoip.failed_loads"
GEOIP_FAILED_LOOKUPS: Final = "clickstream.geoip.failed_lookups"
BATCH_SECONDS: Final = "clickstream.batch.duration"

LATENCY_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

Observe = Callable[[], Iterable[tuple[float, dict[str, str]]]]


class Telemetry:
    """The meters and the tracer of one process.

    `attributes` (pipeline, namespace, process) are on every series' target_info.
    """

    def __init__(self, process: str, attributes: dict[str, str], otlp_endpoint: str | None) -> None:
        self._registry = CollectorRegistry()
        resource = Resource.create({"service.name": f"clickstream-{process}"} | attributes)
        readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)]
        self._tracers: TracerProvider | None = None
        if otlp_endpoint:
            # Protobuf and an HTTP client: 0.2 s of a start and 4 MB that a process without an endpoint does not need.
            from clickstream.runtime.otlp import metric_reader, tracer_provider  # noqa: PLC0415

            readers.append(metric_reader(otlp_endpoint))
            self._tracers = tracer_provider(otlp_endpoint, resource)
        self._meters = MeterProvider(readers, resource)
        self._meter = self._meters.get_meter("clickstream")
        self._propagator = TraceContextTextMapPropagator()

    def counter(self, name: str, description: str) -> Counter:
        """A counter of events; on /metrics `<name with _>_total`."""
        return self._meter.create_counter(name, description=description)

    def histogram(self, name: str, description: str, buckets: tuple[float, ...] = LATENCY_BUCKETS) -> Histogram:
        """A histogram of seconds; on /metrics `<name>_seconds_bucket`, …."""
        return self._meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=buckets
        )

    def gauge(self, name: str, description: str, observe: Observe, unit: str = "") -> None:
        """A gauge read at each scrape: `observe` gives (value, labels) pairs; unit `s` adds `_seconds`."""
        self._meter.create_observable_gauge(name, [_callback(observe)], unit=unit, description=description)

    def observed_counter(self, name: str, description: str, observe: Observe) -> None:
        """A counter kept elsewhere and read at each scrape; on /metrics `<name with _>_total`."""
        self._meter.create_observable_counter(name, [_callback(observe)], description=description)

    @property
    def tracing(self) -> bool:
        """Whether spans are exported."""
        return self._tracers is not None

    @contextmanager
    def span(
        self, name: str, traceparent: str | None, attributes: dict[str, Any] | None = None
    ) -> Iterator[str | None]:
        """A span that continues `traceparent`; gives the traceparent to hand on, or None when nothing is sampled."""
        if self._tracers is None or traceparent is None:
            yield None
            return
        parent = self._propagator.extract({"traceparent": traceparent}, context=otel_context.Context())
        tracer = self._tracers.get_tracer("clickstream")
        with tracer.start_as_current_span(name, context=parent, attributes=attributes) as span:
            if not span.is_recording():
                yield None
                return
            carrier: dict[str, str] = {}
            self._propagator.inject(carrier, context=trace.set_span_in_context(span))
            yield carrier.get("traceparent")

    def prometheus_text(self) -> bytes:
        """What GET /metrics answers (text/plain; version=0.0.4)."""
        return generate_latest(self._registry)

    def shutdown(self) -> None:
        """Export what is left. Idempotent."""
        self._meters.shutdown()
        if self._tracers is not None:
            self._tracers.shutdown()
            self._tracers = None


def _callback(observe: Observe) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def callback(_: CallbackOptions) -> Iterator[Observation]:
        for value, labels in observe():
            yield Observation(value, labels)

    return callback
