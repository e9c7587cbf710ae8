"""Whatever lies on the topics of the sinks: it is refused with a reason, or written for both stores as it is."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.dead_letters import BadRow, Origin
from clickstream.contracts.names import Names
from clickstream.contracts.session_records import Retraction, Session
from clickstream.contracts.topics import RECORD_BYTES
from clickstream.sinks.elasticsearch.documents import action, second_id
from clickstream.sinks.postgres.rows import CLICK_JSON, CLICK_SCALARS, SESSION_SCALARS, click_line, session_line
from clickstream.sinks.records import Record, Refused, StoredClick, read_record
from support.ledger import equal
from support.mutations import records_like

NAMES = Names("shop", "web")
NOW = 1_769_860_800_000
KEPT = 40 * 86_400_000
CLICK = EnrichedClick(
    "e", 1_769_860_800_000, 1_769_860_800_001, 1_769_860_800_002, "2026-01-31", "u", "s", "/", "/", "home",
    source="web", session="2026-01-31-a", title="t", referrer="r", ip="203.0.113.1",
    country="DE", joins={"j": {"b": 1}},
    properties={"a": 1.5},
)  # fmt: skip
SESSION = Session(
    "2026-01-01-a", "u", "2026-01-01", 1, 2, 3, 4, 5, "/", "/x", "direct", "other", country="DE", funnels={"f": 2},
    merged_ids=["2026-01-01-b"],
)  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["version", "merged_into", "traceparent", "x"]),
        st.none()
        | st.binary(max_size=12)
        | st.sampled_from([b"7", b"-1", b"9" * 5_000, b"2026-01-01-b", b" 7 ", b"1_0"]),
    ),
    max_size=4,
)


class PostgresCsv(csv.Dialect):
    """As COPY is told to read it."""

    delimiter, quotechar, escapechar, doublequote = ",", '"', "\\", False
    lineterminator, quoting, strict = (
        "\n",
        csv.QUOTE_NOTNULL if hasattr(csv, "QUOTE_NOTNULL") else csv.QUOTE_MINIMAL,
        True,
    )


def fields(line: bytes) -> list[str]:
    """The fields of one line of CSV, quotation marks and escapes undone."""
    found = list(csv.reader(io.StringIO(line.decode(), newline=""), PostgresCsv))
    assert len(found) == 1, "a record is one line"
    return found[0]


def read(topic: str, value: bytes | None, key: bytes | None = None, headers: Any = ()) -> Record | Refused:
    found = read_record(NAMES, Origin(topic, 0, 5, key, tuple(headers)), value, NOW, KEPT, traced=True)
    if isinstance(found, Refused):
        row = found.row("sink-test")
        assert isinstance(row, BadRow)
        assert (row.original, bool(row.code), bool(row.reason)) == (value or b"", True, True)
        assert len(row.value()) + sum(len(n) + len(v) + 10 for n, v in row.headers()) < RECORD_BYTES
    return found


def document_of(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """Order and document of the bulk action, by a parser that is not ours."""
    order, document, end = action(record, NAMES).split(b"\n")
    assert end == b""
    return json.loads(order), json.loads(document)


@given(records_like(CLICK))
def test_any_bytes_are_a_click_for_both_stores_or_refused(value: bytes) -> None:
    found = read(NAMES.enriched_clicks, value)
    if isinstance(found, Refused):
        return
    click = found.content
    assert isinstance(click, StoredClick)
    order, document = document_of(found)
    assert order["create"]["_id"] == click.event_id
    assert len(second_id(click, click.user_id)) <= 512
    whole = msgspec.to_builtins(click)
    assert equal(document, json.loads(json.dumps(whole)))
    line = fields(click_line(click))
    written = dict(zip([*CLICK_SCALARS, *CLICK_JSON], line, strict=True))
    for name in CLICK_SCALARS:
        expected = whole[name]
        shown = expected if isinstance(expected, str) else json.dumps(expected)
        assert written[name] == shown, name
    assert all(equal(json.loads(written[name]), document[name]) for name in CLICK_JSON)


@given(records_like(SESSION), st.binary(max_size=20) | st.just(b"2026-01-01-a"), HEADERS)
def test_any_bytes_are_a_session_for_both_stores_or_refused(
    value: bytes, key: bytes, headers: list[tuple[str, bytes | None]]
) -> None:
    for each in (value, None):
        found = read(NAMES.sessions, each, key, headers)
        if isinstance(found, Refused):
            continue
        assert isinstance(found.content, Session | Retraction)
        order, document = document_of(found)
        assert order["index"]["version"] == found.content.version
        assert len(document.get("funnel_steps", [])) <= 32_000
        line = fields(session_line(found))
        assert line[: len(SESSION_SCALARS)][0] == found.content.id == document["id"]
        assert len(line) == len(SESSION_SCALARS) + 2
