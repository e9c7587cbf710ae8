"""The one place that writes to the terminal.

Results go to stdout (so that `devstack env` can be sourced and `status --json` piped), everything else to stderr; no
other module prints. Logging is not configured: the devstack is also a library.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType

PIPED_WIDTH = 240  # wide enough to never fold a line that a program reads
OUT = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


def result(renderable: RenderableType) -> None:
    """Show a table or any other rich object on stdout."""
    OUT.print(renderable)


def raw(text: str) -> None:
    """Write bytes meant for another program to stdout: no wrapping, no markup, no colour."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """Tell the user something that is not the result."""
    ERR.print(Text(text))


def error(text: str) -> None:
    """Tell the user what went wrong."""
    ERR.print(Text.assemble(("devstack: ", "bold red"), text))


class ProgressBoard:
    """One line a service, kept up to date on a terminal; elsewhere plain lines, each printed once.

    An instance is a valid `devstack.Progress` callable and may be called from several threads.
    """

    def __init__(self) -> None:
        """Start with an empty board."""
        self._lines: dict[str, str] = {}
        self._live: Live | None = None
        self._began = time.monotonic()

    def __call__(self, service: str, message: str) -> None:
        """Replace the line of `service`."""
        if self._lines.get(service) == message:
            return
        self._lines = {**self._lines, service: message}
        if self._live is not None:
            self._live.update(self._render())
        else:
            ERR.print(Text(f"[{time.monotonic() - self._began:5.1f}s] {service:<14} {message}"))

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for service, message in self._lines.items():
            table.add_row(Text(service, style="bold"), Text(message))
        return table

    def __enter__(self) -> Self:
        """Take over the bottom of the terminal, if there is one."""
        if ERR.is_terminal:
            self._live = Live(console=ERR, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state of the board on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
