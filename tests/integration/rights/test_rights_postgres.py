"""PostgreSQL's documented grants: enough for set-up, sink, check and reader, and none of them too much."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psycopg
import pytest
from psycopg import conninfo, sql

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from clickstream.contracts.times import iso_day
from clickstream.setup.exit_codes import SetupError
from clickstream.setup.main import set_up
from clickstream.sinks.main import make_sink
from clickstream.sinks.postgres.connection import connect
from clickstream.sinks.postgres.recomputation import recompute
from clickstream.sinks.records import Record, StoredClick
from clickstream.sinks.sink import MaintenanceError

GRANTS = Path(__file__).parents[3] / "manifests" / "examples" / "postgres-grants.sql"
STATEMENTS = [line.partition(";")[0] for line in GRANTS.read_text().splitlines() if not line.startswith("--")]
DAY = 86_400_000
_numbers = itertools.count(1)


class Warehouse(NamedTuple):
    """A database that only the grants open, and a pipeline in it. `reader`: Grafana's connection string."""

    pipeline: Pipeline
    reader: str
    admin: Any


@pytest.fixture
def granted(strict, document):
    """Makes a warehouse with the grants of the example, but one."""
    whole = strict.postgres.dsn
    opened = []

    def make(without: str | None = None) -> Warehouse:
        name = f"w{next(_numbers)}"
        names = {"shop_reader": f"{name}_reader", "grafana": f"{name}_grafana", "warehouse": f"{name}_db", "shop": name}
        with psycopg.connect(whole, autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(names["warehouse"])))
            server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(names["warehouse"])))
        admin = psycopg.connect(conninfo.make_conninfo(whole, dbname=names["warehouse"]), autocommit=True)
        opened.append(admin)
        for statement in STATEMENTS:
            if statement != without:
                admin.execute(re.sub(r"\w+", lambda word: names.get(word[0], word[0]), statement).encode())
        logins = {}
        for login in ("shop", "grafana"):
            password = secrets.token_urlsafe(12)
            if without != f"CREATE ROLE {login} LOGIN":
                order = sql.SQL("ALTER ROLE {} PASSWORD {}")
                admin.execute(order.format(sql.Identifier(names[login]), sql.Literal(password)))
            logins[login] = conninfo.make_conninfo(
                whole, dbname=names["warehouse"], user=names[login], password=password
            )
        spec = document(name) | {"sinks": {"postgres": {"dsn": logins["shop"], "retention": "3d"}}}
        return Warehouse(parse_pipeline(msgspec.json.encode(spec)), logins["grafana"], admin)

    yield make
    for each in opened:
        each.close()


def click(event_id: str, age_ms: int = 0) -> Record:
    at = int(time.time() * 1_000) - age_ms
    made = {
        "event_id": event_id, "timestamp": at, "event_time": at, "received_at": at, "storage_day": iso_day(at),
        "user_id": "u", "client_session_id": "tab", "page": "/", "page_path": "/", "page_category": "other",
        "session": None,
    }  # fmt: skip
    value = encode_enriched(msgspec.convert(made, EnrichedClick))
    return Record(msgspec.json.decode(value, type=StoredClick), ("clicks", 0), 0, value, at)


def work(warehouse: Warehouse) -> list[str]:
    """All that the processes and Grafana do, until one of them complains; the complaints, and set-up's own words."""
    said: list[str] = []
    pipeline = warehouse.pipeline
    try:
        set_up("postgres", pipeline, "install", 0, lambda text: said.append(text) if "administrator" in text else None)
        sink = make_sink("postgres", pipeline)
        outcome = sink.write([click("a"), click("old", 6 * DAY)])
        sink.close()
        said += [outcome.trouble] if outcome.trouble else []
        sink.maintain()
        set_up("postgres", pipeline, "retention", 0, print)
        assert pipeline.sinks.postgres is not None
        with connect(pipeline.sinks.postgres, pipeline.names.schema, "check") as connection:
            said += [str(each) for each in recompute(connection, pipeline, 0, print)]
        with psycopg.connect(warehouse.reader, autocommit=True) as reader:
            reader.execute(f"SELECT * FROM {pipeline.names.schema}.session_facts".encode())
            reader.execute(f"SELECT * FROM {pipeline.names.schema}.clicks_with_session".encode())
    except (SetupError, MaintenanceError, psycopg.Error) as error:
        said.append(str(error))
    return said


def test_the_grants_are_enough(granted):
    warehouse = granted()
    assert work(warehouse) == []
    (days,) = warehouse.admin.execute(f"SELECT count(*) FROM {warehouse.pipeline.names.schema}.clicks").fetchone()
    assert days == 1, "retention has dropped the old day"
    set_up("postgres", warehouse.pipeline, "drop", 0, print)


def test_the_reader_may_change_nothing(granted):
    warehouse = granted()
    assert work(warehouse) == []
    schema = warehouse.pipeline.names.schema
    with psycopg.connect(warehouse.reader, autocommit=True) as reader:
        for statement in (
            f"DELETE FROM {schema}.clicks",
            f"UPDATE {schema}.pipeline SET name = name",
            f"CREATE TABLE {schema}.mine (a int)",
            "CREATE TEMPORARY TABLE mine (a int)",
            "CREATE SCHEMA mine",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement.encode())


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE ROLE shop_reader NOLOGIN", "CREATE ROLE {shop}_reader NOLOGIN"),
        ("GRANT CONNECT ON DATABASE warehouse TO shop", "User does not have CONNECT privilege"),
        ("GRANT TEMPORARY ON DATABASE warehouse TO shop", "permission denied to create temporary tables in database"),
        ("CREATE SCHEMA shop AUTHORIZATION shop", "CREATE SCHEMA {shop} AUTHORIZATION"),
        ("GRANT CONNECT ON DATABASE warehouse TO shop_reader", "User does not have CONNECT privilege"),
        ("GRANT shop_reader TO grafana", "permission denied for"),
    ],
)
def test_without_one_of_them_it_is_named(statement, named, granted):
    assert statement in STATEMENTS
    if statement == "CREATE ROLE shop_reader NOLOGIN":
        warehouse = granted()
        warehouse.admin.execute(f"DROP OWNED BY {warehouse.pipeline.names.schema}_reader".encode())
        warehouse.admin.execute(f"DROP ROLE {warehouse.pipeline.names.schema}_reader".encode())
    else:
        warehouse = granted(statement)
    said = work(warehouse)
    assert any(named.format(shop=warehouse.pipeline.names.schema) in each for each in said), said


def test_every_statement_is_tried():
    tried = {mark.args[1][number][0] for mark in test_without_one_of_them_it_is_named.pytestmark for number in range(6)}
    logins = {"CREATE ROLE shop LOGIN", "CREATE ROLE grafana LOGIN"}
    assert tried | logins == set(STATEMENTS)
