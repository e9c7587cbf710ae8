"""Releases of the project to run side by side: this checkout, and wheels of an older and of a later one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.processes import clickstream

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Release:
    """What runs its commands: this interpreter, and the folder that comes before the checkout on its path, if any."""

    name: str
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`clickstream …` to its end."""
        return self.python(*clickstream(*arguments)[1:])

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """This interpreter with the release's packages."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


THIS = Release("new")


def release_of(commit: str, folder: Path) -> Release:
    """The release that a commit is."""
    source = folder / "source"
    source.mkdir(parents=True)
    _unpack(commit, source)
    return _installed("old", source, folder)


def changed_release(changes: Mapping[str, Mapping[str, str]], folder: Path) -> Release:
    """This checkout with changes: by file, each text and what replaces it once; a file for the text "" is new."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("apps", "operator", "devstack", "grafana", "manifests"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name, replacements in changes.items():
        file = source / name
        for before, after in replacements.items():
            text = file.read_text() if before else ""
            assert not before or before in text, f"{name} has no longer {before!r}: adapt the change"
            file.write_text(text.replace(before, after, 1) if before else after)
    return _installed("next", source, folder)


def _installed(name: str, source: Path, folder: Path) -> Release:
    """Build the wheel, and install it, without its dependencies, into a folder of its own."""
    wheels, packages = folder / "wheels", folder / "packages"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = wheels.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*install, "--target", str(packages), str(wheel)], check=True, capture_output=True, timeout=120)
    release = Release(name, {"PYTHONPATH": str(packages)})
    found = release.python(
        "-c", "import clickstream, clickstream_operator as o; print(clickstream.__file__, o.__file__)"
    )
    paths = found.stdout.split()
    assert paths, found
    assert all(path.startswith(str(packages)) for path in paths), found
    return release


def _unpack(commit: str, folder: Path) -> None:
    known = subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False
    )
    assert known.returncode == 0, (
        f"the test of upgrades needs commit {commit}, which this checkout has not: get the whole history first "
        "(`git fetch --unshallow`; in CI a checkout of full depth)"
    )
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True)
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=archive.stdout, check=True)
