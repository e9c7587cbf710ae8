"""`clickstream tracking-api`: read the settings, bind, serve, end with 0."""

from __future__ import annotations

import argparse
import logging
import os

from clickstream.contracts.kafka_rights import rights_of
from clickstream.runtime import kafka_rights
from clickstream.runtime.arguments import port
from clickstream.runtime.kafka import client_config
from clickstream.runtime.listening import bind
from clickstream.runtime.port_file import write_port
from clickstream.runtime.probes import OpsServer
from clickstream.runtime.settings import SettingsError, add_pipeline_argument
from clickstream.runtime.telemetry import Telemetry
from clickstream.runtime.terminal import failed
from clickstream.tracking_api.app import create_app
from clickstream.tracking_api.openapi import pages
from clickstream.tracking_api.server import DrainingServer, Lifecycle
from clickstream.tracking_api.settings import HELP, TrackingSettings, read_settings

_log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or Ctrl-C; 0 then, 2 for a wrong setting, 1 when the port is not available."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings(
            os.environ, options.pipeline, options.host, options.port, options.port_file, options.ops_port_file
        )
        kafka = client_config(
            settings.process.pipeline.kafka, "tracking-api"
        )  # a bad file of its credentials shows at once
    except SettingsError as error:
        return failed("tracking-api", str(error), 2)
    process = settings.process
    process.set_up_logs("tracking-api")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        bound = bind(settings.host, settings.port)
    except OSError as error:
        _log.error("cannot listen on %s:%d: %s", settings.host, settings.port, error.strerror)
        return 1
    port = int(bound.getsockname()[1])
    telemetry = Telemetry(
        "tracking-api",
        {"pipeline": process.pipeline.name, "namespace": process.pipeline.namespace},
        process.otlp_endpoint,
    )
    if not settings.access.sources:
        _log.warning("the pipeline has no sources: every event will be rejected")
    kafka_rights.watch(kafka, rights_of("tracking-api", process.pipeline))
    lifecycle = Lifecycle()
    try:
        ops = OpsServer(
            process.ops_host,
            process.ops_port,
            healthy=lambda: None,
            ready=lifecycle.not_ready,
            metrics=telemetry.prometheus_text,
            pages=pages(),
        )
    except OSError as error:
        bound.close()
        _log.error("cannot listen on %s:%d: %s", process.ops_host, process.ops_port, error.strerror)
        return 1
    app = create_app(settings, telemetry, lifecycle)
    server = DrainingServer(
        app, lifecycle, settings.drain_seconds, lambda: _announce(settings, port, ops.port), app.refused
    )
    try:
        server.run(sockets=[bound])
    finally:
        ops.close()
    telemetry.shutdown()
    _log.info("ended")
    return 0


def _announce(settings: TrackingSettings, port: int, ops_port: int) -> None:
    if settings.ops_port_file is not None:
        write_port(settings.ops_port_file, ops_port)
    if settings.port_file is not None:
        write_port(settings.port_file, port)
    _log.info("listening", extra={"fields": {"host": settings.host, "port": port, "ops_port": ops_port}})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clickstream tracking-api",
        description="Collect events over HTTP into Kafka.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_pipeline_argument(parser)
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=port, help="port to listen on; 0 takes a free one")
    parser.add_argument("--port-file", metavar="FILE", help="write the port here once it listens")
    parser.add_argument("--ops-port-file", metavar="FILE", help="write the port of /metrics there (for port 0)")
    return parser
