"""A sampled trace that came through Kafka ends in a span of the sink; without one nothing is exported."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector():
    """An OTLP/HTTP endpoint that keeps the spans."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                request = ExportTraceServiceRequest.FromString(body)
                spans.extend(s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", spans
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("store", ["elasticsearch", "postgres"])
def test_the_trace_of_a_click_ends_in_the_store(
    store, pipeline, feed, stores, start_sink, until, make_click, collector
):
    endpoint, spans = collector
    stores.set_up(store)
    feed.clicks([make_click("traced")], [("traceparent", f"00-{TRACE}-{PARENT}-01".encode())])
    feed.clicks([make_click("unsampled")], [("traceparent", f"00-{TRACE}-{PARENT}-00".encode())])
    feed.clicks([make_click("odd")], [("traceparent", b"\xff\x00nonsense")])
    feed.clicks([make_click("plain")])
    sink = start_sink(store, pipeline, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    until(lambda: feed.settled(store), 60, "everything committed", sink.log)
    assert sink.stop() == 0
    (span,) = spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == (f"sink {store}", TRACE, PARENT)
    assert stores.event_ids(store) == ["odd", "plain", "traced", "unsampled"]
