"""The platform as its users have it: a cluster, its dependencies, our images, the chart installed, and pipelines on it.

Where KUBECONFIG and E2E_IMAGE_LOADER name an existing cluster, that one is used (kind: E2E_IMAGE_LOADER="kind load
image-archive"); otherwise a bare cluster is started on this machine and removed afterwards.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import yaml
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from devstack.demo.audit import audit
from devstack.demo.verdict import Verdict
from devstack.errors import StartError
from e2e.cluster import Kind, Node, choice, images
from e2e.cluster.control_plane import kubectl
from e2e.dependencies import image as dependencies
from e2e.dependencies.installation import install

ROOT = Path(__file__).parents[3]
SYSTEM = "clickstream-system"
SPACE = "clickstream"
APPS = "localhost/clickstream-apps:e2e"
OPERATOR = "localhost/clickstream-operator:e2e"
RELEASE = ("clickstream", str(ROOT / "charts" / "clickstream"), "--namespace", SYSTEM)
KEY = "change-me"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}

Json = dict[str, Any]


@dataclass
class Platform:
    """A cluster with everything on it."""

    kubeconfig: Path
    folder: Path

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return kubectl(self.kubeconfig, *arguments, text=text)

    def ours(self, *arguments: str, text: str | None = None) -> str:
        """kubectl in the pipelines' namespace."""
        return self.kubectl("-n", SPACE, *arguments, text=text)

    def helm(self, *arguments: str) -> str:
        command = [str(Path(sys.executable).parent / "helm"), *arguments]
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, kind: str, name: str) -> Json | None:
        try:
            return json.loads(self.ours("get", kind, name, "-o", "json"))  # type: ignore[no-any-return]
        except StartError as error:
            if "NotFound" in str(error):
                return None
            raise

    def all(self, kind: str, labels: str = "") -> list[Json]:
        return json.loads(self.ours("get", kind, "-o", "json", *(["-l", labels] if labels else [])))["items"]  # type: ignore[no-any-return]

    def apply(self, *objects: Json) -> None:
        self.ours("apply", "-f", "-", text=yaml.safe_dump_all(objects))

    def condition(self, name: str, kind: str = "Ready") -> Json:
        """The condition as it stands for the current generation; empty until it is there."""
        found = self.get("csp", name)
        if found is None or found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
            return {}
        return next((each for each in found["status"]["conditions"] if each["type"] == kind), {})

    def until(self, what: str, true: Callable[[], Any], seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := true():
                return found
            time.sleep(0.5)
        message = f"not within {seconds:.0f} s: {what}\n{self.report()}"
        raise AssertionError(message)

    def until_ready(self, name: str, seconds: float = 240) -> None:
        self.until(f"pipeline {name} is ready", lambda: self.condition(name).get("status") == "True", seconds)

    def address(self, service: str, port: int) -> str:
        """A service's address as this machine reaches it."""
        found = self.get("service", service)
        assert found is not None
        return f"{found['spec']['clusterIP']}:{port}"

    def report(self) -> str:
        """What one looks at when something went wrong."""
        told = [
            self.ours("get", "csp,pods,hpa,jobs", "-o", "wide"),
            self.ours("get", "events", "--sort-by=.metadata.creationTimestamp")[-4_000:],
            self.kubectl("-n", SYSTEM, "logs", "deployment/clickstream-operator", "--tail=40"),
        ]
        for pod in self.all("pods"):
            if any(not each.get("ready") for each in pod["status"].get("containerStatuses", [])):
                name = pod["metadata"]["name"]
                told += [self.ours("describe", "pod", name)[-3_000:]]
                try:
                    told += [self.ours("logs", name, "--tail=30")]
                except StartError as error:
                    told += [str(error)]
        return "\n".join(told)

    # Clicks and what became of them

    @contextmanager
    def traffic(self, name: str, ledger: Path, **options: str | float) -> Iterator[subprocess.Popen[str]]:
        """Visitors from outside through the Service; they are stopped at the end if they are not done."""
        arguments = [each for key, value in options.items() for each in (f"--{key.replace('_', '-')}", str(value))]
        url = f"http://{self.address(f'{name}-tracking-api', 80)}"
        command = [sys.executable, "-m", "clickstream.cli", "simulate", "--url", url, "--key", KEY, "--quiet"]
        visitors = subprocess.Popen(
            [*command, "--ledger", str(ledger), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            yield visitors
        finally:
            if visitors.poll() is None:
                visitors.terminate()
            visitors.wait(60)

    def counted(self, visitors: subprocess.Popen[str]) -> Json:
        """Wait for the visitors to be done; the simulator's own count."""
        out, trouble = visitors.communicate(timeout=600)
        assert visitors.returncode == 0, trouble
        return json.loads(out.splitlines()[-1])  # type: ignore[no-any-return]

    def document(self, name: str) -> Pipeline:
        """The pipeline's document, with the stores as this machine reaches them."""
        config = self.get("configmap", f"{name}-pipeline")
        assert config is not None
        raw = json.loads(config["data"]["pipeline.json"])
        raw["sinks"]["elasticsearch"]["url"] = f"http://{self.address('elasticsearch', 9200)}"
        raw["sinks"]["postgres"] = {"dsn": self.dsn()}
        return parse_pipeline(msgspec.json.encode(raw))

    def dsn(self) -> str:
        return f"postgresql://clickstream:clickstream@{self.address('postgres', 5432)}/clickstream"

    def stored(self, name: str) -> tuple[int, int]:
        """How many clicks Elasticsearch and PostgreSQL have."""
        names = Names(SPACE, name)
        search = Elasticsearch(f"http://{self.address('elasticsearch', 9200)}", request_timeout=30)
        search.options(ignore_status=404).indices.refresh(index=names.clicks_alias)
        found = search.options(ignore_status=404).count(index=names.clicks_alias).body.get("count", 0)
        search.close()
        with psycopg.connect(self.dsn(), connect_timeout=10) as connection:
            rows = connection.execute(f"SELECT count(*) FROM {names.schema}.clicks").fetchone()
        assert rows is not None
        return int(found), int(rows[0])

    def balanced(self, name: str, ledger: Path, accepted: int, seconds: float = 180) -> Verdict:
        """Wait until both stores have what was accepted, then look up every click of the ledger and every session."""

        def there() -> bool:
            try:
                return min(self.stored(name)) >= accepted
            except (OSError, ApiError, TransportError, psycopg.Error):  # a store that is on its way back
                return False

        self.until(f"{accepted} clicks are in both stores", there, seconds)
        document = self.document(name)
        deadline = time.monotonic() + 60
        while not (verdict := audit(document, ledger)).ok and time.monotonic() < deadline:
            time.sleep(2)  # sessions and retried clicks may still be on their way
        assert verdict.ok, "\n".join(verdict.lines())
        return verdict


def build_images(folder: Path) -> list[Path]:
    """Archives of our two images, from the project's own Dockerfiles, and of the dependencies."""
    images.build(ROOT, APPS, "-f", ROOT / "images" / "apps.Dockerfile")
    images.build(ROOT, OPERATOR, "-f", ROOT / "images" / "operator.Dockerfile")
    names = {"apps": APPS, "operator": OPERATOR, "dependencies": dependencies.build()}
    return [images.save(name, folder / f"{what}.tar") for what, name in names.items()]


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """(kubeconfig, what loads an image archive) of the cluster to use."""
    chosen = choice.cluster()
    if chosen == "existing":
        loader = shlex.split(os.environ["E2E_IMAGE_LOADER"])
        yield Path(os.environ["KUBECONFIG"]), lambda archive: subprocess.run([*loader, archive], check=True) and None
        return
    node = Kind(folder) if chosen == "kind" else Node.from_environment()
    node.down()
    try:
        node.up()
        yield node.kubeconfig, node.load
    finally:
        node.down()


@contextmanager
def platform(folder: Path) -> Iterator[Platform]:
    """Everything but pipelines."""
    archives = build_images(folder)
    with cluster(folder) as (kubeconfig, load):
        for archive in archives:
            load(archive)
            archive.unlink()
        made = Platform(kubeconfig, folder)
        for space in (SYSTEM, SPACE):
            made.kubectl("apply", "-f", "-", text=yaml.safe_dump(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": RESTRICTED}}
            ))  # fmt: skip
        install(made.kubectl, SPACE)
        made.helm("upgrade", "--install", *RELEASE, *image_values())
        try:
            made.kubectl("-n", SYSTEM, "rollout", "status", "deployment/clickstream-operator", "--timeout=120s")
        except StartError as error:
            told = made.kubectl("-n", SYSTEM, "describe", "pods") + made.kubectl(
                "-n", SYSTEM, "logs", "-l", "app.kubernetes.io/name", "--tail=50", "--prefix"
            )
            raise AssertionError(told[-8_000:]) from error
        yield made


def image_values(apps_tag: str = "e2e") -> list[str]:
    """The chart's values for our own images."""
    return [
        "--set", "image.repository=localhost/clickstream-operator,image.tag=e2e",
        "--set", f"appsImage.repository=localhost/clickstream-apps,appsImage.tag={apps_tag}",
    ]  # fmt: skip
