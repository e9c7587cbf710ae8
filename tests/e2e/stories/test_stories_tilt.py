"""`tilt up` as far as it goes without Tilt: what the Tiltfile asks for is built and applied, in its order, and becomes
ready.

The Tiltfile runs in a Starlark interpreter (support.tiltfile). Kafka, Elasticsearch, PostgreSQL and Grafana come from
images that a machine with package registries only cannot pull: those groups are represented by the story's own servers,
and what Tilt would do about them (the charts of Strimzi and metrics-server, our manifests) is not run. The rest of the
project is.
"""

from __future__ import annotations

import io
import json
import shlex
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster import images
from e2e.stories.platform import ROOT, SPACE, SYSTEM, Json, Platform
from support.tiltfile import Asked, run_tiltfile

# Groups of the Tiltfile that the platform's own servers stand for.
GIVEN = {"namespace", "strimzi", "metrics-server", "kafka", "kafka-ready", "elasticsearch", "postgres", "grafana"}
KEPT = {"Namespace", "CustomResourceDefinition"}


def in_order(asked: Asked) -> dict[str, Json]:
    """All groups by name, each after those that it waits for."""
    calls = [*asked.calls["k8s_resource"], *asked.calls["local_resource"]]
    groups = {each.get("new_name") or each.get("workload") or each["name"]: each for each in calls}
    done: dict[str, Json] = {}

    def visit(name: str) -> None:
        for other in groups[name].get("resource_deps", []):
            visit(other)
        done.setdefault(name, groups[name])

    for name in groups:
        visit(name)
    return done


def objects(asked: Asked, group: Json) -> list[Json]:
    """The Kubernetes objects of a group: its workload and what it lists."""
    listed, workload = group.get("objects", []), group.get("workload")
    return [
        each
        for each in asked.resources
        if f"{each['metadata']['name']}:{each['kind'].lower()}" in listed
        or (each["metadata"]["name"] == workload and each["kind"] in {"Deployment", "ClickstreamPipeline"})
    ]


def with_images(thing: Json, built: dict[str, str]) -> Json:
    """As Tilt puts in what it has built, where a container or, by k8s_kind, a pipeline names an image, of whatever
    tag."""

    def replaced(found: Json) -> Json:
        return {
            key: built.get(value.split(":")[0], value) if key == "image" and isinstance(value, str) else value
            for key, value in found.items()
        }

    return json.loads(json.dumps(thing), object_hook=replaced)  # type: ignore[no-any-return]


@contextmanager
def applied_then_deleted(world: Platform) -> Iterator[Callable[[Json], None]]:
    """What applies an object; at the end all of them go, the last first."""
    applied: list[Json] = []

    def apply(thing: Json) -> None:
        world.kubectl("apply", "-f", "-", text=json.dumps(thing))
        applied.append(thing)

    try:
        yield apply
    finally:
        for each in reversed(applied):
            if each["kind"] not in KEPT:
                world.kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", text=json.dumps(each))


def is_up(pod: Json) -> bool:
    """Tilt syncs to running containers."""
    return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]


def save_and_sync(world: Platform, space: str, workload: str, sources: Path, *files: str) -> None:
    """Save files of a package with one more line each, sync them as Tilt does, and wait until the process has run them.

    Tilt copies the saved files and no other, by `tar` in the running container.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in files:
            text = f"{(sources / file).read_text()}\nimport sys; sys.stderr.write('just saved: {file}\\n')\n"
            member = tarfile.TarInfo(f"tmp/live/{sources.name}/{file}")
            member.size, member.mtime = len(text.encode()), time.time()
            tar.addfile(member, io.BytesIO(text.encode()))
    running = [pod["metadata"]["name"] for pod in world.all("pods", namespace=space) if is_up(pod)]
    pods = [name for name in running if name.startswith(f"{workload}-")]
    assert pods
    for pod in pods:
        command = ("exec", "-i", pod, "--", "tar", "-C", "/", "-x", "-f", "-")
        world.kubectl("-n", space, *command, text=archive.getvalue().decode())
    for pod in pods:

        def has_run(pod: str = pod) -> bool:
            told = world.kubectl("-n", space, "logs", pod)
            return all(f"just saved: {file}" in told for file in files)

        world.until(f"{pod} runs what was saved", has_run, 60)
        found = world.get("pod", pod, space)
        assert found is not None
        restarts = [state["restartCount"] for state in found["status"]["containerStatuses"]]
        assert restarts == [0], "the process began anew, the container did not"
    world.kubectl("-n", space, "rollout", "status", f"deployment/{workload}", "--timeout=60s")


@pytest.mark.long
def test_what_the_tiltfile_asks_for_becomes_ready_in_its_order_and_takes_clicks(world, tmp_path, ledger):
    asked = run_tiltfile()
    built = {}
    for each in asked.calls["docker_build"]:
        tag = built[each["ref"]] = f"localhost/{each['ref']}:tilt"
        images.build(ROOT / each["context"], tag, "-f", ROOT / each["dockerfile"], "--target", each["target"])
        world.load(images.save(tag, tmp_path / f"{each['ref']}.tar"))
    kinds: set[str] = set()
    with world.uninstalled(), applied_then_deleted(world) as apply:
        for name, group in in_order(asked).items():
            if name in GIVEN:
                continue
            for each in objects(asked, group):
                kinds.add(each["kind"])
                apply(with_images(each, built))
            if name == "clickstream-operator":
                world.operator_is_up()
            if name == "shop-ready":
                kubectl, *arguments = shlex.split(group["cmd"])
                assert kubectl == "kubectl"
                world.kubectl(*arguments)
        assert kinds >= {"Deployment", "ClickstreamPipeline", "Service", "Secret"}
        images_run = {
            each["image"]
            for space in (SPACE, SYSTEM)
            for pod in json.loads(world.kubectl("-n", space, "get", "pods", "-o", "json"))["items"]
            for each in pod["spec"]["containers"]
        }
        assert images_run >= set(built.values())

        # A module and an __init__.py of a package, in the operator and in the apps.
        save_and_sync(
            world, SYSTEM, "clickstream-operator", ROOT / "operator/clickstream_operator", "main.py", "__init__.py"
        )
        save_and_sync(world, SPACE, "shop-tracking-api", ROOT / "apps/clickstream", "cli.py", "__init__.py")

        # The traffic that its button sends; localhost:30080 is kind's, which maps this port of the node.
        command = next(each["serve_cmd"] for each in asked.calls["local_resource"] if each["name"] == "traffic")
        key = shlex.split(command)[-1]
        node = json.loads(world.kubectl("get", "nodes", "-o", "json"))["items"][0]
        address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
        with world.visitors("shop", url=f"http://{address}:30080", key=key, rate=20, seconds=10) as visitors:
            counted = visitors.counted(ledger)
        world.balanced("shop", ledger, counted["accepted"])
        world.let_data_go("shop")
