"""The real demo on real servers is green; then one thing is changed in one store, and its check must turn red."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import sql

from clickstream.contracts.pipeline import Pipeline
from clickstream.runtime.settings import load_pipeline
from clickstream.simulator.addresses import NETWORKS
from clickstream.simulator.ledger import State, read_ledger
from demo.check import audit
from devstack import Stack
from preview.search import Search

FIELDS = [
    "sent",
    "accepted",
    "rejected",
    "achieved_rate",
    "elasticsearch",
    "postgres",
    "lost",
    "duplicated",
    "phantom",
    "dead_letters",
    "sessions",
    "p50_click_to_store_ms",
    "p95_click_to_store_ms",
]
UNDATED = "0001-01-01"


def run_demo(stack: Stack, home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m demo`, on the servers of this test run."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DEMO_")},
        "DEVSTACK_KAFKA": stack.kafka.bootstrap_servers,
        "DEVSTACK_ELASTICSEARCH": stack.elasticsearch.url,
        "DEVSTACK_POSTGRES": stack.postgres.dsn,
        "DEMO_HOME": str(home),
        "DEMO_NAME": f"demo-{os.getpid()}-{home.name}",
        "DEMO_WARM_UP": "0",
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


class Finished(NamedTuple):
    """A demo that has ended, its data kept."""

    result: dict[str, Any]
    said: str
    home: Path
    pipeline: Pipeline
    stack: Stack

    def verdict(self) -> Any:
        return audit(self.pipeline, self.home / "ledger")


@pytest.fixture(scope="module")
def finished(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Visitors who live 120 times faster: the session gap is 5 s, so that some come back within the run."""
    home = tmp_path_factory.mktemp("home") / "green"
    done = run_demo(stack, home, DEMO_SECONDS="18", DEMO_RATE="150", DEMO_SPEED="120", DEMO_SEED="11", DEMO_KEEP="1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    return Finished(result, done.stderr, home, load_pipeline(home / "pipeline.json"), stack)


def test_everything_that_was_accepted_is_in_both_stores_exactly_once(finished: Finished):
    result = finished.result
    assert list(result) == FIELDS
    assert result["accepted"] == result["elasticsearch"] == result["postgres"] > 2_000
    assert (result["lost"], result["duplicated"], result["phantom"]) == (0, 0, 0)
    assert result["sent"] == result["accepted"] + result["rejected"]
    assert result["achieved_rate"] == pytest.approx(150, rel=0.05)
    assert result["p50_click_to_store_ms"] <= result["p95_click_to_store_ms"]


def test_spoiled_events_were_rejected_and_nothing_else_was(finished: Finished):
    log = (finished.home / "logs" / "simulator.log").read_text()
    assert "could not keep up" not in log, log
    states = [entry.state for entry in read_ledger(finished.home / "ledger").values()]
    assert states.count(State.REJECTED) == finished.result["rejected"] == finished.result["dead_letters"] > 0
    assert 0.001 < finished.result["rejected"] / finished.result["sent"] < 0.012


def test_visitors_came_back_after_the_gap(finished: Finished):
    with psycopg.connect(finished.stack.postgres.dsn) as connection:
        users = sql.Identifier(finished.pipeline.names.schema, "sessions")
        query = sql.SQL("SELECT count(*) - count(DISTINCT user_id) FROM {}").format(users)
        (again,) = connection.execute(query).fetchone()
    assert again > 3


def test_its_visitors_are_in_the_countries_of_their_addresses(finished: Finished):
    with psycopg.connect(finished.stack.postgres.dsn) as connection:
        clicks = sql.Identifier(finished.pipeline.names.schema, "clicks")
        found = connection.execute(sql.SQL("SELECT DISTINCT country FROM {}").format(clicks)).fetchall()
    countries = {country for (country,) in found}
    assert countries <= {country for _, country, _ in NETWORKS}, "every click has one, and no other"
    assert len(countries) > 15


def test_every_address_is_said(finished: Finished):
    for address in (
        finished.stack.kafka.bootstrap_servers,
        finished.stack.elasticsearch.url,
        finished.stack.postgres.dsn,
        "/docs",
        "/metrics",
        "curl ",
        "psql ",
    ):
        assert address in finished.said


def test_no_process_is_left(finished: Finished):
    assert json.loads((finished.home / "processes.json").read_text()) == []


def test_the_untouched_stores_are_green_again_and_again(finished: Finished):
    for _ in range(2):
        verdict = finished.verdict()
        assert verdict.ok, verdict.lines()
        assert verdict.sessions == finished.result["sessions"]


class Warehouse:
    """PostgreSQL, to tamper with."""

    def __init__(self, finished: Finished) -> None:
        self.names = finished.pipeline.names
        self.connection = psycopg.connect(finished.stack.postgres.dsn, autocommit=True)

    def run(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        schema = sql.Identifier(self.names.schema)
        cursor = self.connection.execute(sql.SQL(text).format(schema=schema), values)
        return cursor.fetchall() if cursor.description else []

    def some_click(self) -> str:
        return self.run("SELECT event_id FROM {schema}.clicks ORDER BY event_id LIMIT 1")[0][0]

    def some_session(self) -> str:
        return self.run("SELECT session_id FROM {schema}.sessions ORDER BY session_id LIMIT 1")[0][0]

    @contextmanager
    def without_a_row(self) -> Iterator[str]:
        event_id = self.some_click()
        self.run("CREATE TABLE {schema}.kept AS SELECT * FROM {schema}.clicks WHERE event_id = %s", event_id)
        self.run("DELETE FROM {schema}.clicks WHERE event_id = %s", event_id)
        yield event_id
        self.run("INSERT INTO {schema}.clicks SELECT * FROM {schema}.kept")
        self.run("DROP TABLE {schema}.kept")

    @contextmanager
    def with_a_row(self, event_id: str) -> Iterator[str]:
        """Another row, under the undated storage day."""
        self.run("CREATE TABLE {schema}.kept AS SELECT * FROM {schema}.clicks WHERE event_id = %s", self.some_click())
        self.run("UPDATE {schema}.kept SET storage_day = %s, event_id = %s", UNDATED, event_id)
        self.run("INSERT INTO {schema}.clicks SELECT * FROM {schema}.kept")
        self.run("DROP TABLE {schema}.kept")
        yield event_id
        self.run("DELETE FROM {schema}.clicks WHERE storage_day = %s", UNDATED)

    @contextmanager
    def with_a_longer_session(self) -> Iterator[str]:
        session_id = self.some_session()
        move = "UPDATE {schema}.session_records SET ended_at = ended_at + %s * interval '1 s' WHERE session_id = %s"
        self.run(move, 1, session_id)
        yield session_id
        self.run(move, -1, session_id)

    @contextmanager
    def without_a_session(self) -> Iterator[str]:
        session_id = self.some_session()
        self.run(
            "CREATE TABLE {schema}.kept AS SELECT * FROM {schema}.session_records WHERE session_id = %s", session_id
        )
        self.run("ALTER TABLE {schema}.kept DROP COLUMN duration")
        columns = self.run(
            "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = 'kept'",
            self.names.schema,
        )[0][0]
        self.run("DELETE FROM {schema}.session_records WHERE session_id = %s", session_id)
        yield session_id
        self.run(f"INSERT INTO {{schema}}.session_records ({columns}) SELECT {columns} FROM {{schema}}.kept")
        self.run("DROP TABLE {schema}.kept")


class Index:
    """Elasticsearch, to tamper with."""

    def __init__(self, finished: Finished) -> None:
        self.names = finished.pipeline.names
        self.search = Search(finished.stack.elasticsearch.url)
        self.other_day = self.names.clicks_index("2020-01-01")

    def some(self, alias: str) -> dict[str, Any]:
        body = {"size": 1, "sort": ["user_id"], "version": True}
        return self.search.search(alias, body)["hits"]["hits"][0]

    @contextmanager
    def without_a_row(self) -> Iterator[str]:
        hit = self.some(self.names.clicks_alias)
        place = f"/{hit['_index']}/_doc/{hit['_id']}?refresh=true"
        self.search.call("DELETE", place)
        yield hit["_id"]
        self.search.call("PUT", place, hit["_source"])

    @contextmanager
    def with_a_row(self, event_id: str) -> Iterator[str]:
        """Another document, in the index of another day."""
        source = self.some(self.names.clicks_alias)["_source"] | {"event_id": event_id}
        self.search.call("PUT", f"/{self.other_day}/_doc/{event_id}?refresh=true", source)
        yield event_id
        self.search.call("DELETE", f"/{self.other_day}")

    def some_click(self) -> str:
        return self.some(self.names.clicks_alias)["_id"]

    def _put_session(self, hit: dict[str, Any], **changes: object) -> None:
        place = f"/{hit['_index']}/_doc/{hit['_id']}?refresh=true&version_type=external_gte&version={hit['_version']}"
        self.search.call("PUT", place, hit["_source"] | changes)

    @contextmanager
    def with_a_longer_session(self) -> Iterator[str]:
        hit = self.some(self.names.sessions_alias)
        self._put_session(hit, end=hit["_source"]["end"] + 1_000)
        yield hit["_id"]
        self._put_session(hit)

    @contextmanager
    def without_a_session(self) -> Iterator[str]:
        hit = self.some(self.names.sessions_alias)
        self._put_session(hit, retracted=True)
        yield hit["_id"]
        self._put_session(hit)


@pytest.fixture(params=[Index, Warehouse])
def store(request: pytest.FixtureRequest, finished: Finished) -> Iterator[Index | Warehouse]:
    """One of the stores; whatever a test does to it is undone at the end."""
    yield request.param(finished)
    verdict = finished.verdict()
    assert verdict.ok, f"the test did not tidy up: {verdict.lines()}"


def test_a_removed_row_turns_the_check_red(finished: Finished, store: Index | Warehouse):
    with store.without_a_row() as event_id:
        verdict = finished.verdict()
    assert (verdict.lost, verdict.duplicated, verdict.phantom) == (1, 0, 0)
    assert not verdict.ok
    assert any(event_id in line for line in verdict.lines())


def test_a_doubled_row_turns_the_check_red(finished: Finished, store: Index | Warehouse):
    with store.with_a_row(store.some_click()) as event_id:
        verdict = finished.verdict()
    assert (verdict.lost, verdict.duplicated, verdict.phantom) == (0, 1, 0)
    assert not verdict.ok
    assert any(event_id in line for line in verdict.lines())


def test_a_row_that_nobody_sent_turns_the_check_red(finished: Finished, store: Index | Warehouse):
    with store.with_a_row("nobody-sent-this"):
        verdict = finished.verdict()
    assert (verdict.lost, verdict.duplicated, verdict.phantom) == (0, 0, 1)
    assert not verdict.ok


def test_an_altered_session_turns_the_check_red(finished: Finished, store: Index | Warehouse):
    with store.with_a_longer_session() as session_id:
        verdict = finished.verdict()
    assert set(verdict.kinds) == {"session recomputed", "session differs"}
    assert any(session_id in line for line in verdict.lines())


def test_a_removed_session_turns_the_check_red(finished: Finished, store: Index | Warehouse):
    with store.without_a_session() as session_id:
        verdict = finished.verdict()
    assert set(verdict.kinds) == {"session missing", "session in one store"}
    assert any(session_id in line for line in verdict.lines())


def test_the_check_alone_says_the_same_as_a_command(finished: Finished):
    warehouse = Warehouse(finished)
    green = run_demo(finished.stack, finished.home, "check")
    with warehouse.without_a_row() as event_id:
        red = run_demo(finished.stack, finished.home, "check")
    assert green.returncode == 0, green.stderr
    assert red.returncode == 1
    assert json.loads(red.stdout)["lost"] == 1
    assert event_id in red.stderr


TAMPER = """
import os, psycopg
with psycopg.connect(os.environ["DEMO_POSTGRES"]) as connection:
    schema = connection.execute(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'session_records' AND table_schema \
LIKE %s",
        ("demo\\\\_%red",),
    ).fetchone()[0]
    connection.execute(
        f"DELETE FROM {schema}.clicks WHERE event_id = (SELECT min(event_id) FROM {schema}.clicks)"
    )
"""


def test_a_demo_whose_store_was_tampered_with_before_the_check_fails_and_leaves_nothing_behind(
    stack: Stack, tmp_path: Path
):
    script = tmp_path / "tamper.py"
    script.write_text(TAMPER)
    home = tmp_path / "red"
    done = run_demo(stack, home, DEMO_SECONDS="3", DEMO_RATE="100", DEMO_BEFORE_CHECK=f"{sys.executable} {script}")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["lost"], result["duplicated"], result["phantom"]) == (1, 0, 0)
    assert result["postgres"] == result["elasticsearch"] - 1
    assert "is not in postgres" in done.stderr
    assert not home.exists()
