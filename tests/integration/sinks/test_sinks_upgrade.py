"""A release with a new field meets the indices of the release before: no click becomes a dead letter."""

from __future__ import annotations

import msgspec
import pytest

from clickstream.contracts.session_records import Retraction
from clickstream.sinks.elasticsearch import installation
from clickstream.sinks.elasticsearch.templates import TEMPLATE_VERSION, templates
from clickstream.sinks.main import make_sink

FIELDS = {"clicks": ("title", "campaign_term"), "sessions": ("country",)}


@pytest.fixture
def before(pipeline, stores):
    """Installs the templates as the release before had them: a version less, without some fields."""
    names, spec = pipeline.names, pipeline.sinks.elasticsearch
    for name, body in templates(names, spec).items():
        older = msgspec.json.decode(msgspec.json.encode(body)) | {"version": TEMPLATE_VERSION - 1}
        for field in FIELDS[name.rsplit(".", 1)[1]]:
            del older["template"]["mappings"]["properties"][field]
        stores.es.indices.put_index_template(name=name, body=older)
    return names


def test_every_index_has_the_new_fields_before_a_sink_writes_them(
    before, pipeline, stores, records, make_click, make_session
):
    indices = [
        before.clicks_index("2026-01-01"),
        before.clicks_index("undated"),
        before.sessions_index("2026-01-01"),
        before.sessions_index("undated"),
    ]
    for index in indices:
        stores.es.indices.create(index=index)
    closed = before.clicks_index("2025-12-31")
    stores.es.indices.create(index=closed)
    stores.es.indices.put_settings(index=closed, settings={"index.blocks.read_only": True})
    sink = make_sink("elasticsearch", pipeline)
    at = 1_767_261_600_000
    what = records(
        make_click("dated", timestamp=at, title="t", campaign_term="c"),
        make_click("undated", timestamp=1, storage_day="undated", title="t"),
        make_session("2026-01-01-a", 1, country="DE"),
        make_session("undated-a", 1),
        Retraction("undated-b", 1, "undated-a"),
    )
    waiting = sink.write(what)
    assert len(waiting.later) == len(what)
    assert "run `clickstream setup elasticsearch`" in waiting.trouble

    told = []
    installation.install(stores.es, before, pipeline.sinks.elasticsearch, told.append)
    outcome = sink.write(waiting.later)
    assert sum(outcome.stored.values()) == len(what)
    assert (outcome.refused, outcome.blocked, outcome.later) == ([], [], [])
    assert stores.search(indices[0])[0]["_source"]["title"] == "t"
    assert stores.es.count(index=indices[0], query={"term": {"campaign_term": "c"}})["count"] == 1, "it can be searched"
    assert any(closed in text and "make it writable and run setup again" in text for text in told)

    late = sink.write(records(make_click("closed", timestamp=at - 86_400_000)))
    assert (len(late.blocked), late.refused) == (1, []), "an index that could not be changed parks its clicks"
    stores.es.indices.put_settings(index=closed, settings={"index.blocks.read_only": None})
    told.clear()
    installation.install(stores.es, before, pipeline.sinks.elasticsearch, told.append)
    assert sink.write(late.blocked).stored["click"] == 1
    told.clear()
    installation.install(stores.es, before, pipeline.sinks.elasticsearch, told.append)
    assert not any("new fields" in text for text in told), "once more changes nothing"
    sink.close()


def test_an_index_that_an_old_sink_makes_while_setup_runs_gets_the_fields_too(
    before, pipeline, stores, records, make_click
):
    index = before.clicks_index("2026-01-01")
    real = stores.es.indices.put_index_template

    def slow(**what):
        if not stores.es.indices.exists(index=index):
            stores.es.indices.create(index=index)
        return real(**what)

    stores.es.indices.put_index_template = slow
    installation.install(stores.es, before, pipeline.sinks.elasticsearch, print)
    sink = make_sink("elasticsearch", pipeline)
    assert sink.write(records(make_click("e", timestamp=1_767_261_600_000, title="t"))).stored["click"] == 1
    sink.close()
