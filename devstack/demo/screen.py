"""Where the live view appears: in place on a terminal, as a line every few seconds anywhere else.

Why it exists: a run in CI must be readable too. Deliberately absent: what is shown (`view`).
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.live import Live

from devstack.demo.snapshot import Snapshot
from devstack.demo.steps import CONSOLE, say
from devstack.demo.view import plain_line, render

_PLAIN_S: Final = 5.0


class Screen:
    """Shows snapshots, inside a `with` block; the last one stays on the terminal."""

    def __init__(self) -> None:
        self._live = Live(console=CONSOLE, auto_refresh=False) if CONSOLE.is_terminal else None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def show(self, now: Snapshot) -> None:
        """Draw it."""
        if self._live is not None:
            self._live.update(render(now), refresh=True)
        elif time.monotonic() - self._said >= _PLAIN_S:
            self._said = time.monotonic()
            say(plain_line(now))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
