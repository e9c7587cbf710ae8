"""What the servers of one home share: settings, state, the progress reporter, and cancellation.

Three threads start three servers at once; this is all that passes between them.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from devstack.errors import InterruptedUpError, StateError
from devstack.security import Security
from devstack.state import StateFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devstack.settings import Settings
    from devstack.state import Record


class Progress(Protocol):
    """Called with what happens, from several threads: `progress("kafka", "starting")`; `print` is one."""

    def __call__(self, service: str, message: str, /) -> object:
        """Take the latest message about a service."""


def silent(_service: str, _message: str) -> None:
    """Take progress and say nothing."""


class Workspace:
    """The shared part of one stack object."""

    def __init__(self, settings: Settings, progress: Progress = silent) -> None:
        """Name the files of the home; nothing is made yet."""
        self.settings = settings
        self.progress = progress
        self.state = StateFile(settings.home)
        self.cancelled = threading.Event()

    @property
    def security(self) -> Security | None:
        """Certificates and passwords of this home; None where servers are plain."""
        security = Security(self.settings.home / "security")
        return security if security.exists() else None

    def make_secure(self) -> None:
        """Let servers that are started from now on use TLS and passwords. Raises StateError, MissingToolError."""
        if self.security is not None:
            return
        for service in ("kafka", "postgres"):
            if self.state.read(service) is not None:
                message = f"{service} of {self.settings.home} was created without TLS; create it anew with --wipe"
                raise StateError(message)
        Security(self.settings.home / "security").create()

    @contextmanager
    def exclusive(self, who: str) -> Iterator[None]:
        """Keep other devstack commands out of this home."""

        def on_wait() -> None:
            self.progress(who, "waiting for another devstack command in this home")

        with self.state.exclusive(on_wait):
            yield

    def record(self, service: str) -> Record:
        """Return what is known about a server. Raises StateError if it was never started here."""
        record = self.state.read(service)
        if record is None:
            message = f"{service} was never started in {self.settings.home}; run `devstack up` first"
            raise StateError(message)
        return record

    def raise_if_cancelled(self) -> None:
        """Raise InterruptedUpError once `up` was cancelled."""
        if self.cancelled.is_set():
            message = "given up because another server failed or the command was interrupted"
            raise InterruptedUpError(message)
