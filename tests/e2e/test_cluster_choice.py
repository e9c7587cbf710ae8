"""The choice of the cluster, with small programs in the place of docker and kind, and what pytest collects on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import choice
from devstack.errors import DevstackError

HERE = Path(__file__).parent
VARIABLES = ("E2E_CLUSTER", "KUBECONFIG", "E2E_IMAGE_LOADER")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put programs on the PATH, each a line of shell; nothing else is there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def put(**lines: str) -> None:
        for name, line in lines.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(0o755)

    return put


def test_kind_where_docker_answers(programs):
    programs(docker='[ "$1" = info ]', kind="")
    assert choice.cluster() == "kind"
    assert choice.docker_builds()


@pytest.mark.parametrize("present", [{}, {"docker": ""}, {"kind": ""}, {"docker": "exit 1", "kind": ""}], ids=str)
def test_bare_where_something_of_it_is_missing(programs, present):
    programs(**present)
    assert choice.cluster() == "bare"
    assert not choice.docker_builds()


def test_an_existing_cluster_comes_first(programs, monkeypatch):
    programs(docker="", kind="")
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    assert choice.cluster() == "kind"
    monkeypatch.setenv("E2E_IMAGE_LOADER", "load")
    assert choice.cluster() == "existing"


def test_a_choice_by_hand_comes_before_all(programs, monkeypatch):
    for name in VARIABLES[1:]:
        monkeypatch.setenv(name, "given")
    monkeypatch.setenv("E2E_CLUSTER", "kind")
    with pytest.raises(DevstackError, match="a Docker engine that answers"):
        choice.cluster()
    programs(docker="", kind="")
    assert choice.cluster() == "kind"
    monkeypatch.setenv("E2E_CLUSTER", "bare")
    assert choice.cluster() == "bare"
    assert not choice.docker_builds()
    monkeypatch.setenv("E2E_CLUSTER", "k3d")
    with pytest.raises(DevstackError, match="E2E_CLUSTER=k3d is neither kind nor bare"):
        choice.cluster()


def collect() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", HERE]
    return subprocess.run(command, cwd=HERE.parents[1], env=os.environ, capture_output=True, text=True, check=False)


def test_the_bare_clusters_own_tests_are_left_out_on_kind_and_the_header_says_so(programs):
    programs(docker="", kind="")
    told = collect().stdout
    assert "e2e: cluster kind; not collected: test_cluster_bare.py, test_cluster_dependencies.py" in told
    for name, there in [("bare", False), ("dependencies", False), ("api_server", True)]:
        assert (f"<Module test_cluster_{name}.py>" in told) is there


def test_a_wrong_choice_is_one_line(programs, monkeypatch):
    monkeypatch.setenv("E2E_CLUSTER", "k3d")
    done = collect()
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.strip() == "ERROR: E2E_CLUSTER=k3d is neither kind nor bare"
