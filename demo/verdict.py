"""What the check found, as one JSON object for scripts, whose fields are a contract, and as a panel for people."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

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


def json_line(
    summary: dict[str, Any], verdict: Verdict, dead_letters: int | None, p50_ms: float | None, p95_ms: float | None
) -> str:
    """`summary` is the simulator's; sent, accepted and rejected count distinct event ids, the rate is per second."""
    return json.dumps(
        {
            "sent": summary.get("sent", 0),
            "accepted": summary.get("accepted", 0),
            "rejected": summary.get("rejected", 0),
            "achieved_rate": summary.get("achieved_rate", 0.0),
            "elasticsearch": verdict.elasticsearch,
            "postgres": verdict.postgres,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "phantom": verdict.phantom,
            "dead_letters": dead_letters,
            "sessions": verdict.sessions,
            "p50_click_to_store_ms": p50_ms,
            "p95_click_to_store_ms": p95_ms,
        }
    )


def failed_line(error: str) -> str:
    """The same of a run that ended before the check: nothing is known."""
    unknown = dict.fromkeys(json.loads(json_line({}, Verdict(), None, None, None)))
    return json.dumps(unknown | {"error": error})


def verdict_panel(verdict: Verdict, summary: dict[str, Any], p50_ms: float | None, p95_ms: float | None) -> Panel:
    """What was found, in words and figures."""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="grey58")
    table.add_column(justify="right", style="bold")
    table.add_column()
    achieved = summary.get("achieved_rate")
    rate = f"at {achieved:,.1f} a second" if achieved else ""
    table.add_row("accepted by the tracking API", f"{summary.get('accepted', 0):,}", rate)
    table.add_row("in Elasticsearch", f"{verdict.elasticsearch:,}", "")
    table.add_row("in PostgreSQL", f"{verdict.postgres:,}", "")
    if verdict.browser:
        table.add_row("from real browsers", f"{verdict.browser:,}", "in both stores, in no ledger")
    table.add_row("lost, duplicated, phantom", f"{verdict.lost:,}, {verdict.duplicated:,}, {verdict.phantom:,}", "")
    table.add_row("sessions", f"{verdict.sessions:,}", "recomputed from the stored clicks" if verdict.ok else "")
    if p50_ms is not None and p95_ms is not None:
        table.add_row("click to store", f"{p50_ms:,.0f} ms", f"p95 {p95_ms:,.0f} ms, from the scheduled send")
    if verdict.ok:
        title, colour = "every click is in both stores exactly once, and the sessions agree", "green"
    else:
        title, colour = "the stores are not what they should be", "red"
    content = Group(table, *(Text(line, style="red") for line in verdict.lines()))
    return Panel(content, title=Text(title, style=f"bold {colour}"), border_style=colour, box=box.ROUNDED, expand=False)
