"""`clickstream setup`: runs again, twice at once, waits, and never touches what belongs to somebody else."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from clickstream.contracts.pipeline import dump_pipeline
from clickstream.setup.exit_codes import ExitCode
from clickstream.sinks.elasticsearch.templates import TEMPLATE_VERSION

STORES = ("elasticsearch", "postgres")


@pytest.fixture
def setup(tmp_path):
    """Runs or starts the command."""

    def command(pipeline, *arguments):
        path = tmp_path / f"{pipeline.namespace}.{pipeline.name}.json"
        path.write_bytes(dump_pipeline(pipeline))
        return [sys.executable, "-m", "clickstream.cli", "setup", *arguments, "--pipeline", str(path)]

    def run(pipeline, *arguments):
        return subprocess.run(command(pipeline, *arguments), check=False, capture_output=True, text=True, timeout=120)

    run.start = lambda pipeline, *arguments: subprocess.Popen(
        command(pipeline, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return run


def test_several_setups_at_once_and_one_more_install_everything_once(setup, pipeline, stores):
    started = [setup.start(pipeline, "all") for _ in range(3)]
    for process in started:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    before = stores.sql("SELECT * FROM schema_migrations"), stores.sql("SELECT * FROM funnels ORDER BY 1, 2, 3")
    again = setup(pipeline, "all")
    assert again.returncode == 0, again.stderr
    assert "is applied" not in again.stdout.replace("retention of", "").replace("d is applied", "")
    assert (
        stores.sql("SELECT * FROM schema_migrations"),
        stores.sql("SELECT * FROM funnels ORDER BY 1, 2, 3"),
    ) == before
    assert stores.sql("SELECT namespace, name, time_zone FROM pipeline") == [("it", pipeline.name, "UTC")]
    assert [row[:3] for row in before[1]] == [("checkout", 1, 1), ("checkout", 1, 2), ("checkout", 1, 3)]
    assert stores.sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'clicks'::regclass") == [(5,)]
    template = stores.es.indices.get_index_template(name=pipeline.names.clicks_alias)["index_templates"][0]
    assert template["index_template"]["version"] == TEMPLATE_VERSION


def test_a_schema_of_another_pipeline_is_refused_and_stays_as_it_is(setup, pipeline, stores):
    stores.set_up("postgres")
    other = msgspec.structs.replace(pipeline, namespace="another-team")
    for arguments in (["postgres"], ["postgres", "--drop"], ["postgres", "--retention-only"]):
        refused = setup(other, *arguments)
        assert refused.returncode == ExitCode.CONFLICT, refused.stderr
        assert f"belongs to pipeline it/{pipeline.name}, not to another-team/{pipeline.name}" in refused.stderr
    assert stores.sql("SELECT namespace FROM pipeline") == [("it",)]


def test_a_schema_that_somebody_else_made_is_refused_unless_it_is_empty(setup, pipeline, stores):
    schema = pipeline.names.schema
    stores.sql(f"CREATE SCHEMA {schema}")
    stores.sql(f"CREATE TABLE {schema}.precious (id int)")
    for arguments in (["postgres"], ["postgres", "--drop"]):
        refused = setup(pipeline, *arguments)
        assert refused.returncode == ExitCode.CONFLICT
        assert "clickstream did not make" in refused.stderr
    stores.sql(f"DROP TABLE {schema}.precious")
    assert setup(pipeline, "postgres").returncode == 0


def test_a_newer_schema_or_template_is_left_alone_and_the_sinks_go_on(
    setup, pipeline, stores, open_sink, records, make_click
):
    sinks = {store: open_sink(store) for store in STORES}
    stores.sql("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'future', '')")
    name = pipeline.names.clicks_alias
    body = stores.es.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
    body = {key: value for key, value in body.items() if "date" not in key} | {"version": 999}
    stores.es.indices.put_index_template(name=name, body=body)
    for store in STORES:
        done = setup(pipeline, store)
        assert done.returncode == 0, "a rollback is no failure"
        assert "newer than this release's" in done.stdout + done.stderr
        assert sinks[store].write(records(make_click("e"))).stored["click"] == 1
    assert stores.es.indices.get_index_template(name=name)["index_templates"][0]["index_template"]["version"] == 999
    assert stores.sql("SELECT max(version) FROM schema_migrations") == [(999,)]


def test_a_migration_that_was_changed_afterwards_is_noticed(setup, pipeline, stores):
    stores.set_up("postgres")
    stores.sql("UPDATE schema_migrations SET checksum = 'other'")
    refused = setup(pipeline, "postgres")
    assert refused.returncode == ExitCode.CONFLICT
    assert "was changed after it was applied" in refused.stderr


def test_drop_removes_everything_of_this_pipeline_and_nothing_of_the_next(
    setup, new_pipeline, stores_of, pipeline, stores, open_sink, records, make_click, make_session
):
    neighbour = new_pipeline(name=f"{pipeline.name}-eu")
    near = stores_of(neighbour)
    near.set_up()
    for store in STORES:
        assert open_sink(store).write(records(make_click("e"), make_session("2026-01-01-a", 1))).later == []
    gone = setup(pipeline, "all", "--drop")
    assert gone.returncode == 0, gone.stderr
    assert stores.sql("SELECT count(*) FROM pg_namespace WHERE nspname = %s", pipeline.names.schema) == [(0,)]
    assert stores.es.indices.get(index=f"{pipeline.names.index_prefix}.*", expand_wildcards="all").body == {}
    assert not stores.es.indices.exists_index_template(name=pipeline.names.clicks_alias)
    assert near.es.indices.exists_index_template(name=neighbour.names.clicks_alias)
    assert near.sql("SELECT name FROM pipeline") == [(neighbour.name,)]
    assert setup(pipeline, "all", "--drop").returncode == 0, "nothing left to drop is no error"


@pytest.mark.parametrize("store", STORES)
def test_a_store_that_does_not_come_is_waited_for_only_so_long(store, setup, pipeline):
    sinks = {"elasticsearch": {"url": "http://127.0.0.1:9"}, "postgres": {"dsn": "postgresql://u:hush@127.0.0.1:9/x"}}
    document = msgspec.json.decode(dump_pipeline(pipeline)) | {"sinks": sinks}
    away = msgspec.convert(document, type(pipeline))
    late = setup(away, store, "--timeout", "1")
    assert late.returncode == ExitCode.UNREACHABLE
    assert "waiting, " in late.stdout
    assert "gave up after 1 s" in late.stderr
    assert "hush" not in late.stdout + late.stderr


def test_a_time_zone_that_is_none_and_a_store_that_is_not_wanted_are_settings_errors(setup, pipeline):
    nowhere = setup(msgspec.structs.replace(pipeline, time_zone="Mars/Olympus"), "postgres")
    assert nowhere.returncode == ExitCode.SETTINGS
    assert "no time zone 'Mars/Olympus'" in nowhere.stderr
    none = setup(msgspec.structs.replace(pipeline, sinks=type(pipeline.sinks)()), "postgres")
    assert none.returncode == ExitCode.SETTINGS
    assert "has no sinks.postgres" in none.stderr


def test_a_changed_funnel_gets_a_version_and_old_sessions_keep_theirs(
    new_pipeline, pipeline, stores, stores_of, open_sink, records, make_session
):
    sink = open_sink("postgres")
    sink.write(records(make_session("2026-01-01-old", 1, funnels={"checkout": 3})))
    document = msgspec.json.decode(dump_pipeline(pipeline))
    document["funnels"] = [
        {"name": "checkout", "steps": [{"name": "Cart", "page": "/cart"}]},
        {"name": "signup", "steps": [{"name": "Form", "page": "/signup"}]},
    ]
    changed = msgspec.convert(document, type(pipeline))
    after = stores_of(changed)
    after.set_up("postgres")
    in_force = after.sql("SELECT funnel, version, step_name FROM funnels WHERE valid_to IS NULL ORDER BY 1")
    assert in_force == [("checkout", 2, "Cart"), ("signup", 1, "Form")]
    future = 4_102_444_800_000
    sink.write(
        records(make_session("2100-01-01-new", 2, start=future, end=future, funnels={"checkout": 1, "signup": 1}))
    )
    found = after.sql("SELECT funnel, version, step, sessions::int FROM funnel_results ORDER BY 1, 2, 3")
    assert found == [
        ("checkout", 1, 1, 1),
        ("checkout", 1, 2, 1),
        ("checkout", 1, 3, 1),
        ("checkout", 2, 1, 1),
        ("signup", 1, 1, 1),
    ]
