"""What the check found: how many ids are wrong in which way, and the first few by name.

Why it exists: a red check must say what to look at. Deliberately absent: every single difference; a broken run has
thousands.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

MOST_NAMED: Final = 5


@dataclass(slots=True)
class Verdict:
    """The outcome. Ids are counted once, however many stores they are wrong in; `named` has the first of each kind."""

    elasticsearch: int = 0
    postgres: int = 0
    browser: int = 0
    sessions: int = 0
    lost: int = 0
    duplicated: int = 0
    phantom: int = 0
    named: dict[str, list[str]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        """Whether there is no difference at all."""
        return not self.kinds

    def differ(self, kind: str, what: str) -> None:
        """Note one difference."""
        self.kinds[kind] += 1
        if len(named := self.named.setdefault(kind, [])) < MOST_NAMED:
            named.append(what)

    def lines(self) -> list[str]:
        """A line a kind of difference and a line for each that is named."""
        text = []
        for kind, number in self.kinds.items():
            text.append(f"{kind}: {number:,}")
            text += [f"  {what}" for what in self.named[kind]]
            if number > len(self.named[kind]):
                text.append("  …")
        return text
