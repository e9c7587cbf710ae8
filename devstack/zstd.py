"""The system's zstd library.

Elasticsearch compresses with a native zstd, which its published distribution carries and its Maven artifacts do not;
the operating system's copy serves as well.
"""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.errors import MissingToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDERS = (
    "/usr/lib/*-linux-gnu",
    "/lib/*-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/homebrew/lib",
)
NAMES = ("libzstd.so.1", "libzstd.1.dylib")


def library_name() -> str:
    """Return the file name under which Elasticsearch looks for it on this system."""
    return "libzstd.dylib" if sys.platform == "darwin" else "libzstd.so"


def find_zstd(folders: Sequence[str] = FOLDERS, *, ask_loader: bool = True) -> Path:
    """Find the shared library in the usual folders, or where the loader says. Raises MissingToolError."""
    for candidate in _candidates(folders, ask_loader=ask_loader):
        if candidate.is_file():
            return candidate.resolve()
    message = (
        "libzstd, which Elasticsearch needs, is not on this machine. Install it "
        "(Debian, Ubuntu: apt install libzstd1; Fedora: dnf install libzstd; macOS: brew install zstd)."
    )
    raise MissingToolError(message)


def _candidates(folders: Sequence[str], *, ask_loader: bool) -> Iterator[Path]:
    if ask_loader:
        yield from _from_loader_cache()
        found = ctypes.util.find_library("zstd")
        if found and Path(found).is_absolute():
            yield Path(found)
    for pattern in folders:
        base = Path(pattern)
        homes = sorted(Path(base.parent).glob(base.name)) if "*" in base.name else [base]
        yield from (home / name for home in homes for name in NAMES)


def _from_loader_cache() -> Iterator[Path]:
    """Read `ldconfig -p`, whose lines look like `libzstd.so.1 (libc6,x86-64) => /usr/lib/…/libzstd.so.1`."""
    program = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return
    done = subprocess.run([program, "-p"], capture_output=True, text=True, check=False)  # noqa: S603
    bits = "x86-64" if sys.maxsize > 2**32 else ""
    lines = [line for line in done.stdout.splitlines() if line.strip().startswith("libzstd.so.1 ")]
    lines.sort(key=lambda line: bits not in line)
    yield from (Path(line.rpartition("=> ")[2].strip()) for line in lines)
