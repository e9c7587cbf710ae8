"""Apache Kafka: one node that is broker and controller at once (KRaft), on loopback.

Why it exists: acks, consumer groups, compaction and transactions must be the real ones. Topics are never created by
accident (`auto.create.topics.enable=false`), as in a cluster where the operator owns them. Deliberately absent:
several brokers, TLS, users.
"""

from __future__ import annotations

import base64
import subprocess
import uuid
from typing import TYPE_CHECKING, ClassVar

from devstack.artifacts import kafka_libs
from devstack.errors import StartError
from devstack.health import check_kafka
from devstack.jdk import find_jdk
from devstack.launch import Launch
from devstack.ports import LOOPBACK
from devstack.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOG4J = """\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
logger.groups.name=org.apache.kafka.coordinator.group.GroupMetadataManager
logger.groups.level=info
"""


class Kafka(Server):
    """The broker; `bootstrap_servers` is what clients are given."""

    name: ClassVar[str] = "kafka"
    port_names: ClassVar[tuple[str, ...]] = ("broker", "controller")

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, for clients."""
        return self.address

    def local_address(self, chosen: Mapping[str, int]) -> str:
        """Return the bootstrap servers for these ports."""
        return f"{LOOPBACK}:{chosen['broker']}"

    def check(self, address: str, timeout: float) -> None:
        """Ask for metadata."""
        check_kafka(address, timeout)

    def prepare(self, chosen: Mapping[str, int]) -> Launch:
        """Download if need be, write the properties, format the data folder if it is new."""
        jdk = find_jdk()
        libs = kafka_libs(self._workspace.settings.cache, self._report, self._workspace.cancelled)
        self.folder.mkdir(parents=True, exist_ok=True)
        properties, log4j = self.folder / "server.properties", self.folder / "log4j2.properties"
        properties.write_text(server_properties(chosen, self.data_folder()), encoding="utf-8")
        log4j.write_text(LOG4J, encoding="utf-8")
        java = [str(jdk.java), f"-Dlog4j2.configurationFile={log4j.as_uri()}", "-cp", f"{libs}/*"]
        if not (self.data_folder() / "meta.properties").exists():
            self._report("formatting its data folder")
            self._format([*java[:1], "-XX:TieredStopAtLevel=1", *java[1:]], properties)
        heap = self._workspace.settings.kafka_heap
        options = ["-Xms128m", f"-Xmx{heap}", "-XX:+UseG1GC", "-Djava.awt.headless=true"]
        return Launch([*java[:1], *options, *java[1:], "kafka.Kafka", properties], folder=self.folder)

    def _format(self, java: list[str], properties: Path) -> None:
        tool: list[str | Path] = [
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            "-t",
            new_cluster_id(),
            "-c",
            properties,
        ]
        done = subprocess.run([*java, *tool], capture_output=True, text=True, check=False, cwd=self.folder)  # noqa: S603
        if done.returncode != 0:
            message = f"Kafka's data folder could not be formatted:\n{done.stdout}{done.stderr}"
            raise StartError(message)


def new_cluster_id() -> str:
    """Make a cluster id as Kafka's own tool does: a random UUID, base64, never with a dash in front."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def server_properties(chosen: Mapping[str, int], data: Path) -> str:
    """Write the configuration of a single node that is a whole cluster."""
    broker, controller = (f"{LOOPBACK}:{chosen[name]}" for name in ("broker", "controller"))
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "3",
        "group.initial.rebalance.delay.ms": "0",
        # After a SIGKILL the broker may register anew only once its old session has expired (9 s by default).
        "broker.heartbeat.interval.ms": "1000",
        "broker.session.timeout.ms": "6000",
    }
    return "".join(f"{key}={_escape(value)}\n" for key, value in values.items())


def _escape(value: str) -> str:
    """Escape for a Java properties file; matters for paths only."""
    return value.replace("\\", "\\\\").encode("ascii", "backslashreplace").decode("ascii")
