"""What analysts are given: comments everywhere, views, funnel(), a role that can only read, funnel versions, and a
check."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest

from clickstream.contracts.pages import matcher
from clickstream.contracts.pipeline import Funnel, FunnelStep, Pipeline, dump_pipeline
from clickstream.setup.main import set_up
from support.processes import clickstream
from support.scenario import END, HOUR, TUE, WED

CHECKOUT = "ARRAY['/', '/products/*', '/checkout']"


@pytest.fixture
def sql(dashboards) -> Callable[..., list[tuple]]:
    """Runs SQL in the scenario's schema."""

    def run(query: str, *values: object) -> list[tuple]:
        connection = dashboards.stores.connection
        connection.execute(f'SET search_path TO "{dashboards.system.pipeline.names.schema}"')
        return connection.execute(query, values or None).fetchall()

    return run


@pytest.fixture
def funnel(dashboards, sql) -> Callable[..., list[tuple]]:
    """Calls funnel() over a part of the scenario, given in ms since its Monday."""

    def run(steps: str, since: int = 0, until: int = END, within: str | None = None) -> list[tuple]:
        moments = [datetime.fromtimestamp((dashboards.monday + at) / 1_000, UTC) for at in (since, until)]
        return sql(f"SELECT step, sessions, seconds_from_previous FROM funnel({steps}, %s, %s, %s)", *moments, within)

    return run


def test_every_table_view_and_column_says_what_it_is(sql) -> None:
    silent = sql("""
        SELECT c.relname, a.attname FROM pg_class c
        LEFT JOIN LATERAL (
            SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT NULL, 0
        ) a ON true
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
          AND coalesce(CASE a.attnum WHEN 0 THEN obj_description(c.oid) ELSE col_description(c.oid, a.attnum) END, \
'') = ''
        """)
    assert silent == []
    functions = (
        "SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND "
        "obj_description(oid) IS NULL"
    )
    assert sql(functions) == []


def test_the_views_agree_with_the_dashboards(sql) -> None:
    assert sql("SELECT sum(views)::int FROM page_views") == [(264,)]
    assert sql("SELECT grain, max(users) FROM unique_users GROUP BY 1 ORDER BY 1") == [
        ("day", 8),
        ("hour", 6),
        ("week", 8),
    ]
    assert sql(
        "SELECT count(*), round(avg(duration_seconds)::numeric, 3)::float8 FROM session_facts WHERE NOT bot"
    ) == [(99, round(14551 / 99, 3))]
    assert sql("SELECT step, sum(sessions)::int FROM funnel_results GROUP BY 1 ORDER BY 1") == [
        (1, 90),
        (2, 60),
        (3, 30),
    ]


def test_the_function_recomputes_what_the_enricher_followed(funnel) -> None:
    assert funnel(CHECKOUT) == [(1, 90, None), (2, 60, 90), (3, 30, 120)]


def test_a_funnel_can_be_asked_of_any_days_with_any_steps_and_a_time_limit(funnel) -> None:
    assert [row[1] for row in funnel(CHECKOUT, TUE * HOUR, WED * HOUR)] == [31, 21, 11]
    # Nobody declared this one: who saw item b after the cart? Only those who saw the cart: Mon 10, Tue 10, Wed 8.
    assert [row[1] for row in funnel("ARRAY['/cart', '/products/b']")] == [28, 0]
    # Buyers take three minutes; bob's night and kim's noon take longer.
    assert [row[1] for row in funnel(CHECKOUT, within="3 minutes")] == [90, 58, 28]
    assert [row[1] for row in funnel(CHECKOUT, within="2 minutes 59 seconds")] == [90, 58, 0]
    assert next(row[1] for row in funnel("ARRAY['/products/{key}', '*']")) == 68  # 60 after the homepage, dan's 8
    assert funnel("ARRAY['/nowhere']") == [(1, 0, None)]


