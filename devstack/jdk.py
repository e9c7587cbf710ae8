"""Finds a JDK that is new enough, wherever it is installed.

`java` on the PATH is often an old one while a newer JDK sits in a well-known folder; nobody should have to set
JAVA_HOME for a demo.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.errors import MissingToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MIN_VERSION = 21
FOLDERS = (
    "/usr/lib/jvm/*",
    "/usr/java/*",
    "/opt/*",
    "~/.sdkman/candidates/java/*",
    "~/.jdks/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
)
_VERSION = re.compile(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True)
class Jdk:
    """An installed Java: `version` is the feature release (21, 25, …); `javac` is None for a mere runtime."""

    home: Path
    version: int
    java: Path
    javac: Path | None

    def describe(self) -> str:
        """Return one line for messages."""
        return f"{self.version} in {self.home}" + ("" if self.javac else " (no javac)")


def find_jdk(
    min_version: int = MIN_VERSION,
    *,
    compiler: bool = True,
    environment: Mapping[str, str] | None = None,
    folders: Sequence[str] = FOLDERS,
) -> Jdk:
    """Choose JAVA_HOME's, else the PATH's, else the newest of the usual folders' JDK of at least `min_version`.

    With `compiler`, one that has no javac is passed over. Raises MissingToolError, which names all that was found.
    """
    env = os.environ if environment is None else environment
    found = installed_jdks(env, folders)
    for jdk in found:
        if jdk.version >= min_version and (jdk.javac is not None or not compiler):
            return jdk
    raise MissingToolError(_nothing_fits(min_version, found, env.get("JAVA_HOME")))


def installed_jdks(environment: Mapping[str, str], folders: Sequence[str] = FOLDERS) -> list[Jdk]:
    """List every Java of this machine: JAVA_HOME's, the PATH's, then those of `folders`, newest first."""
    preferred = [jdk for home in _preferred_homes(environment) if (jdk := _inspect(home))]
    others = [jdk for home in _homes_in(folders) if (jdk := _inspect(home))]
    others.sort(key=lambda jdk: (-jdk.version, str(jdk.home)))
    unique = {jdk.home.resolve(): jdk for jdk in reversed([*preferred, *others])}
    return list(reversed(unique.values()))


def _preferred_homes(environment: Mapping[str, str]) -> Iterator[Path]:
    if chosen := environment.get("JAVA_HOME"):
        yield Path(chosen).expanduser()
    if on_path := shutil.which("java", path=environment.get("PATH", "")):
        yield Path(on_path).resolve().parent.parent


def _homes_in(folders: Sequence[str]) -> Iterator[Path]:
    for pattern in folders:
        parent, _, rest = str(Path(pattern).expanduser()).partition("*")
        if Path(parent).is_dir():
            yield from sorted(Path(parent).glob(f"*{rest}"))


def _inspect(home: Path) -> Jdk | None:
    java, javac = home / "bin" / "java", home / "bin" / "javac"
    if not _is_program(java):
        return None
    version = _version(home, java)
    return None if version is None else Jdk(home, version, java, javac if _is_program(javac) else None)


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _version(home: Path, java: Path) -> int | None:
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if "JAVA_VERSION" not in text:
        try:
            done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return None
        text = done.stderr
    match = _VERSION.search(text)
    return int(match[1]) if match else None


def _nothing_fits(min_version: int, found: Sequence[Jdk], java_home: str | None) -> str:
    seen = "; ".join(jdk.describe() for jdk in found) or "no Java at all"
    hint = f" JAVA_HOME is {java_home}." if java_home else " JAVA_HOME is not set."
    return (
        f"a JDK {min_version} or newer, with javac, is needed; found: {seen}.{hint} "
        "Install one (Debian, Ubuntu: apt install openjdk-21-jdk-headless; Fedora: dnf install java-21-openjdk-devel; "
        "macOS: brew install openjdk@21; any: sdk install java 21-tem) or point JAVA_HOME at one."
    )
