"""The live view: one calm screen of 100×32, drawn from a snapshot.

Without a terminal (`plain_line`) it is one line now and then. Pure. No colour carries meaning on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Numbers:
    """The six numbers by one store; None where it has not answered yet. Average session duration in ms."""

    page_views: int | None = None
    users_hour: int | None = None
    users_day: int | None = None
    session_ms: float | None = None
    users_online: int | None = None
    top_pages: tuple[tuple[str, int], ...] = ()
    funnel: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """One process: events so far, events per second now and over the last minute, what it has still to read."""

    name: str
    total: int
    per_second: float
    history: tuple[float, ...] = ()
    lag_records: int | None = None
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the screen. Times in seconds, latencies in ms."""

    phase: str = "starting"
    elapsed_s: float = 0.0
    seconds: float | None = None
    rate: float = 0.0
    speed: float = 1.0
    seed: int = 0
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    unknown: int = 0
    stages: tuple[Stage, ...] = ()
    p50_ms: float | None = None
    p95_ms: float | None = None
    samples: int = 0
    elasticsearch: Numbers = field(default_factory=Numbers)
    postgres: Numbers = field(default_factory=Numbers)
    links: tuple[tuple[str, str], ...] = ()


WIDTH: Final = 100
_BARS: Final = "▁▂▃▄▅▆▇█"
_DIM: Final = "grey58"
_ACCENT: Final = "cyan"
_SPARK: Final = 30
_BAR: Final = 18


def render(now: Snapshot) -> RenderableType:
    left = Group(_numbers(now), _funnel(now))
    middle = Table.grid(expand=False)
    middle.add_column(width=50)
    middle.add_column(width=WIDTH - 50)
    middle.add_row(left, _top_pages(now))
    return Group(_header(now), _stages(now), middle, _links(now))


def plain_line(now: Snapshot) -> str:
    """The same as one line for a log."""
    rates = ", ".join(f"{stage.name} {stage.per_second:,.0f}/s" for stage in now.stages)
    lag = max((stage.lag_seconds or 0.0 for stage in now.stages), default=0.0)
    return (
        f"{now.phase} {now.elapsed_s:4.0f} s: {now.sent:,} sent, {now.accepted:,} accepted; {rates}; lag {lag:.1f} s; "
        f"click to store p50 {_ms(now.p50_ms)}, p95 {_ms(now.p95_ms)}; "
        f"{_count(now.postgres.page_views)} page views, {_count(now.postgres.users_online)} users online"
    )


def _header(now: Snapshot) -> RenderableType:
    clock = _clock(now.elapsed_s) + (f" / {_clock(now.seconds)}" if now.seconds else "")
    grid = Table.grid(expand=False)
    grid.add_column(width=40)
    grid.add_column(width=WIDTH - 40, justify="right")
    grid.add_row(
        Text.assemble((" clickstream ", "bold reverse"), "  ", (now.phase, "bold"), "  ", clock),
        Text(f"{now.rate:,.0f} clicks/s · visitors live {now.speed:g}× faster · seed {now.seed} ", style=_DIM),
    )
    return grid


def _stages(now: Snapshot) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column("", width=13, no_wrap=True)
    table.add_column("events/s", justify="right", width=9)
    table.add_column("events", justify="right", width=12)
    table.add_column("the last minute", width=_SPARK)
    table.add_column("lag, records", justify="right", width=12)
    table.add_column("seconds", justify="right", width=8)
    top = max((value for stage in now.stages for value in stage.history), default=0.0)
    for stage in now.stages:
        table.add_row(
            Text(stage.name, style="bold"),
            f"{stage.per_second:,.0f}",
            f"{stage.total:,}",
            Text(_spark(stage, top), style=_ACCENT),
            _count(stage.lag_records),
            "–" if stage.lag_seconds is None else f"{stage.lag_seconds:.1f}",
        )
    latency = Text.assemble(
        ("click to store  ", _DIM),
        ("p50 ", _DIM), (_ms(now.p50_ms), "bold"), ("   p95 ", _DIM), (_ms(now.p95_ms), "bold"),
        (f"   ({now.samples:,} samples, until searchable in both stores)", _DIM),
    )  # fmt: skip
    sent = Text.assemble(
        ("visitors        ", _DIM), (f"{now.sent:,}", "bold"), (" sent   ", _DIM), (f"{now.accepted:,}", "bold"),
        (" accepted   ", _DIM), (f"{now.rejected:,}", "bold"), (" rejected   ", _DIM), (f"{now.unknown:,}", "bold"),
        (" unknown", _DIM),
    )  # fmt: skip
    return _panel("flow", Group(table, Text(""), sent, latency), WIDTH)


