"""A pipeline with a source for each library of Segment and RudderStack, and one for the document's snippets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clickstream.contracts.pipeline import Pipeline
from support.segment import SNIPPETS_KEY, install_node, install_python
from support.system import System

LIBRARIES = ("segment", "rudderstack", "segment-node", "rudder-node")


@pytest.fixture(scope="module")
def python_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("python")
    install_python(folder)
    return folder


@pytest.fixture(scope="module")
def node_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `node_modules` and the program that uses them."""
    folder = tmp_path_factory.mktemp("node")
    install_node(folder)
    return folder


@pytest.fixture(scope="module")
def system(new_pipeline: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    sources = [{"name": name, "writeKey": f"key-of-{name}"} for name in LIBRARIES]
    pipeline = new_pipeline(sources=[*sources, {"name": "snippets", "writeKey": SNIPPETS_KEY}])
    started = System(pipeline, tmp_path_factory.mktemp("system"))
    yield started
    started.close()
