"""What releases are made by: workflows that GitHub takes, and packages that both of its platforms have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.build import binary
from generate import ROOT

PLATFORMS = ("x86_64-manylinux_2_36", "aarch64-manylinux_2_36")  # glibc of Debian 12, which python:3.12-slim has


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    # Its checks of shell scripts would depend on what else is installed.
    command = [binary("actionlint"), "-shellcheck=", "-pyflakes="]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_github_takes_the_workflows():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_workflow_that_names_an_output_that_nothing_has_is_found(tmp_path):
    (tmp_path / ".git").mkdir()
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    release = (ROOT / ".github" / "workflows" / "release.yaml").read_text()
    (workflows / "ci.yaml").write_text((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    (workflows / "release.yaml").write_text(release.replace("needs.chart.outputs.registry", "needs.chart.outputs.host"))
    done = lint(tmp_path)
    assert done.returncode == 1
    assert 'property "host" is not defined' in done.stdout


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("image", ["apps", "operator"])
def test_the_locked_packages_are_there_for_each_platform_without_a_compiler(image, platform, tmp_path):
    # As the Dockerfiles install them. Faust alone is built for arm64, in Python only where there is no compiler.
    uv = [Path(sys.executable).parent / "uv", "pip", "install", "--dry-run", "--target", tmp_path, "--quiet"]
    where = ["--python-version", "3.12", "--python-platform", platform, "--only-binary", ":all:"]
    built = ["--no-binary", "faust-streaming"] if platform.startswith("aarch64") else []
    locked = ["--require-hashes", "-r", ROOT / "requirements" / f"{image}.txt"]
    machine = os.environ | {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run([*uv, *where, *built, *locked], env=machine, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
