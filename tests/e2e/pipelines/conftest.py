"""One control plane for the operator's stories; each story has namespaces of its own and starts with an operator at
work."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.dependencies.strimzi import definitions
from e2e.pipelines.surroundings import ROOT, SYSTEM, Json, Surroundings, surroundings

LONGEST = ("test_operator_stories.py", "test_operator_topics.py", "test_operator_pods.py", "test_operator_deletion.py")
"""They wait for minutes: begun first, they do not stand alone at the end."""

_numbers = itertools.count(1)
_RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def chart(*arguments: str) -> list[Json]:
    """The chart's manifests as helm renders them."""
    command = [
        Path(sys.executable).parent / "helm",
        "template",
        "clickstream",
        ROOT / "charts" / "clickstream",
        "--namespace",
        SYSTEM,
    ]
    text = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout
    return [each for each in yaml.safe_load_all(text) if each]


def rights(*arguments: str) -> list[Json]:
    """The operator's account and exactly what the chart lets it do."""
    found = [each for each in chart(*arguments) if each["kind"] in _RIGHTS]
    for each in found:
        if each["kind"] == "ServiceAccount":
            each["metadata"]["namespace"] = SYSTEM
    return found


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    with surroundings(tmp_path_factory.mktemp("operator"), definitions(), rights()) as found:
        yield found


@pytest.fixture
def web(control_plane: Surroundings) -> str:
    """A namespace of the story's own, with the usual Secrets."""
    name = f"web{next(_numbers)}"
    control_plane.namespace(name)
    return name


@pytest.fixture
def cluster(control_plane: Surroundings) -> Iterator[Surroundings]:
    """The control plane with a running operator."""
    control_plane.start_operator()
    yield control_plane
    assert control_plane.stop_operator() == 0, control_plane.log()[-4_000:]
