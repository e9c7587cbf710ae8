"""Jars from a Maven repository, by the user's own Maven and its settings: mirrors, proxies, credentials, checksums."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from devstack.cache import locked
from devstack.errors import DownloadError, InterruptedUpError, MissingToolError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
REPORT_SECONDS = 2.0
LOG_LINES = 30


@dataclass(frozen=True, slots=True)
class Artifact:
    """Maven coordinates."""

    group: str
    name: str
    version: str


def pom(artifacts: Sequence[Artifact]) -> str:
    """Write a project that does nothing but depend on `artifacts`."""
    dependencies = "".join(
        f"    <dependency><groupId>{escape(each.group)}</groupId><artifactId>{escape(each.name)}</artifactId>"
        f"<version>{escape(each.version)}</version></dependency>\n"
        for each in artifacts
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0">\n'
        "  <modelVersion>4.0.0</modelVersion>\n"
        "  <groupId>dev.clickstream</groupId><artifactId>devstack</artifactId><version>1</version>\n"
        "  <packaging>pom</packaging>\n"
        f"  <dependencies>\n{dependencies}  </dependencies>\n"
        "</project>\n"
    )


def copy_dependencies(
    artifacts: Sequence[Artifact],
    target: Path,
    *,
    cache: Path,
    report: Callable[[str], None],
    cancelled: threading.Event,
) -> None:
    """Put `artifacts` and all that they need at run time into `target`.

    One Maven at a time works for a cache: its local repository is not made for several. Raises MissingToolError,
    DownloadError (with the end of Maven's output), InterruptedUpError.
    """
    maven = shutil.which("mvn")
    if maven is None:
        message = (
            "Maven (mvn) is not on the PATH; it brings the servers' jars. Install it "
            "(Debian, Ubuntu: apt install maven; Fedora: dnf install maven; macOS: brew install maven)."
        )
        raise MissingToolError(message)
    with (
        locked(cache / ".maven.lock", lambda: report("waiting for another download")),
        tempfile.TemporaryDirectory(prefix="devstack-maven-") as folder,
    ):
        project, log = Path(folder) / "pom.xml", Path(folder) / "maven.log"
        project.write_text(pom(artifacts), encoding="utf-8")
        command: list[str | Path] = [
            maven,
            "-B",
            "-f",
            project,
            PLUGIN,
            "-DincludeScope=runtime",
            f"-DoutputDirectory={target}",
        ]
        code = _run(command, log, target, report, cancelled)
        output = log.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            tail = "\n".join(output.rstrip().splitlines()[-LOG_LINES:])
            message = f"Maven could not download the jars (exit code {code}); the end of its output:\n{tail}"
            raise DownloadError(message)


def _run(
    command: Sequence[str | Path],
    log: Path,
    target: Path,
    report: Callable[[str], None],
    cancelled: threading.Event,
) -> int:
    began = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while True:
            report(f"downloading: {arrived(log, target)} jars, {time.monotonic() - began:.0f} s")
            with suppress(subprocess.TimeoutExpired):
                return child.wait(REPORT_SECONDS)
            if cancelled.is_set():
                message = "interrupted while downloading"
                raise InterruptedUpError(message)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def arrived(log: Path, target: Path) -> int:
    """Count the jars that Maven has fetched so far (its plugins' included) or, from its own cache, copied."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    fetched = sum("Downloaded from" in line and ".jar" in line for line in lines)
    return max(fetched, sum(1 for _ in target.glob("*.jar")))
