"""Folders that are expensive to make, made once for all homes.

Downloads and compiled classes are shared by every stack of a user. A folder is built beside its place and renamed into
it, under a lock, so that it is either absent or complete. The key in its name changes with its content, so an entry is
never updated. Nothing is evicted: delete the cache folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def digest(*parts: str | bytes) -> str:
    """Hash everything that an entry is made from to a key for its name."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:12]


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`; `on_wait` is called once if somebody else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def entry(root: Path, name: str, build: Callable[[Path], None], on_wait: Callable[[], None] | None = None) -> Path:
    """Return the folder `root/name`; if it is absent, let `build` fill an empty folder that then takes its place."""
    place = root / name
    if place.is_dir():
        return place
    with locked(root / f".{name}.lock", on_wait):
        if not place.is_dir():
            draft = root / tempfile.mkdtemp(prefix=f".{name}.", dir=root)
            try:
                build(draft)
                draft.chmod(0o755)
                draft.replace(place)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return place
