"""What the enricher's tests on real servers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import Process, clickstream


@pytest.fixture
def worker(pipeline_file: Path, tmp_path: Path) -> Iterator[Process]:
    """One enricher process of `pipeline`, ended with the test."""
    process = Process(
        "enricher",
        clickstream("enricher", "--pipeline", str(pipeline_file), "--ops-port-file", "{ops_port_file}"),
        tmp_path,
    )
    yield process
    process.kill()
