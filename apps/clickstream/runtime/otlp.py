"""Export of metrics and traces by OTLP over HTTP. Imported only where an endpoint is set."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased


def metric_reader(endpoint: str) -> MetricReader:
    """Exports all metrics every minute. `endpoint`: a collector's base URL."""
    return PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics"))


def tracer_provider(endpoint: str, resource: Resource) -> TracerProvider:
    """Exports spans whose parent is sampled; none begin here."""
    tracers = TracerProvider(resource=resource, sampler=ParentBased(ALWAYS_OFF))
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    return tracers
