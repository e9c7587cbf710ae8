"""The chart, rendered by the real helm."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from generate import CHART
from generate.install import helm

Resources = list[dict[str, Any]]


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Resources]:
    """The resources that the chart makes of some values, in namespace `platform`."""
    folder = tmp_path_factory.mktemp("values")

    def rendered(values: dict[str, Any] | None = None) -> Resources:
        file = folder / f"{len(list(folder.iterdir()))}.yaml"
        file.write_text(yaml.safe_dump(values or {}))
        text = helm("template", "clickstream", str(CHART), "--namespace", "platform", "--values", str(file))
        return [one for one in yaml.safe_load_all(text) if one]

    return rendered


@pytest.fixture(scope="session")
def refusal(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], str]:
    """What helm says about values that it must refuse."""
    file: Path = tmp_path_factory.mktemp("refused") / "values.yaml"

    def refused(values: dict[str, Any]) -> str:
        file.write_text(yaml.safe_dump(values))
        with pytest.raises(subprocess.CalledProcessError) as failure:
            helm("template", "clickstream", str(CHART), "--values", str(file))
        return str(failure.value.stderr)

    return refused
