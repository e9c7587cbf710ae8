"""The documented privileges are enough, none of them is too much, and without one the log says which it is.

The node has no security module: `support.elasticsearch_security` is a stand-in for it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.replays import Replay
from clickstream.setup.exit_codes import SetupError
from clickstream.setup.main import set_up
from clickstream.sinks.main import make_sink
from clickstream.sinks.sink import MaintenanceError
from support.elasticsearch_security import USER, SecurityProxy, documented_roles, privileges, without

DAY = 86_400_000
NAMES = documented_roles("x")
EACH = [(name, *each) for name in ("setup", "sink") for each in privileges(NAMES[name])]


@pytest.fixture
def behind(pipeline: Pipeline) -> Iterator[Callable[..., tuple[SecurityProxy, Pipeline]]]:
    """Puts a role's proxy in front of the store: the proxy, and the pipeline that goes through it, with three days of
    retention."""
    started: list[SecurityProxy] = []

    def make(role: dict[str, Any]) -> tuple[SecurityProxy, Pipeline]:
        assert pipeline.sinks.elasticsearch is not None
        proxy = SecurityProxy(pipeline.sinks.elasticsearch.url, role)
        started.append(proxy)
        spec = msgspec.structs.replace(pipeline.sinks.elasticsearch, url=proxy.url, retention="3d")
        return proxy, msgspec.structs.replace(
            pipeline, sinks=msgspec.structs.replace(pipeline.sinks, elasticsearch=spec)
        )

    yield make
    for proxy in started:
        proxy.close()


@pytest.fixture
def work(pipeline, stores, records, make_click, make_session):
    """All that the processes do with Elasticsearch, by role; what the sink says is returned, set-up raises."""

    def as_setup(mine: Pipeline) -> str:
        old = int(time.time() * 1_000) - 6 * DAY
        set_up("elasticsearch", mine, "install", 0, print)
        # An index of a release before: a field is missing.
        stores.es.indices.create(index=pipeline.names.clicks_index("2026-01-01"), mappings={"properties": {}})
        sink = make_sink("elasticsearch", pipeline)
        aged = [("old", {}), ("undated", {"storage_day": "undated"})]
        sink.write(records(*(make_click(name, timestamp=old, received_at=old, **more) for name, more in aged)))
        sink.close()
        for job in ("install", "retention", "drop"):
            set_up("elasticsearch", mine, job, 0, print)
        return ""

    def as_sink(mine: Pipeline) -> str:
        stores.set_up("elasticsearch")
        sink = make_sink("elasticsearch", mine)
        old = int(time.time() * 1_000) - 6 * DAY
        first = records(make_click("a"), make_click("u", timestamp=old, received_at=old, storage_day="undated"))
        said = [sink.write(first).trouble, sink.write(records(make_click("a"), make_click("a", user_id="b"))).trouble]
        said.append(sink.write(records(make_session("2026-01-01-s1", 1))).trouble)
        changed = [dataclasses.replace(one, replay=Replay(1, False)) for one in records(make_click("a", title="new"))]
        said.append(sink.write(changed).trouble)
        try:
            sink.maintain()
        except MaintenanceError as error:
            said.append(str(error))
        sink.close()
        return "\n".join(one for one in said if one)

    return {"setup": as_setup, "sink": as_sink}


@pytest.mark.parametrize("name", ["setup", "sink"])
def test_the_documented_privileges_are_enough_and_each_is_used(name, pipeline, behind, work):
    role = documented_roles(pipeline.names.index_prefix)[name]
    proxy, mine = behind(role)
    assert work[name](mine) == ""
    assert proxy.refused == []
    assert proxy.used == set(privileges(role))


@pytest.mark.parametrize(("name", "kind", "privilege"), EACH)
def test_without_one_of_them_it_is_named(name, kind, privilege, pipeline, behind, work):
    proxy, mine = behind(without(documented_roles(pipeline.names.index_prefix)[name], kind, privilege))
    try:
        said = work[name](mine)
    except SetupError as error:
        said = str(error)
    assert proxy.refused
    if (name, privilege) != ("setup", "monitor"):  # all that it is for can be done without: see below
        assert privilege in said.replace(",", " ").split()
    assert USER not in said


def test_without_monitor_set_up_does_not_look_at_the_product_and_all_else_works(pipeline, behind, work):
    proxy, mine = behind(without(documented_roles(pipeline.names.index_prefix)["setup"], "cluster", "monitor"))
    assert work["setup"](mine) == ""
    assert {one.partition(":")[0] for one in proxy.refused} == {"GET /"}
