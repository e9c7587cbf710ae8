"""What the demo says while it prepares, waits and checks: one line a step, all on standard error.

Why it exists: standard output belongs to the one JSON object at its end. On a terminal a running step shows what it is
at; elsewhere each step is said when it is done. Deliberately absent: the live view (`view`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.text import Text

CONSOLE = Console(stderr=True, highlight=False)


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Announce a step; yields a function that takes the newest word on it."""
    began, latest = time.monotonic(), ""
    with CONSOLE.status(Text(name)) as status:

        def tell(word: str) -> None:
            nonlocal latest
            if word != latest:
                latest = word
                status.update(Text.assemble(name, ("  " + word, "grey58")))

        try:
            yield tell
        except BaseException:
            _line("✗", "red", name, latest, began)
            raise
    _line("✓", "green", name, latest, began)


def say(what: RenderableType | str) -> None:
    """A line, or any other rich object."""
    text = Text(what) if isinstance(what, str) else what
    CONSOLE.print(text, soft_wrap=isinstance(text, Text))  # lines to be copied are not broken


def _line(sign: str, colour: str, name: str, word: str, began: float) -> None:
    CONSOLE.print(
        Text.assemble(
            (f" {sign} ", colour), name, (f"  {word}" if word else "", "grey58"),
            (f"  {time.monotonic() - began:.1f} s", "grey58"),
        ),
        soft_wrap=True,
    )  # fmt: skip