def test_with_a_time_limit_a_later_beginning_counts_when_the_first_one_was_too_early(funnel) -> None:
    # Fay sees item a at 2 and item b at 4 minutes: b within a minute of any item is b itself no more, but of a: never.
    assert [row[1] for row in funnel("ARRAY['/products/*', '/products/b']", within="1 minute")][1] == 0
    assert [row[1] for row in funnel("ARRAY['/products/*', '/products/b']", within="2 minutes")][1] == 28
    # Eve's last visit: homepage, then item a 30 s later. Dan of Tuesday: homepage, item, cart, checkout a minute apart.
    assert [row[1] for row in funnel("ARRAY['*', '/checkout']", within="1 minute")][1] == 28


def test_a_pattern_matches_what_the_enricher_matches(sql) -> None:
    paths = ["/", "/products", "/products/a", "/products/a/b", "/a.b", "/aXb", "/x(1)", "/checkout", "/línea\nzwei"]
    patterns = ["/", "/products/*", "/products/{key}", "/products/", "/a.b", "/x(1)", "*", "*/b", "/línea*"]
    drawn = random.Random(11)
    paths += ["".join(drawn.choices("aab/.", k=drawn.randrange(9))) for _ in range(200)]
    tokens = ("a", "b", "/", "ab", ".", "*", "*", "{key}")
    patterns += ["".join(drawn.choices(tokens, k=drawn.randrange(7))) for _ in range(200)]
    for pattern in patterns:
        seen = sql("SELECT p FROM unnest(%s::text[]) p WHERE p ~ page_pattern_regex(%s)", paths, pattern)
        assert [row[0] for row in seen] == [path for path in paths if matcher(pattern)(path)], pattern


