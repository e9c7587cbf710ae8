"""`clickstream-operator`: settings, wiring, and an orderly end."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from typing import Final

import kopf
import kubernetes
from kopf._core.engines import peering

from clickstream.contracts.logs import set_up_logs
from clickstream.contracts.ops import OpsServer
from clickstream.contracts.settings import SettingsError
from clickstream.contracts.telemetry import Telemetry
from clickstream_operator import naming
from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.handlers import Passes, register
from clickstream_operator.meters import Meters
from clickstream_operator.reconcile import Reconciler
from clickstream_operator.settings import HELP, OperatorSettings, read_settings

log: Final = logging.getLogger(__name__)

STUCK_SECONDS: Final = 300.0
"""A pass that takes longer is not going to end: the process is restarted by its liveness probe."""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; 0 then, 2 for wrong settings or no cluster, 1 when the resource is not installed."""
    parser = argparse.ArgumentParser(
        prog="clickstream-operator",
        description="Look after ClickstreamPipelines.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    try:
        settings = read_settings(os.environ)
        client = _client()
    except (SettingsError, kubernetes.config.ConfigException) as error:
        sys.stderr.write(f"clickstream-operator: {error}\n")
        return 2
    set_up_logs("operator", settings.log_level, settings.log_format)
    if settings.log_level != "DEBUG":
        for name in ("kopf", "urllib3", "asyncio", "aiohttp"):
            logging.getLogger(name).setLevel(logging.WARNING)
    cluster = Cluster(client)
    if settings.namespaces and (trouble := _not_served(cluster)) is not None:
        log.error(trouble)
        return 1
    return _run(settings, cluster)


def _not_served(cluster: Cluster) -> str | None:
    """Why there is nothing to watch yet: only an operator for the whole cluster would notice the definition later."""
    try:
        return None if cluster.serves(naming.KIND) else f"this cluster serves no {naming.PLURAL}: install the CRD"
    except ClusterError as error:
        return str(error)


def _run(settings: OperatorSettings, cluster: Cluster) -> int:
    telemetry = Telemetry("operator", {}, settings.otlp_endpoint)
    meters = Meters(telemetry)
    reconciler = Reconciler(cluster, settings.images, settings.resync_seconds, meters.wrote)
    passes = Passes(reconciler, meters, settings.workers)
    registry = kopf.OperatorRegistry()
    register(registry, passes, clusterwide=not settings.namespaces)
    watching = threading.Event()
    ops = OpsServer(
        settings.ops_host,
        settings.ops_port,
        healthy=lambda: _stuck(passes),
        ready=lambda: None if watching.is_set() else "not watching yet",
        metrics=telemetry.prometheus_text,
    )
    log.info("operator started", extra={"fields": {"namespaces": settings.namespaces or "all", "ops_port": ops.port}})
    try:
        kopf.run(
            registry=registry,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            standalone=True,
            # kopf would ask for the user's name otherwise, and a pod's user need not have one.
            identity=peering.Identity("clickstream-operator"),
            ready_flag=watching,
        )
    finally:
        ops.close()
        telemetry.shutdown()
    log.info("operator stopped")
    return 0


def _stuck(passes: Passes) -> str | None:
    seconds = passes.queue.longest_running()
    return None if seconds < STUCK_SECONDS else f"a pass has been under way for {seconds:.0f} s"


def _client() -> kubernetes.client.ApiClient:
    """From the pod's service account, else from the kubeconfig. Raises ConfigException when there is neither."""
    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except kubernetes.config.ConfigException:
        kubernetes.config.load_kube_config(client_configuration=configuration)
    return kubernetes.client.ApiClient(configuration)


if __name__ == "__main__":
    sys.exit(main())
