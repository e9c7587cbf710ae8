"""`clickstream-operator`: settings, wiring and shutdown."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from typing import Final

import kopf
import kubernetes
from kopf._core.engines import peering

from clickstream.runtime.logs import set_up_logs
from clickstream.runtime.probes import OpsServer
from clickstream.runtime.settings import SettingsError
from clickstream.runtime.telemetry import Telemetry
from clickstream_operator import naming
from clickstream_operator.backlog import Backlogs
from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.handlers import Controller, register
from clickstream_operator.leader import Leadership
from clickstream_operator.metrics import Metrics
from clickstream_operator.reconcile import Reconciler
from clickstream_operator.settings import HELP, OperatorSettings, read_settings
from clickstream_operator.watches import Watches

log: Final = logging.getLogger(__name__)

STUCK_SECONDS: Final = 300.0
"""A pass that takes longer is taken for stuck: the liveness probe fails, and the process is restarted."""


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
    if settings.namespaces and (trouble := _not_served(Cluster(client))) is not None:
        log.error(trouble)
        return 1
    return _run(settings, client)


def _not_served(cluster: Cluster) -> str | None:
    """Why there is nothing to watch; an operator for the whole cluster would notice a CRD that is installed later."""
    try:
        return None if cluster.serves(naming.KIND) else f"this cluster serves no {naming.PLURAL}: install the CRD"
    except ClusterError as error:
        return str(error)


def _run(settings: OperatorSettings, client: kubernetes.client.ApiClient) -> int:
    telemetry = Telemetry("operator", {}, settings.otlp_endpoint)
    metrics = Metrics(telemetry)
    cluster = Cluster(client, metrics.count_write)
    watches, backlogs = Watches(cluster, settings.namespaces), Backlogs(cluster)
    reconciler = Reconciler(
        cluster,
        settings.images,
        settings.resync_seconds,
        watches=watches,
        backlogs=backlogs,
        rollouts=settings.rollouts,
    )
    controller = Controller(reconciler, metrics, settings.workers)
    registry = kopf.OperatorRegistry()
    register(registry, controller, clusterwide=not settings.namespaces)
    watching, standing_by = threading.Event(), threading.Event()
    ops = OpsServer(
        settings.ops_host,
        settings.ops_port,
        healthy=lambda: _stuck(controller),
        ready=lambda: None if watching.is_set() or standing_by.is_set() else "not watching yet",
        metrics=telemetry.prometheus_text,
    )
    log.info("operator started", extra={"fields": {"namespaces": settings.namespaces or "all", "ops_port": ops.port}})
    leadership = _leadership(settings, client)
    try:
        if leadership is not None:
            standing_by.set()
            if not leadership.acquire(_until_told_to_stop()):
                return 0
            standing_by.clear()
        watches.start(controller.child_changed)
        backlogs.start(controller.child_changed)
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
        watches.stop()
        controller.close()
        if leadership is not None:
            leadership.release()
        ops.close()
        backlogs.close()
        telemetry.shutdown()
        log.info("operator stopped")
    return 0


def _leadership(settings: OperatorSettings, client: kubernetes.client.ApiClient) -> Leadership | None:
    if settings.lease is None:
        return None

    def lost() -> None:
        log.error("the Lease could not be renewed in time: this operator ends at once, another one takes over")
        logging.shutdown()
        os._exit(1)  # a pass that is under way must not go on

    patient = Cluster(client, timeout=(2, 3))
    return Leadership(patient, settings.lease, f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}", lost)


def _until_told_to_stop() -> threading.Event:
    """Set by SIGTERM and SIGINT; kopf puts handlers of its own in their place."""
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopping.set())
    return stopping


def _stuck(controller: Controller) -> str | None:
    seconds = controller.queue.longest_running()
    return None if seconds < STUCK_SECONDS else f"a pass has been running for {seconds:.0f} s"


def new_configuration() -> kubernetes.client.Configuration:
    """A client's configuration, without an address. `Cluster` makes a failed call again, urllib3 does not."""
    configuration = kubernetes.client.Configuration()
    configuration.retries = False
    configuration.connection_pool_maxsize = 64  # a connection a watch and a worker
    return configuration


def _client() -> kubernetes.client.ApiClient:
    """From the pod's service account, else from the kubeconfig. Raises ConfigException when there is neither."""
    configuration = new_configuration()
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except kubernetes.config.ConfigException:
        kubernetes.config.load_kube_config(client_configuration=configuration)
    return kubernetes.client.ApiClient(configuration)


if __name__ == "__main__":
    sys.exit(main())
