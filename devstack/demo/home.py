"""The demo's folder: where each file is, and that only a folder of a demo is ever wiped.

Why it exists: a mistyped DEMO_HOME must not cost anybody their files. Deliberately absent: the servers' own folders
below `servers/`, which devstack keeps.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from devstack.errors import DevstackError

_MARK = "this-is-a-clickstream-demo"


class Home:
    """Paths below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = folder / "servers"
        self.logs = folder / "logs"
        self.ports = folder / "ports"
        self.pipeline = folder / "pipeline.json"
        self.ledger = folder / "ledger"
        self.processes = folder / "processes.json"

    def refuse_strangers(self) -> None:
        """Raises DevstackError when there is something in the folder that no demo has put there."""
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _MARK).exists():
            msg = f"{self.folder} is not empty and was not made by a demo: choose another DEMO_HOME, or empty it"
            raise DevstackError(msg)

    def renew(self) -> None:
        """Make the folder, empty but for the servers' part. Raises DevstackError for a folder that is not a demo's."""
        self.refuse_strangers()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _MARK).touch()
        for each in (self.pipeline, self.ledger, self.processes):
            each.unlink(missing_ok=True)
        for folder in (self.logs, self.ports):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

    def remove(self) -> None:
        """Delete it. Raises DevstackError for a folder that is not a demo's."""
        self.refuse_strangers()
        shutil.rmtree(self.folder, ignore_errors=True)
