"""The servers' software in the cache: their versions, and how an Elasticsearch home is built from jars.

Versions live here and nowhere else, and an entry's key holds all that it was made from. Elasticsearch publishes its
server as a Maven artifact, but neither a launcher nor the module that answers `GET /`; both are small Java sources
(`java/`), compiled at first use.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from devstack import cache, maven
from devstack.errors import MissingToolError, StartError
from devstack.jdk import MIN_VERSION, Jdk, find_jdk
from devstack.maven import Artifact
from devstack.settings import cache_folder
from devstack.zstd import find_zstd, library_name

if TYPE_CHECKING:
    from collections.abc import Callable

KAFKA_VERSION = "4.3.1"
LOG4J_VERSION = "2.25.4"
ELASTICSEARCH_VERSION = "9.5.3"
POSTGRES_VERSION = "18.6.0"

KAFKA = (
    Artifact("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    Artifact("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    Artifact("org.apache.kafka", "kafka-streams", KAFKA_VERSION),
    Artifact("org.apache.kafka", "kafka-streams-test-utils", KAFKA_VERSION),
    Artifact("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION),
)
ELASTICSEARCH = (
    Artifact("org.elasticsearch", "elasticsearch", ELASTICSEARCH_VERSION),
    Artifact("org.elasticsearch.plugin", "transport-netty4", ELASTICSEARCH_VERSION),
)
LAUNCHER = "NodeLauncher.java"
ROOT_PLUGIN = "RootEndpointPlugin.java"
ROOT_MODULE = {
    "description": "answers GET /",
    "version": ELASTICSEARCH_VERSION,
    "name": "root-endpoint",
    "classname": "dev.clickstream.devstack.RootEndpointPlugin",
    "java.version": str(MIN_VERSION),
    "elasticsearch.version": ELASTICSEARCH_VERSION,
    "extended.plugins": "",
    "has.native.controller": "false",
}


def _silent(_message: str) -> None:
    pass


def kafka_libs(
    root: Path | None = None,
    report: Callable[[str], None] = _silent,
    cancelled: threading.Event | None = None,
) -> Path:
    """Return the folder with the jars of the broker, its tools, Kafka Streams and its test driver."""

    def build(folder: Path) -> None:
        maven.copy_dependencies(KAFKA, folder, cache=where, report=report, cancelled=cancelled or threading.Event())

    where = root or cache_folder()
    name = f"kafka-{KAFKA_VERSION}-{cache.digest(maven.pom(KAFKA))}"
    return cache.entry(where, name, build, lambda: report("waiting for another devstack's download"))


def elasticsearch_home(
    root: Path | None = None,
    report: Callable[[str], None] = _silent,
    cancelled: threading.Event | None = None,
) -> Path:
    """Return a folder with `libs/`, `launcher/`, `modules/`, `plugins/` and `lib/platform/` of Elasticsearch."""

    def build(folder: Path) -> None:
        jdk, zstd = find_jdk(), find_zstd()
        libs = folder / "libs"
        libs.mkdir()
        maven.copy_dependencies(
            ELASTICSEARCH, libs, cache=where, report=report, cancelled=cancelled or threading.Event()
        )
        report("compiling the launcher")
        (folder / "plugins").mkdir()
        _netty_module(libs, folder / "modules" / "transport-netty4")
        _root_module(jdk, libs, folder / "modules" / "root-endpoint", sources[ROOT_PLUGIN])
        _compile(jdk, libs, sources[LAUNCHER], LAUNCHER, folder / "launcher")
        native = folder / "lib" / "platform" / native_platform()
        native.mkdir(parents=True)
        (native / library_name()).write_bytes(zstd.read_bytes())

    where = root or cache_folder()
    java = resources.files("devstack") / "java"
    sources = {name: (java / name).read_text(encoding="utf-8") for name in (LAUNCHER, ROOT_PLUGIN)}
    key = cache.digest(maven.pom(ELASTICSEARCH), *sources.values(), repr(ROOT_MODULE))
    name = f"elasticsearch-{ELASTICSEARCH_VERSION}-{key}"
    return cache.entry(where, name, build, lambda: report("waiting for another devstack's download"))


def postgres_with_tls(
    root: Path | None = None,
    report: Callable[[str], None] = _silent,
    cancelled: threading.Event | None = None,
) -> Path:
    """Return a folder with `bin/`, `lib/` and `share/` of a PostgreSQL with TLS; the wheel's has none."""
    system, machine = native_platform().split("-")
    kind = f"{system}-{ {'x64': 'amd64', 'aarch64': 'arm64v8'}[machine] }"
    artifact = Artifact("io.zonky.test.postgres", f"embedded-postgres-binaries-{kind}", POSTGRES_VERSION)

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as jars:
            maven.copy_dependencies(
                [artifact], Path(jars), cache=where, report=report, cancelled=cancelled or threading.Event()
            )
            with zipfile.ZipFile(next(Path(jars).glob("*.jar"))) as jar:
                (name,) = (each for each in jar.namelist() if each.endswith(".txz"))
                with jar.open(name) as packed, tarfile.open(fileobj=packed, mode="r:xz") as archive:
                    archive.extractall(folder, filter="tar")

    where = root or cache_folder()
    name = f"postgresql-tls-{POSTGRES_VERSION}-{cache.digest(maven.pom([artifact]))}"
    return cache.entry(where, name, build, lambda: report("waiting for another devstack's download"))


