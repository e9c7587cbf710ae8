"""What the demo shows on standard error: steps, the live view, every address with commands to try.

Standard output belongs to the JSON object at the end. On a terminal a running step shows its latest message, and the
live view is in place; elsewhere (in CI, say) each step is printed when it is done, and the view is a line now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from clickstream.contracts.pipeline import Pipeline
from demo.document import BROWSER, write_key
from demo.view import Snapshot, plain_line, render
from devstack.ports import LOOPBACK

CONSOLE = Console(stderr=True, highlight=False)


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Announce a step; yields a function that updates its message."""
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


_EVENT: Final = (
    '{"event_id":"\'$RANDOM$RANDOM\'","timestamp":"\'$(date -u '
    '+%FT%TZ)\'","user_id":"me","session_id":"mine","page":"/"}'
)


def links(pipeline: Pipeline, api: str, shop: str, dashboards: str | None) -> tuple[tuple[str, str], ...]:
    """Those on the live view: (name, address)."""
    elasticsearch, postgres = _stores(pipeline)
    shown = () if dashboards is None else (("dashboards", dashboards),)
    return (
        *shown,
        ("shop", shop),
        ("tracking API", api),
        ("Elasticsearch", elasticsearch),
        ("PostgreSQL", postgres),
    )


def addresses(pipeline: Pipeline, api: str, shop: str, dashboards: str | None, ports: Mapping[str, int]) -> Text:
    """All addresses, and commands to copy: long lines are not broken."""
    elasticsearch, postgres = _stores(pipeline)
    names = pipeline.names
    key = write_key(pipeline, BROWSER)  # not the simulator's: your click would be a phantom, not being in the ledger
    shown = [] if dashboards is None else [("dashboards", f"{dashboards}   everything below, drawn")]
    rows = [
        *shown,
        ("shop", f"{shop}   click through it: you are a visitor, too"),
        ("tracking API", f"{api}   documentation http://{LOOPBACK}:{ports['tracking-api']}/docs"),
        *((f"{name}", f"http://{LOOPBACK}:{port}/metrics") for name, port in ports.items()),
        ("Kafka", f"{pipeline.kafka.bootstrap_servers}   topics {names.prefix}.*"),
        ("Elasticsearch", elasticsearch),
        ("PostgreSQL", f"{postgres}   schema {names.schema}"),
        ("try", f"curl '{elasticsearch}/{names.clicks_alias}/_search?size=1&sort=event_time:desc&pretty'"),
        ("", f"psql {postgres} -c 'select * from {names.schema}.funnel_results order by step'"),  # noqa: S608 - to be read
        ("", f"curl {api}/v1/events -H 'X-Write-Key: {key}' -H 'Content-Type: application/json' -d '{_EVENT}'"),
    ]
    return Text("\n").join(Text.assemble((f" {name:<14}", "bold"), value) for name, value in rows)


def _stores(pipeline: Pipeline) -> tuple[str, str]:
    sinks = pipeline.sinks
    assert sinks.elasticsearch is not None
    assert sinks.postgres is not None
    return sinks.elasticsearch.url, sinks.postgres.dsn or ""
