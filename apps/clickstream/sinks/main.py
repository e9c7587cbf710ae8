"""`clickstream sink elasticsearch|postgres`: wires a sink process together and runs it until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections.abc import Sequence

from clickstream.contracts.kafka_rights import rights_of
from clickstream.contracts.pipeline import Pipeline
from clickstream.runtime import kafka_rights
from clickstream.runtime.kafka import client_config
from clickstream.runtime.port_file import write_port
from clickstream.runtime.probes import OpsServer
from clickstream.runtime.settings import ENVIRONMENT_HELP as PROCESS_HELP
from clickstream.runtime.settings import SettingsError, add_pipeline_argument
from clickstream.runtime.telemetry import Telemetry
from clickstream.runtime.terminal import failed
from clickstream.sinks.consumer import SinkConsumer
from clickstream.sinks.dead_letters import DeadLetters
from clickstream.sinks.loop import Loop
from clickstream.sinks.maintenance import Maintenance
from clickstream.sinks.metrics import Metrics
from clickstream.sinks.records import decoder
from clickstream.sinks.settings import ENVIRONMENT_HELP, SinkSettings, read_sink_settings
from clickstream.sinks.sink import Sink
from clickstream.sinks.validation import kept_ms

log = logging.getLogger(__name__)

_DESCRIPTION = """\
Write the pipeline's clicks and sessions into a store, each exactly once, until SIGTERM or SIGINT.
The store must have been prepared by `clickstream setup`; while it is not, or is away, the sink waits.
"""


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 stopped by a signal, 1 fatal error, 2 wrong settings."""
    parser = argparse.ArgumentParser(
        prog="clickstream sink",
        description=_DESCRIPTION,
        epilog=f"{PROCESS_HELP}\n{ENVIRONMENT_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("store", choices=("elasticsearch", "postgres"))
    add_pipeline_argument(parser)
    parser.add_argument("--ops-port-file", metavar="FILE", help="write the port of /metrics there (for port 0)")
    arguments = parser.parse_args(list(argv))
    try:
        settings = read_sink_settings(os.environ, arguments.pipeline)
        client_config(settings.process.pipeline.kafka, "sink")  # a bad file shows at once
        sink = make_sink(arguments.store, settings.process.pipeline)
    except SettingsError as error:
        return failed("sink", str(error), 2)
    settings.process.set_up_logs(f"sink-{arguments.store}")
    try:
        return _run(sink, settings, arguments.ops_port_file)
    except Exception:
        log.exception("fatal, the sink shuts down: not a temporary fault of the store")
        return 1


def make_sink(store: str, pipeline: Pipeline) -> Sink:
    """The sink for a store of the pipeline; nothing is connected yet. Raises SettingsError."""
    if store == "elasticsearch" and pipeline.sinks.elasticsearch is not None:
        from clickstream.sinks.elasticsearch.client import connect  # noqa: PLC0415
        from clickstream.sinks.elasticsearch.sink import ElasticsearchStore  # noqa: PLC0415 - only the store in use

        connect(pipeline.sinks.elasticsearch).close()  # wrong settings show at once
        return ElasticsearchStore(pipeline, pipeline.sinks.elasticsearch)
    if store == "postgres" and pipeline.sinks.postgres is not None:
        from clickstream.sinks.postgres.connection import conninfo_of  # noqa: PLC0415
        from clickstream.sinks.postgres.sink import PostgresStore  # noqa: PLC0415

        conninfo_of(pipeline.sinks.postgres, "sink-postgres")
        return PostgresStore(pipeline, pipeline.sinks.postgres)
    msg = f"the pipeline document has no sinks.{store}"
    raise SettingsError(msg)


def _run(sink: Sink, settings: SinkSettings, port_file: str | None) -> int:
    process, pipeline = settings.process, settings.process.pipeline
    names = pipeline.names
    telemetry = Telemetry(
        f"sink-{sink.name}", {"namespace": pipeline.namespace, "pipeline": pipeline.name}, process.otlp_endpoint
    )
    kafka_rights.watch(
        client_config(pipeline.kafka, f"clickstream-sink-{sink.name}"), rights_of(f"sink-{sink.name}", pipeline)
    )
    consumer = SinkConsumer(
        pipeline.kafka,
        names.sink_group(sink.name),
        (names.enriched_clicks, names.sessions),
        f"clickstream-sink-{sink.name}",
    )
    dead_letters = DeadLetters(pipeline.kafka, names.dead_letters, f"sink-{sink.name}")
    loop = Loop(
        sink,
        consumer,
        dead_letters,
        decoder(names, kept_ms(pipeline, sink.retention), traced=telemetry.tracing),
        Metrics(telemetry, sink.name),
        telemetry,
        settings.limits,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    ops = OpsServer(process.ops_host, process.ops_port, loop.healthy, loop.ready, telemetry.prometheus_text)
    if port_file is not None:
        write_port(port_file, ops.port)
    maintenance = Maintenance(sink, settings.maintenance_seconds)
    maintenance.start()
    log.info("started; metrics on port %d", ops.port)
    try:
        loop.run()
    finally:
        maintenance.stop()
        consumer.close()
        dead_letters.close()
        sink.close()
        ops.close()
        telemetry.shutdown()
    return 0