def native_platform() -> str:
    """Return the name of Elasticsearch's folder for this machine's native libraries."""
    systems = {"linux": "linux", "darwin": "darwin"}
    machines = {"x86_64": "x64", "amd64": "x64", "aarch64": "aarch64", "arm64": "aarch64"}
    system, machine = systems.get(sys.platform), machines.get(platform.machine().lower())
    if system is None or machine is None:
        message = f"this server does not run on {sys.platform} {platform.machine()}; use an external one instead"
        raise MissingToolError(message)
    return f"{system}-{machine}"


def _netty_module(libs: Path, module: Path) -> None:
    """Move the HTTP transport out of the class path into a module folder; its jar carries its own descriptor."""
    module.mkdir(parents=True)
    for pattern in ("netty-*.jar", "transport-netty4-*.jar"):
        for jar in libs.glob(pattern):
            jar.replace(module / jar.name)
    prefix = "META-INF/es-plugins/transport-netty4/"
    with zipfile.ZipFile(next(module.glob("transport-netty4-*.jar"))) as archive:
        for member in archive.namelist():
            if member.startswith(prefix) and not member.endswith("/"):
                (module / Path(member).name).write_bytes(archive.read(member))


def _root_module(jdk: Jdk, libs: Path, module: Path, source: str) -> None:
    module.mkdir(parents=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(module / "root-endpoint.jar", "w") as archive,
    ):
        classes = Path(folder)
        _compile(jdk, libs, source, ROOT_PLUGIN, classes)
        for path in sorted(classes.rglob("*.class")):
            archive.write(path, path.relative_to(classes).as_posix())
    descriptor = "".join(f"{key}={value}\n" for key, value in ROOT_MODULE.items())
    (module / "plugin-descriptor.properties").write_text(descriptor, encoding="utf-8")


def _compile(jdk: Jdk, libs: Path, source: str, name: str, classes: Path) -> None:
    classes.mkdir(parents=True, exist_ok=True)
    path = classes / name
    path.write_text(source, encoding="utf-8")
    command: list[str | Path] = [
        str(jdk.javac),
        "--release",
        str(MIN_VERSION),
        "-proc:none",
        "-cp",
        f"{libs}/*",
        "-d",
        classes,
        path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        message = f"{name} did not compile with the JDK {jdk.describe()}:\n{done.stdout}{done.stderr}"
        raise StartError(message)
    path.unlink()
