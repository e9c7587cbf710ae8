"""The script that the tracking API serves is the build of its source, and small."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cramjam

from clickstream.tracking_api.script import FILES
from e2e.tracker_site import STATIC

SOURCE = Path(__file__).parents[2] / "apps" / "tracker_js"


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_served_is_what_the_source_makes(tmp_path: Path) -> None:
    """If that is meant: make tracker."""
    ignored = shutil.ignore_patterns("node_modules", "dist")
    copy = tmp_path / "apps" / "tracker_js"
    shutil.copytree(SOURCE, copy, ignore=ignored)
    run(copy, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    run(copy, "npm", "run", "check")
    run(copy, "npm", "run", "build")
    built = tmp_path / "apps" / "clickstream" / "tracking_api" / "static"
    made = {str(each.relative_to(built)): each.read_text() for each in built.rglob("*.js")}
    assert made == {name: (STATIC / name).read_text() for name in FILES.values()}
    package = (copy / "dist" / "clickstream.js").read_bytes()
    assert len(cramjam.brotli.compress(package, 11)) < 4_000
