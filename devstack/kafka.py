"""Apache Kafka: one node that is broker and controller at once (KRaft), on loopback.

Topics are never auto-created (`auto.create.topics.enable=false`), as in a cluster where the operator owns them. A
secure home has two listeners: TLS with a user and a password (SCRAM, PLAIN), and TLS with a client certificate; with
`Settings.kafka_acls` the broker also authorizes. Several brokers are deliberately absent.
"""

from __future__ import annotations

import base64
import subprocess
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from devstack.artifacts import kafka_libs
from devstack.errors import StartError
from devstack.health import check_kafka
from devstack.jdk import find_jdk
from devstack.launch import Launch
from devstack.ports import LOOPBACK
from devstack.security import USER, write_private
from devstack.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devstack.security import Security

SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256")
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # A principal by certificate is the common name alone. ANONYMOUS are the broker and the controller of this process,
    # on the controller's plain listener; `devstack` is the broker's own certificate.
    "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
    "super.users": f"User:{USER};User:devstack;User:ANONYMOUS",
}
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

    def member(self, authentication: str = "scram-sha-512") -> dict[str, Any]:
        """Return the `kafka` member of a pipeline document for this broker, with three partitions a topic.

        `authentication` is for a secure home.
        """
        topics = {name: {"partitions": 3} for name in ("rawClicks", "enrichedClicks", "sessions")}
        security = self._workspace.security
        if security is None or self.external:
            return {"bootstrapServers": self.bootstrap_servers, "topics": topics}
        who: dict[str, str] = {"type": authentication}
        if authentication == "tls":
            who |= {"certificateFile": str(security.certificate("client")), "keyFile": str(security.key("client"))}
            servers = f"{LOOPBACK}:{self._workspace.record(self.name).ports['certificates']}"
        else:
            who |= {"username": USER, "passwordFile": str(security.password_file(self.name))}
            servers = self.bootstrap_servers
        return {
            "bootstrapServers": servers,
            "tls": {"caFile": str(security.ca)},
            "authentication": who,
            "topics": topics,
        }

    def ports_needed(self) -> tuple[str, ...]:
        """Return one more for client certificates in a secure home."""
        return self.port_names if self._workspace.security is None else (*self.port_names, "certificates")

    def local_address(self, chosen: Mapping[str, int]) -> str:
        """Return the bootstrap servers for these ports."""
        return f"{LOOPBACK}:{chosen['broker']}"

    def check(self, address: str, timeout: float) -> None:
        security = None if self.external else self._workspace.security
        check_kafka(address, timeout, None if security is None else client_properties(security))

    def prepare(self, chosen: Mapping[str, int]) -> Launch:
        """Download if need be, write the properties, format the data folder if it is new."""
        jdk = find_jdk()
        libs = kafka_libs(self._workspace.settings.cache, self._report, self._workspace.cancelled)
        self.folder.mkdir(parents=True, exist_ok=True)
        properties, log4j = self.folder / "server.properties", self.folder / "log4j2.properties"
        settings, security = self._workspace.settings, self._workspace.security
        others = (AUTHORIZER if settings.kafka_acls else {}) | dict(settings.kafka_properties)
        text = server_properties(chosen, self.data_folder(), security, others, further=settings.kafka_listeners)
        write_private(properties, text.encode())
        log4j.write_text(LOG4J, encoding="utf-8")
        java = [str(jdk.java), f"-Dlog4j2.configurationFile={log4j.as_uri()}", "-cp", f"{libs}/*"]
        if not (self.data_folder() / "meta.properties").exists():
            self._report("formatting its data folder")
            self._format([*java[:1], "-XX:TieredStopAtLevel=1", *java[1:]], properties)
        heap = settings.kafka_heap
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
        if (security := self._workspace.security) is not None:
            for mechanism in SCRAM:
                tool += ["--add-scram", f"{mechanism}=[name={USER},password={security.password(self.name)}]"]
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


def server_properties(
    chosen: Mapping[str, int],
    data: Path,
    security: Security | None = None,
    others: Mapping[str, str] | None = None,
    *,
    further: Mapping[str, tuple[int, str]] | None = None,
) -> str:
    """Write the configuration of a single node that is a whole cluster; `others` override it.

    `further` plain listeners: see `Settings.kafka_listeners`.
    """
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
    values |= {} if security is None else secure_listeners(chosen, security)
    for name, (port, address) in (further or {}).items():
        values["listeners"] += f",{name}://{LOOPBACK}:{port}"
        values["advertised.listeners"] += f",{name}://{address}"
        values["listener.security.protocol.map"] += f",{name}:PLAINTEXT"
    values |= others or {}
    return "".join(f"{key}={_escape(value)}\n" for key, value in values.items())


def secure_listeners(chosen: Mapping[str, int], security: Security) -> dict[str, str]:
    """Return what replaces the plain listener: one for passwords, one for client certificates."""
    controller, broker, certificates = (
        f"{LOOPBACK}:{chosen[name]}" for name in ("controller", "broker", "certificates")
    )
    outside = f"PASSWORDS://{broker},CERTIFICATES://{certificates}"
    modules = "org.apache.kafka.common.security"
    user = f'{modules}.plain.PlainLoginModule required user_{USER}="{security.password("kafka")}";'
    return {
        "listeners": f"{outside},CONTROLLER://{controller}",
        "advertised.listeners": outside,
        "inter.broker.listener.name": "CERTIFICATES",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PASSWORDS:SASL_SSL,CERTIFICATES:SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(security.server_pem),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(security.ca),
        "listener.name.certificates.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": ",".join((*SCRAM, "PLAIN")),
        **{
            f"listener.name.passwords.{mechanism.lower()}.sasl.jaas.config": f"{modules}.scram.ScramLoginModule "
            "required;"
            for mechanism in SCRAM
        },
        "listener.name.passwords.plain.sasl.jaas.config": user,
    }


def client_properties(security: Security) -> dict[str, str]:
    """Return librdkafka's properties for the listener with passwords."""
    return {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(security.ca),
        "sasl.mechanisms": SCRAM[0],
        "sasl.username": USER,
        "sasl.password": security.password("kafka"),
    }


def _escape(value: str) -> str:
    """Escape for a Java properties file; matters for paths only."""
    return value.replace("\\", "\\\\").encode("ascii", "backslashreplace").decode("ascii")
