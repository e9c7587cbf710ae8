"""The demo's last words: the one JSON object, and the verdict for people.

Why it exists: the JSON's fields are a contract with whoever runs the demo in a script. Deliberately absent: judging.
"""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from devstack.demo.verdict import Verdict


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
