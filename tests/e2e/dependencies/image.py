"""One image with Kafka, Elasticsearch and PostgreSQL, out of the same artifacts as the devstack's, and what starts
them.

In a cluster the dependencies run as pods, and their official images cannot be pulled on a machine with package
registries only. It is one image since Kafka and Elasticsearch share a Java, and importing it is what takes time. Its
programs run as any user, on a read-only root, with their data below /data and scratch space in /tmp. There is no TLS
and one node each: a Kafka per test run is thrown away with its cluster.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster import images
from cluster.build import report
from devstack import artifacts, kafka, postgres, postgres_install
from devstack.elasticsearch import java_command
from devstack.jdk import find_jdk

NAME = "localhost/clickstream-e2e/dependencies:1"
HERE = Path(__file__).parent
REQUIREMENTS = HERE.parents[2] / "requirements"
JAVA_LEFT_OUT = ("jmods", "include", "man", "legal", "demo", "src.zip", "ct.sym")
JAVA = Path("/opt/java/bin/java")
BOOTSTRAP = "my-cluster-kafka-bootstrap"
# No two servers on one folder: a pod that is deleted by force is replaced while its processes still run.
PRELUDE = "#!/bin/sh\nset -eu\numask 077\nexec 9>/data/.lock\nflock 9\n"
ELASTICSEARCH = {
    "cluster.name": "e2e",
    "node.name": "e2e",
    "network.host": "0.0.0.0",
    "discovery.type": "single-node",
    "path.data": "/data/elasticsearch",
    "path.logs": "/tmp/logs",
    "node.store.allow_mmap": False,
    "cluster.routing.allocation.disk.threshold_enabled": False,
}


def build() -> str:
    """Build it into the local storage and return its name; layers that did not change are taken from there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report("gathering the servers of the image of dependencies")
        ignored = shutil.ignore_patterns(*JAVA_LEFT_OUT)
        shutil.copytree(find_jdk().home.resolve(), folder / "java", ignore=ignored, symlinks=True)
        shutil.copytree(artifacts.kafka_libs(), folder / "kafka")
        shutil.copytree(artifacts.elasticsearch_home(), folder / "elasticsearch")
        postgres_bin = postgres_install.copy_programs(folder / "postgres").relative_to(folder)
        (folder / "requirements.txt").write_text(_requirements(), encoding="utf-8")
        shutil.copy(HERE / "topic_operator_stand_in.py", folder)
        scripts = folder / "start"
        scripts.mkdir()
        _write(scripts / "kafka", _kafka(scripts))
        _write(scripts / "elasticsearch", _elasticsearch(scripts))
        _write(scripts / "postgres", _postgres(Path("/opt") / postgres_bin))
        images.build(folder, NAME, "--file", HERE / "Dockerfile")
    return NAME


def _requirements() -> str:
    """Return what the stand-in imports, locked: the operator's Kubernetes client, and the apps' Kafka client."""
    apps = (REQUIREMENTS / "apps.txt").read_text(encoding="utf-8")
    kafka_client = re.search(r"^confluent-kafka==.*\n(?:    .*\n)*", apps, re.MULTILINE)
    assert kafka_client is not None
    return (REQUIREMENTS / "operator.txt").read_text(encoding="utf-8") + kafka_client[0]


def _write(script: Path, text: str) -> None:
    script.write_text(PRELUDE + text, encoding="utf-8")
    script.chmod(0o755)


def _shell(command: Sequence[str | Path]) -> str:
    return shlex.join(str(each) for each in command)


def _kafka(folder: Path) -> str:
    listeners = {
        "listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093",
        # The namespace is known when the pod starts.
        "advertised.listeners": f"PLAINTEXT://{BOOTSTRAP}.@NAMESPACE@.svc.cluster.local:9092",
    }
    ports = {"broker": 9092, "controller": 9093}
    properties = kafka.server_properties(ports, Path("/data/kafka"), others=listeners)
    (folder / "kafka.properties").write_text(properties, encoding="utf-8")
    (folder / "log4j2.properties").write_text(kafka.LOG4J, encoding="utf-8")
    java: list[str | Path] = [
        JAVA,
        "-Dlog4j2.configurationFile=file:///opt/start/log4j2.properties",
        "-cp",
        "/opt/kafka/*",
    ]
    cluster = "ZTJlY2xpY2tzdHJlYW0wMA"  # any 16 bytes
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", "/tmp/kafka.properties"]
    return (
        'sed "s/@NAMESPACE@/$NAMESPACE/" /opt/start/kafka.properties > /tmp/kafka.properties\n'
        f"{_shell([*java, *tool])}\n"
        f"exec {_shell([java[0], '-Xms128m', '-Xmx384m', '-XX:+UseSerialGC', *java[1:], 'kafka.Kafka'])} "
        "/tmp/kafka.properties\n"
    )


def _elasticsearch(folder: Path) -> str:
    (folder / "elasticsearch.yml").write_text(json.dumps(ELASTICSEARCH), encoding="utf-8")
    command = java_command(JAVA, Path("/opt/elasticsearch"), Path("/tmp/config"), "512m")
    return f"mkdir -p /tmp/config\ncp /opt/start/elasticsearch.yml /tmp/config/\nexec {_shell(command)}\n"


def _postgres(programs: Path) -> str:
    """Make the accounts and the database of $USERNAME before the folder gets its name, so that it is whole or
    absent."""
    options = ["--listen_addresses=*", "--unix_socket_directories=/tmp"]
    options += [f"--{name}={value}" for name, value in postgres.SETTINGS.items()]
    initdb = _shell([programs / "initdb", "-D", "/data/draft", "-A", "scram-sha-256", *postgres.INITDB])
    return (
        "if [ ! -d /data/postgres ]; then\n"
        "  rm -rf /data/draft\n"
        "  printf '%s' \"$PASSWORD\" > /tmp/password\n"
        f"  {initdb} --pwfile=/tmp/password\n"
        "  echo 'host all all all scram-sha-256' >> /data/draft/pg_hba.conf\n"
        # In single-user mode an empty line ends a statement.
        '  { printf "CREATE ROLE %s SUPERUSER LOGIN PASSWORD \'%s\';\\n\\n" "$USERNAME" "$PASSWORD"\n'
        '    printf \'CREATE DATABASE %s OWNER %s;\\n\\n\' "$USERNAME" "$USERNAME"\n'
        "    cat /accounts/*.sql 2>/dev/null || true\n"
        f"  }} | {_shell([programs / 'postgres', '--single', '-j', '-D', '/data/draft', 'postgres'])}\n"
        "  mv /data/draft /data/postgres\n"
        "fi\n"
        f"exec {_shell([programs / 'postgres', '-D', '/data/postgres', *options])}\n"
    )
