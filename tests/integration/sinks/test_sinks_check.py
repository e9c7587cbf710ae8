"""`clickstream check` agrees with who a click is and whose a session is, by either grouping."""

from __future__ import annotations

import msgspec
import pytest

from clickstream.contracts.pipeline import dump_pipeline, parse_pipeline
from clickstream.sinks.main import make_sink
from clickstream.sinks.postgres.connection import connect
from clickstream.sinks.postgres.recomputation import recompute

AT = 1_767_261_600_000


@pytest.fixture
def differences(pipeline, stores_of):
    """Sets the pipeline up with a grouping; then stores records and names the differences."""

    def make(group_by, made):
        document = msgspec.json.decode(dump_pipeline(pipeline)) | {"enricher": {"groupBy": group_by}}
        grouped = parse_pipeline(msgspec.json.encode(document))
        stores_of(grouped).set_up("postgres")
        sink = make_sink("postgres", grouped)
        outcome = sink.write(made)
        sink.close()
        assert (outcome.refused, outcome.later) == ([], [])
        with connect(grouped.sinks.postgres, grouped.names.schema, "check") as connection:
            return [str(each) for each in recompute(connection, grouped, 0, print)]

    return make


def visit(make_click, make_session, users, of):
    clicks = [
        make_click(
            f"e{number}",
            user_id=user,
            event_time=AT + number * 1_000,
            timestamp=AT,
            received_at=AT,
            session="2026-01-01-s",
            page_path="/products/x",
        )
        for number, user in enumerate(users)
    ]
    last = AT + 1_000 * (len(users) - 1)
    session = make_session("2026-01-01-s", 1, user_id=of, start=AT, end=last, events=len(users), page_views=len(users))
    return [*clicks, session]


def test_a_visitor_who_logs_in_is_no_difference_and_somebody_else_is(differences, records, make_click, make_session):
    made = visit(make_click, make_session, ["anonymous-7", "zoe", "ann"], "anonymous-7")
    assert differences("session_id", records(*made)) == []
    for of in ("zoe", "somebody else"):
        made = visit(make_click, make_session, ["anonymous-7", "zoe", "ann"], of)
        made[-1] = msgspec.structs.replace(made[-1], version=2 if of == "zoe" else 3)
        found = differences("session_id", records(*made))
        assert len(found) == (0 if of == "zoe" else 1)
    assert "stored user_id somebody else" in found[0]


def test_one_event_id_of_two_sites_are_two_clicks(differences, records, make_click, make_session):
    made = visit(make_click, make_session, ["ann", "ann"], "ann")
    made[:2] = [msgspec.structs.replace(click, event_id="e", source=f"site-{n}") for n, click in enumerate(made[:2])]
    assert differences("user_id", records(*made)) == []
