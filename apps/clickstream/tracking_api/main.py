"""`clickstream tracking-api`: read the settings, bind, serve, end with 0."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from clickstream.contracts.kafka import client_config
from clickstream.contracts.settings import SettingsError
from clickstream.contracts.telemetry import Telemetry
from clickstream.tracking_api.app import create_app
from clickstream.tracking_api.lifecycle import Lifecycle
from clickstream.tracking_api.server import DrainingServer, bind
from clickstream.tracking_api.settings import HELP, TrackingSettings, read_settings

_log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or Ctrl-C; 0 then, 2 for a wrong setting, 1 when the port cannot be had."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings(os.environ, options.pipeline, options.host, options.port, options.port_file)
        client_config(
            settings.process.pipeline.kafka, "tracking-api"
        )  # a file that is not as it should be shows at once
    except SettingsError as error:
        sys.stderr.write(f"clickstream tracking-api: {error}\n")
        return 2
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
        _log.warning("the pipeline has no sources: every event will be refused")
    lifecycle = Lifecycle()
    app = create_app(settings, telemetry, lifecycle)
    server = DrainingServer(app, lifecycle, settings.drain_seconds, lambda: _announce(settings, port))
    server.run(sockets=[bound])
    telemetry.shutdown()
    _log.info("ended")
    return 0


def _announce(settings: TrackingSettings, port: int) -> None:
    if settings.port_file is not None:
        _write_whole(settings.port_file, f"{port}\n")
    _log.info("listening", extra={"fields": {"host": settings.host, "port": port}})


def _write_whole(path: Path, text: str) -> None:
    """Whoever sees the file sees all of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clickstream tracking-api",
        description="Collect events over HTTP into Kafka.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pipeline", metavar="FILE", help="the pipeline document (JSON)")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    parser.add_argument("--port-file", metavar="FILE", help="write the port here once it listens")
    return parser
