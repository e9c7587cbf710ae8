"""`clickstream enricher`: settings, wiring and shutdown."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import tempfile
from pathlib import Path
from typing import Final

from clickstream.contracts.kafka_rights import rights_of
from clickstream.enricher.brokers import BrokersError, await_brokers
from clickstream.enricher.join_tables import JoinError
from clickstream.enricher.metrics import Metrics
from clickstream.enricher.opening import Opened
from clickstream.enricher.output import Output
from clickstream.enricher.partitions import Partitions
from clickstream.enricher.pause import PauseGuard
from clickstream.enricher.processing import Processing
from clickstream.enricher.progress import Progress
from clickstream.enricher.recovery import Recovery
from clickstream.enricher.source import SourceTopic
from clickstream.enricher.worker import SESSION_TIMEOUT, Worker, end_now
from clickstream.runtime import kafka_rights
from clickstream.runtime.kafka import client_config
from clickstream.runtime.port_file import write_port
from clickstream.runtime.probes import OpsServer
from clickstream.runtime.settings import (
    ENVIRONMENT_HELP,
    ProcessSettings,
    SettingsError,
    add_pipeline_argument,
    read_process_settings,
)
from clickstream.runtime.telemetry import Telemetry
from clickstream.runtime.terminal import failed

log: Final = logging.getLogger(__name__)

UNAVAILABLE: Final = 69
"""Exit status when no broker answers, or all reject the credentials (EX_UNAVAILABLE)."""
BROKERS_SECONDS: Final = 60.0


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT.

    Exit status: 0 after an orderly shutdown, 2 for bad settings or a changelog with too few partitions, 69 without
    Kafka, 70 for an internal error.
    """
    parser = argparse.ArgumentParser(
        prog="clickstream enricher",
        description="Read raw clicks; write enriched clicks, sessions and dead letters.",
        epilog=ENVIRONMENT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_pipeline_argument(parser)
    parser.add_argument("--ops-port-file", metavar="FILE", type=Path, help="write the ops server's port here")
    parser.add_argument("--data-dir", metavar="DIR", help="scratch folder of the framework (a temporary one)")
    options = parser.parse_args(arguments)
    try:
        settings = read_process_settings(os.environ, options.pipeline)
        kafka = client_config(settings.pipeline.kafka, "enricher")
    except SettingsError as error:
        return failed("enricher", str(error), 2)
    settings.set_up_logs("enricher")
    if settings.log_level != "DEBUG":  # a screenful at each start and rebalance
        for name in ("faust", "mode", "aiokafka", "clickstream.enricher.chunks"):
            logging.getLogger(name).setLevel(logging.WARNING)
    try:
        await_brokers(kafka, BROKERS_SECONDS)
        # Before anything fails for a right that is missing.
        kafka_rights.watch(kafka, kafka_rights.report(kafka, rights_of("enricher", settings.pipeline)))
        opened = Opened(settings.pipeline)
    except BrokersError as error:
        log.error("cannot start without Kafka: %s", error)  # noqa: TRY400 - the message says it all
        return UNAVAILABLE
    except JoinError as error:
        log.error("cannot start: %s", error)  # noqa: TRY400 - the message says it all
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="clickstream-enricher-") as scratch:
            return asyncio.run(_run(settings, opened, options.data_dir or scratch, options.ops_port_file))
    finally:
        opened.close()


async def _run(settings: ProcessSettings, opened: Opened, data_dir: str, ops_port_file: Path | None) -> int:
    pipeline = settings.pipeline
    names = pipeline.names
    telemetry = Telemetry(
        "enricher", {"namespace": pipeline.namespace, "pipeline": pipeline.name}, settings.otlp_endpoint
    )
    metrics = Metrics(telemetry, names.raw_clicks)

    def hand_on(traceparent: str) -> str:
        with telemetry.span("enricher", traceparent) as onward:
            return onward or traceparent

    guard = PauseGuard(SESSION_TIMEOUT * 0.75)
    partitions = Partitions(
        names,
        Processing(opened.flow, pipeline.enricher.group_by, hand_on),
        Output(pipeline.kafka, names.enricher_group),
        metrics,
        Recovery(pipeline),
        guard,
    )
    progress = Progress(partitions.positions)
    worker = Worker(names, pipeline.kafka, partitions, progress, SourceTopic(pipeline), data_dir)
    metrics.watch_lag(progress.lag)
    metrics.watch_joins(opened.tables)
    opened.geoip.watch(telemetry)
    ops = OpsServer(
        settings.ops_host,
        settings.ops_port,
        healthy=progress.stuck,
        ready=lambda: None if worker.ready else "the partitions' state is not recovered yet",
        metrics=telemetry.prometheus_text,
    )
    if ops_port_file is not None:
        write_port(ops_port_file, ops.port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await worker.start()
        log.info("enricher started", extra={"fields": {"pipeline": names.prefix, "ops_port": ops.port}})
        crashed = asyncio.ensure_future(worker.app._crashed.wait())  # noqa: SLF001 - mode offers no public wait
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({crashed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if crashed.done():
            log.error("the worker crashed", exc_info=worker.app.crash_reason)
            end_now()
        stopped.cancel()
        crashed.cancel()
        await worker.stop()
        log.info("enricher stopped")
        return 0
    finally:
        guard.close()
        ops.close()
        telemetry.shutdown()
