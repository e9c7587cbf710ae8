"""What proves the bare cluster itself is collected only where it is the cluster of the stories too."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from devstack.errors import DevstackError
from e2e.cluster import choice
from e2e.cluster.node import can_run

BARE = ("test_cluster_bare.py", "test_cluster_dependencies.py")


@functools.cache
def chosen() -> str:
    try:
        return choice.cluster()
    except DevstackError as error:
        raise pytest.UsageError(*error.args) from error


def collects_bare() -> bool:
    return chosen() == "bare" and can_run()


def pytest_report_header() -> str:
    left_out = f"; not collected: {', '.join(BARE)} (they need a bare cluster: root on Linux)"
    return f"e2e: cluster {chosen()}{'' if collects_bare() else left_out}"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.name in BARE and not collects_bare() else None
