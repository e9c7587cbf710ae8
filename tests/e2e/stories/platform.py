"""The platform as its users have it: a cluster, its dependencies, our images, the chart installed, and pipelines on it.

Which cluster that is, `cluster.choice` says. Visitors click from a pod in it; stores are reached through kubectl.
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

import msgspec
import psycopg
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from clickstream_operator import naming
from cluster import Kind, Node, choice, images
from cluster.build import binary
from cluster.control_plane import kubectl
from demo.check import audit
from demo.verdict import Verdict
from devstack.errors import StartError
from e2e.dependencies import image as dependencies
from e2e.dependencies.installation import install
from support.objects import Json, Objects

ROOT = Path(__file__).parents[3]
SYSTEM = "clickstream-system"
SPACE = "clickstream"
KAFKA = "kafka"
"""The namespace of Kafka and of the KafkaTopics, as in manifests/examples/minimal.yaml."""
APPS = "localhost/clickstream-apps:e2e"
NEXT_APPS = "localhost/clickstream-apps:e2e-next"  # the same programs under another name, as after an upgrade
OPERATOR = "localhost/clickstream-operator:e2e"
RELEASE = ("clickstream", str(ROOT / "charts" / "clickstream"), "--namespace", SYSTEM)
KEY = "change-me"


@dataclass
class Platform(Objects):
    """A cluster with everything on it."""

    space, pace, patience = SPACE, 0.5, 120
    kubeconfig: Path
    load: Callable[[Path], None]

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

    def space_of(self, kind: str) -> str:
        return KAFKA if kind == "kafkatopic" else self.space

    def namespace(self, name: str) -> None:
        """Make a namespace that enforces the restricted standard."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.kubectl("apply", "-f", "-", text=json.dumps(space))

    def install_operator(self) -> None:
        """Install the chart, or upgrade it, and wait for the operator."""
        self.helm("upgrade", "--install", *RELEASE, *image_values())
        self.operator_is_up()

    def operator_is_up(self) -> None:
        """Wait until the operator that was asked for last runs, and no other."""
        try:
            self.kubectl("-n", SYSTEM, "rollout", "status", "deployment/clickstream-operator", "--timeout=300s")
        except StartError as error:
            raise AssertionError(self.report()) from error

    @contextmanager
    def uninstalled(self) -> Iterator[None]:
        """Meanwhile the chart's release is gone."""
        self.helm("uninstall", "clickstream", "--namespace", SYSTEM)
        self.kubectl("-n", SYSTEM, "wait", "pods", "--all", "--for=delete", "--timeout=60s")
        try:
            yield
        finally:
            self.install_operator()

    @contextmanager
    def without_operator(self) -> Iterator[None]:
        """Meanwhile no operator runs."""
        scale = ("-n", SYSTEM, "scale", "deployment/clickstream-operator")
        self.kubectl(*scale, "--replicas=0")
        self.kubectl("-n", SYSTEM, "wait", "pods", "--all", "--for=delete", "--timeout=60s")
        try:
            yield
        finally:
            self.kubectl(*scale, "--replicas=1")
            self.operator_is_up()

    @contextmanager
    def reach(self, service: str, port: int) -> Iterator[str]:
        """127.0.0.1:port of this machine, forwarded to a pod of the service while it lives."""
        forward = [binary("kubectl"), f"--kubeconfig={self.kubeconfig}", "-n", SPACE, "port-forward"]
        with subprocess.Popen(
            [*forward, f"service/{service}", f":{port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                told = process.stdout.readline()
                if not told:
                    raise StartError(process.stderr.read())
                yield told.split(" -> ")[0].removeprefix("Forwarding from ").strip()
            finally:
                process.kill()

    def report(self) -> str:
        """What one looks at when something went wrong: what there is, events, troubled pods, logs."""

        def told(*arguments: str, end: int = 4_000) -> str:
            try:
                return f"$ kubectl {' '.join(arguments)}\n{self.kubectl(*arguments)[-end:]}"
            except StartError as error:
                return f"$ kubectl {' '.join(arguments)}\n{error}"

        space = ("-n", SPACE)
        parts = [
            told(*space, "get", "csp,pods,hpa,jobs", "-o", "wide"),
            told("-n", KAFKA, "get", "pods,kafkatopics", "-o", "wide"),
            told(*space, "describe", "csp"),
            told(*space, "get", "events", "--sort-by=.metadata.creationTimestamp"),
            told("-n", SYSTEM, "describe", "pods"),
            told("-n", SYSTEM, "logs", "-l", "app.kubernetes.io/name", "--tail=40", "--prefix"),
        ]
        for pod in (each for each in self.all("pods") if each["status"]["phase"] != "Succeeded"):
            name, states = pod["metadata"]["name"], pod["status"].get("containerStatuses", [])
            parts.append(told(*space, "logs", name, "--all-containers", "--tail=15", end=2_000))
            if any(each["restartCount"] for each in states):
                parts.append(told(*space, "logs", name, "--all-containers", "--previous", "--tail=15", end=2_000))
            if not all(each.get("ready") for each in states):
                parts.append(told(*space, "describe", "pod", name, end=3_000))
        return "\n\n".join(parts)

    def let_data_go(self, name: str, namespace: str | None = None) -> None:
        """From now on its data are deleted with the pipeline: the operator has seen that this is asked for."""
        self.patch("csp", name, {"spec": {"deletionPolicy": "Delete"}}, namespace)

        def seen() -> bool:
            pipeline = self.get("csp", name, namespace)
            return pipeline is None or naming.FINALIZER in pipeline["metadata"].get("finalizers", [])

        self.until(f"the finalizer of {name}", seen)

    # Clicks and what became of them

    @contextmanager
    def visitors(self, name: str, suffix: str = "", **options: str | float) -> Iterator[Visitors]:
        """A pod whose visitors click through the pipeline's Service; `options` are those of `clickstream simulate`."""
        given = {"url": f"http://{name}-tracking-api", "key": KEY} | options
        arguments = [each for key, value in given.items() for each in (f"--{key.replace('_', '-')}", str(value))]
        pod = f"visitors-{name}{suffix}"
        self.ours("delete", "pod", pod, "--ignore-not-found")  # of a run that was ended by force
        self.apply(_visitors(pod, ["simulate", *arguments, "--ledger", "/ledger/ledger"]))
        try:
            yield Visitors(self, pod)
        finally:
            self.ours("delete", "pod", pod, "--wait=false")

    @contextmanager
    def stores(self) -> Iterator[Stores]:
        """Both stores, as this machine reaches them. Raises StartError while one is away."""
        with self.reach("elasticsearch", 9200) as elasticsearch, self.reach("postgres", 5432) as postgres:
            yield Stores(f"http://{elasticsearch}", f"postgresql://clickstream:clickstream@{postgres}/clickstream")

    def document(self, name: str, stores: Stores) -> Pipeline:
        """The pipeline's document, with these addresses."""
        raw = json.loads(self.ours("get", "configmap", f"{name}-pipeline", "-o", "json"))
        document = json.loads(raw["data"]["pipeline.json"])
        document["sinks"]["elasticsearch"]["url"] = stores.elasticsearch
        document["sinks"]["postgres"] = {"dsn": stores.postgres}
        return parse_pipeline(msgspec.json.encode(document))

    def stored(self, name: str) -> tuple[int, int]:
        """How many clicks Elasticsearch and PostgreSQL have."""
        with self.stores() as stores:
            return stores.clicks(Names(SPACE, name))

    def balanced(self, name: str, ledger: Path, accepted: int, seconds: float = 180) -> Verdict:
        """Wait until both stores have what was accepted, then look up every click of the ledger and every session."""
        away = (OSError, StartError, ApiError, TransportError, psycopg.Error)  # a store on its way back

        def there() -> bool:
            try:
                return min(self.stored(name)) >= accepted
            except away:
                return False

        self.until(f"{accepted} clicks are in both stores", there, seconds)
        deadline = time.monotonic() + 60
        with self.stores() as stores:
            document = self.document(name, stores)
            while not (verdict := audit(document, ledger)).ok and time.monotonic() < deadline:
                time.sleep(2)  # sessions and retried clicks may still be on their way
        assert verdict.ok, "\n".join(verdict.lines())
        return verdict


@dataclass(frozen=True, slots=True)
class Stores:
    """Where both stores are: an address and a connection string."""

    elasticsearch: str
    postgres: str

    def clicks(self, names: Names) -> tuple[int, int]:
        """How many clicks of the pipeline each of them has."""
        with self._search() as search:
            search.options(ignore_status=404).indices.refresh(index=names.clicks_alias)
            found = search.options(ignore_status=404).count(index=names.clicks_alias).body.get("count", 0)
        with psycopg.connect(self.postgres, connect_timeout=10) as connection:
            rows = connection.execute(f"SELECT count(*) FROM {names.schema}.clicks").fetchone()
        assert rows is not None
        return int(found), int(rows[0])

    def have(self, names: Names) -> tuple[bool, bool]:
        """Whether there is anything of the pipeline in each of them."""
        with self._search() as search:
            indices = search.indices.get(index=f"{names.index_prefix}.*", allow_no_indices=True).body
        with psycopg.connect(self.postgres, connect_timeout=10) as connection:
            found = "SELECT FROM information_schema.schemata WHERE schema_name = %s"
            schema = connection.execute(found, [names.schema]).fetchone()
        return bool(indices), schema is not None

    @contextmanager
    def _search(self) -> Iterator[Elasticsearch]:
        search = Elasticsearch(self.elasticsearch, request_timeout=30)
        try:
            yield search
        finally:
            search.close()


@dataclass(frozen=True, slots=True)
class Visitors:
    """A pod of simulated visitors."""

    world: Platform
    pod: str

    def stop(self) -> None:
        """Nobody new comes; those under way get their answers."""
        self.world.ours("exec", self.pod, "-c", "visitors", "--", "sh", "-c", "kill -TERM 1")

    def over(self) -> bool:
        """Whether they are done."""
        pod = self.world.get("pod", self.pod)
        assert pod is not None
        states = {each["name"]: each["state"] for each in pod["status"].get("containerStatuses", [])}
        return "terminated" in states.get("visitors", {})

    def counted(self, ledger: Path, seconds: float = 600) -> Json:
        """Wait until they are done, append their ledger, and return their own count."""
        self.world.until(f"{self.pod} is done", self.over, seconds)
        told = self.world.ours("logs", self.pod, "-c", "visitors").splitlines()
        # Not always the last line: errors have a stream of their own.
        found = [line for line in told if line.startswith("{")]
        assert found, told
        with ledger.open("a", encoding="utf-8") as file:  # a ledger's first line is a comment anywhere else
            file.write(self.world.ours("exec", self.pod, "-c", "ledger", "--", "cat", "/ledger/ledger"))
        counted: Json = json.loads(found[-1])
        print(json.dumps(counted))
        return counted


def none_failed(counted: Json) -> None:
    """Every request got its answer at once, and it was yes: none was sent again."""
    assert set(counted["answers"]) == {"202"}, counted["answers"]
    assert counted["retries"] == counted["unknown"] == 0


def _visitors(name: str, arguments: list[str]) -> Json:
    """A pod under the restricted standard; its second container keeps the ledger in reach when the first is done."""
    shared: Json = {
        "image": APPS,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}, {"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "visitors"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {"name": "visitors", "args": arguments, **shared},
                {"name": "ledger", "command": ["sleep", "3600"], **shared},
            ],
            "volumes": [{"name": each, "emptyDir": {}} for each in ("ledger", "tmp")],
        },
    }


def build_images(folder: Path) -> list[Path]:
    """Archives of our two images, from the project's own Dockerfiles, and of the dependencies."""
    images.build(ROOT, APPS, "-f", ROOT / "images" / "apps.Dockerfile")
    images.build(ROOT, NEXT_APPS, "-f", ROOT / "images" / "apps.Dockerfile")
    images.build(ROOT, OPERATOR, "-f", ROOT / "images" / "operator.Dockerfile")
    names = {"apps": APPS, "next-apps": NEXT_APPS, "operator": OPERATOR, "dependencies": dependencies.build()}
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
        made = Platform(kubeconfig, load)
        for space in (SYSTEM, SPACE, KAFKA):
            made.namespace(space)
        install(made.kubectl, SPACE, KAFKA)
        made.install_operator()
        yield made


def image_values() -> list[str]:
    """The chart's values for our own images."""
    return [
        "--set", "image.repository=localhost/clickstream-operator,image.tag=e2e",
        "--set", "appsImage.repository=localhost/clickstream-apps,appsImage.tag=e2e",
    ]  # fmt: skip
