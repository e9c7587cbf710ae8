"""One platform for all stories, since it takes minutes to make; each story has a pipeline of its own."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import yaml

from devstack.errors import StartError
from e2e.stories.platform import ROOT, Json, Platform, platform

HERE = Path(__file__).parent
FIRST = ("test_stories_install.py", "test_stories_changes.py", "test_stories_autoscaling.py")
"""If the platform cannot be installed nothing else matters; and the servers are warm when latencies are measured."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell the stories in their order, in the place where they stood."""
    places = [place for place, item in enumerate(items) if item.path.parent == HERE]
    order = {name: number for number, name in enumerate(FIRST)}
    told = sorted((items[place] for place in places), key=lambda item: order.get(item.path.name, len(FIRST)))
    for place, item in zip(places, told, strict=True):
        items[place] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A story that fails tells what the cluster had to say."""
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and world is not None:
        report.sections.append(("the cluster", world.report()))
    return report


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture(autouse=True)
def alone(world: Platform) -> Iterator[None]:
    """No pipeline of this story is left to the next, nor what it has stored."""
    yield

    def gone() -> bool:
        try:
            for pipeline in json.loads(world.kubectl("get", "csp", "-A", "-o", "json"))["items"]:
                name, namespace = pipeline["metadata"]["name"], pipeline["metadata"]["namespace"]
                world.let_data_go(name, namespace)
            world.kubectl("delete", "csp", "--all", "-A", "--timeout=120s")
        except StartError as error:  # the API server may be busy, and a pipeline may go meanwhile
            print(error)
            return False
        return True

    # The next story may not be the one that is blamed.
    world.until("the pipelines of this story are gone", gone, 360)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def minimal(name: str, **spec: object) -> list[Json]:
    """manifests/examples/minimal.yaml as it stands, under another name, with members of its spec replaced."""
    secret, pipeline = yaml.safe_load_all((ROOT / "manifests" / "examples" / "minimal.yaml").read_text())
    pipeline["metadata"]["name"] = name
    pipeline["spec"] |= spec
    return [secret, pipeline]


def modest(name: str, **spec: Json) -> list[Json]:
    """The same with small requests, so that one small node has room for a rolling update, or for two pipelines."""
    secret, pipeline = minimal(name, **spec)
    little = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    parts = pipeline["spec"]
    for part in ("trackingApi", "enricher"):
        parts[part] = {"resources": little, **parts.get(part, {})}
    for store in parts["sinks"]:
        parts["sinks"][store] = {"resources": little, **parts["sinks"][store]}
    return [secret, pipeline]