def test_the_reader_sees_everything_and_changes_nothing(sql, dashboards) -> None:
    names = dashboards.system.pipeline.names
    role = f"{names.schema}_reader"
    assert sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", role) == [(False,)]
    connection = dashboards.stores.connection
    try:
        connection.execute(f'SET ROLE "{role}"')
        for relation in ("clicks", "sessions", "page_views", "unique_users", "funnel_sessions", "clicks_with_session"):
            connection.execute(f"SELECT * FROM {names.schema}.{relation} LIMIT 1")
        connection.execute(f"SELECT * FROM {names.schema}.funnel({CHECKOUT}, now() - interval '1 day', now())")
        for statement in ("DELETE FROM {}.clicks", "UPDATE {}.pipeline SET name = ''", "CREATE TABLE {}.mine (id int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(names.schema))
    finally:
        connection.execute("RESET ROLE")


def test_a_user_who_may_not_create_roles_is_told_who_must_and_everything_else_is_installed(pipeline: Pipeline) -> None:
    owner = f"owner_of_{pipeline.names.schema}"
    dsn = pipeline.sinks.postgres.dsn
    said: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {owner} LOGIN")
        admin.execute(f"GRANT CREATE ON DATABASE {admin.info.dbname} TO {owner}")
        theirs = psycopg.conninfo.make_conninfo(dsn, user=owner)
        sinks = msgspec.structs.replace(
            pipeline.sinks, postgres=msgspec.structs.replace(pipeline.sinks.postgres, dsn=theirs)
        )
        limited = msgspec.structs.replace(pipeline, sinks=sinks)
        set_up("postgres", limited, "install", 30, said.append)
        assert any(f"CREATE ROLE {pipeline.names.schema}_reader NOLOGIN" in line for line in said), said
        admin.execute(f"CREATE ROLE {pipeline.names.schema}_reader NOLOGIN")
        set_up("postgres", limited, "install", 30, said.append)
        seen = admin.execute(
            "SELECT has_table_privilege(%s, %s, 'SELECT')",
            [f"{pipeline.names.schema}_reader", f"{pipeline.names.schema}.clicks"],
        ).fetchone()
        assert seen == (True,)


def test_dropping_a_pipeline_drops_its_reader(pipeline: Pipeline) -> None:
    said: list[str] = []
    set_up("postgres", pipeline, "install", 30, said.append)
    set_up("postgres", pipeline, "drop", 30, said.append)
    assert f"postgres: role {pipeline.names.schema}_reader is gone" in said


def test_a_funnel_that_was_changed_yesterday_still_shows_what_it_was(dashboards, sql) -> None:
    # Tuesday 12:00 the checkout became one click: the sessions before it keep the old steps.
    pipeline = dashboards.system.pipeline
    changed = msgspec.structs.replace(
        pipeline, funnels=[Funnel("checkout", [FunnelStep("Homepage", "/"), FunnelStep("Bought", "/checkout")])]
    )
    connection = dashboards.stores.connection
    noon = datetime.fromtimestamp((dashboards.monday + (TUE + 12) * HOUR) / 1_000, UTC)
    try:
        set_up("postgres", changed, "install", 30, lambda _: None)
        sql("UPDATE funnels SET valid_to = %s WHERE version = 1 RETURNING 1", noon)
        sql("UPDATE funnels SET valid_from = %s WHERE version = 2 RETURNING 1", noon)
        assert dashboards.rows("funnels", "Versions")[0] == [
            (2, "Homepage (/) → Bought (/checkout)", (TUE + 12) * HOUR, None),
            (1, "Homepage (/) → Product (/products/*) → Checkout (/checkout)", None, (TUE + 12) * HOUR),
        ]
        # Until noon: Monday's 31, and 9:00, 10:00 and 11:00 of Tuesday, nine sessions with a homepage.
        old = dashboards.rows("funnels", "Sessions by step", version="1")
        assert old == [[("1. Homepage", 31 + 9), ("2. Product", 21 + 6), ("3. Checkout", 10 + 3)]]
        assert [name for name, _ in dashboards.rows("funnels", "Sessions by step")[0]] == ["1. Homepage", "2. Bought"]
        assert dashboards.rows("funnels", "Entered", version="2") == [[(90 - 40,)]]
    finally:
        connection.execute("DELETE FROM funnels WHERE version = 2")
        connection.execute("UPDATE funnels SET valid_to = NULL WHERE version = 1")


def test_the_check_agrees_and_names_what_somebody_changed(dashboards, sql, tmp_path: Path) -> None:
    document = tmp_path / "pipeline.json"
    document.write_bytes(dump_pipeline(dashboards.system.pipeline))

    def check() -> subprocess.CompletedProcess[str]:
        command = clickstream("check", "--settle", "0", "--pipeline", str(document))
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert (check().returncode, check().stderr) == (0, "")
    connection = dashboards.stores.connection
    ((session,),) = sql("SELECT session_id FROM session_records WHERE user_id = 'kim' AND merged_into IS NULL")
    damages = {
        "page_views_minute": ("UPDATE page_views_minute SET views = views + {} WHERE page_path = '/late'", "/late",
                              "1", "-1"),
        "active_users_hour": (
            "UPDATE active_users_hour SET user_id = '{}' WHERE user_id IN ('gus', 'nobody')", "nobody", "nobody", "gus",
        ),
        "active_users_day": (
            "UPDATE active_users_day SET user_id = '{}' WHERE user_id IN ('gus', 'nobody')", "nobody", "nobody", "gus",
        ),
        "sessions": ("UPDATE session_records SET events = events + {} WHERE user_id = 'kim'", session, "1", "-1"),
    }  # fmt: skip
    for part, (statement, named, harm, repair) in damages.items():
        connection.execute(statement.format(harm))
        try:
            found = check()
            assert found.returncode == 1, part
            assert f"{part}: " in found.stdout
            assert named in found.stdout
            assert part in found.stderr
        finally:
            connection.execute(statement.format(repair))
    # A click that is lost is missed by everything that counted it.
    lost = "event_time >= %s AND user_id = 'kim' AND page_path = '/products/a'"
    noon = datetime.fromtimestamp((dashboards.monday + (WED + 12) * HOUR) / 1_000, UTC)
    connection.execute("CREATE TABLE kept AS SELECT * FROM clicks WHERE " + lost, [noon])
    connection.execute("DELETE FROM clicks WHERE " + lost, [noon])
    try:
        found = check()
        assert found.returncode == 1
        assert {"page_views_minute", "sessions"} <= {line.split(":")[0].strip() for line in found.stdout.splitlines()}
        assert "a gap of 0:18:00" in found.stdout, "without it the other two are 18 minutes apart"
    finally:
        connection.execute("INSERT INTO clicks SELECT * FROM kept")
        connection.execute("DROP TABLE kept")
    assert check().returncode == 0