def _numbers(now: Snapshot) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style=_DIM)
    table.add_column("", width=18, no_wrap=True)
    table.add_column("Elasticsearch", justify="right", width=13)
    table.add_column("PostgreSQL", justify="right", width=12)
    search, warehouse = now.elasticsearch, now.postgres
    for label, one, other in (
        ("page views", _count(search.page_views), _count(warehouse.page_views)),
        ("users this hour", _count(search.users_hour), _count(warehouse.users_hour)),
        ("users today", _count(search.users_day), _count(warehouse.users_day)),
        ("users online", _count(search.users_online), _count(warehouse.users_online)),
        ("average session", _seconds(search.session_ms), _seconds(warehouse.session_ms)),
    ):
        table.add_row(label, Text(one, style="bold"), Text(other, style="bold"))
    return _panel("now, as the stores have it", table, 50)


def _funnel(now: Snapshot) -> RenderableType:
    steps = _first(now.postgres, now.elasticsearch, "funnel")
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=10)
    table.add_column(width=_BAR)
    table.add_column(justify="right", width=9)
    table.add_column(justify="right", width=6, style=_DIM)
    first = steps[0][1] if steps else 0
    for name, sessions in steps:
        share = sessions / first if first else 0.0
        table.add_row(name, Text(_bar(share), style=_ACCENT), f"{sessions:,}", f"{share:.0%}")
    return _panel("funnel: sessions that reached a step", table, 50, height=5)


def _top_pages(now: Snapshot) -> RenderableType:
    pages = _first(now.elasticsearch, now.postgres, "top_pages")
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=19, no_wrap=True, overflow="ellipsis")
    table.add_column(width=_BAR - 1)
    table.add_column(justify="right", width=8)
    top = pages[0][1] if pages else 0
    for page, views in pages[:10]:
        table.add_row(page, Text(_bar(views / top, _BAR - 1), style=_ACCENT), f"{views:,}")
    return _panel("popular pages", table, WIDTH - 50, height=13)


def _links(now: Snapshot) -> RenderableType:
    lines = [Text.assemble((f" {name:<14}", _DIM), url) for name, url in now.links]
    return Group(*lines, Text(" Ctrl-C stops, waits for the last clicks and checks both stores", style=_DIM))


def _panel(title: str, content: RenderableType, width: int, height: int | None = None) -> Panel:
    return Panel(
        content,
        title=Text(title, style=_DIM),
        title_align="left",
        width=width,
        height=height,
        box=box.ROUNDED,
        border_style="grey37",
    )


def _first(one: Numbers, other: Numbers, name: str) -> tuple[tuple[str, int], ...]:
    found: tuple[tuple[str, int], ...] = getattr(one, name) or getattr(other, name)
    return found


def _bar(share: float, width: int = _BAR) -> str:
    return "█" * max(round(share * width), 1 if share > 0 else 0)


def _spark(stage: Stage, top: float) -> str:
    """One character per moment, all stages on one scale."""
    values = stage.history[-_SPARK:]
    return "".join(_BARS[round(value / top * (len(_BARS) - 1))] if top else _BARS[0] for value in values).rjust(_SPARK)


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1_000:.1f} s"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"


__all__ = ["WIDTH", "plain_line", "render"]
