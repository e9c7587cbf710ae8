"""A server's disk is full: its data folder is moved to a small tmpfs for a while, which is filled to the last byte.

The harness, in the place of an administrator, makes room and restarts a server that stopped for lack of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from devstack.server import Server
from faults.errors import HarnessError
from faults.fault import Fault
from faults.world import World
from preview.search import Search

_ROOM: Final = 64 << 20


def _full(world: World, seconds: float, name: str) -> None:
    server = world.server(name)
    with _small_disk(server) as folder:
        server.start()
        world.wait_ready()
        ballast = folder / "ballast"
        _fill(ballast)
        world.timeline.say(f"{name} has no room left")
        time.sleep(seconds)
        ballast.unlink()
        if name == "elasticsearch" and server.pid is not None:
            # Failed shards are not retried for ever.
            with contextlib.suppress(Exception):
                Search(world.servers.stack.elasticsearch.url).call("POST", "/_cluster/reroute?retry_failed=true")
        server.stop()  # a server that had no room is restarted by its owner
        server.start()
        world.wait_ready()
        world.caught_up(60, 5_000)
        server.stop()
    server.start()
    world.wait_ready()


@contextlib.contextmanager
def _small_disk(server: Server) -> Iterator[Path]:
    """Stop the server, and have its data on a tmpfs within the block; the server is not running at its end."""
    server.stop()
    data = server.data_folder()
    stat = data.stat()
    used = sum(each.lstat().st_blocks * 512 for each in data.rglob("*"))
    aside = Path(tempfile.mkdtemp(prefix=".aside-", dir=data.parent))
    options = f"size={used + (used >> 3) + _ROOM},mode={stat.st_mode & 0o7777:o},uid={stat.st_uid},gid={stat.st_gid}"
    _move(data, aside)
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data))
    try:
        _move(aside, data)
        yield data
        _move(data, aside)
    finally:
        _run("umount", str(data))
    _move(aside, data)
    aside.rmdir()


def _move(source: Path, target: Path) -> None:
    """All entries of a folder, with their owners."""
    for entry in source.iterdir():
        _run("cp", "-a", str(entry), str(target))
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _fill(ballast: Path) -> None:
    block = bytes(1 << 20)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), block)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode != 0:
        msg = f"{' '.join(command)}: {done.stderr.strip()}"
        raise HarnessError(msg)


FAULTS = tuple(
    Fault(f"{name}'s disk is full", "disks", partial(_full, name=name), only_root=True, rare=name == "elasticsearch")
    for name in ("kafka", "elasticsearch", "postgres")
)
