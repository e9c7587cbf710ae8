"""A pipeline's life: changed under traffic, beside another one, suspended, deleted with and without its data."""

from __future__ import annotations

import json
import time

import psycopg
from elasticsearch import Elasticsearch

from clickstream.contracts.names import Names
from e2e.stories.conftest import modest
from e2e.stories.platform import SPACE


def templates(world, name: str) -> dict[str, dict]:
    found = world.all("deployment", f"clickstream.dev/pipeline={name}")
    return {each["metadata"]["name"]: each["spec"]["template"] for each in found}


def test_gap_funnel_image_and_write_key_change_under_load_and_no_request_fails(world, ledger):
    world.apply(*modest("changing"))
    world.until_ready("changing")
    first = templates(world, "changing")
    with world.traffic(
        "changing", ledger, rate=300, batch=20, time_scale=0.1, seconds=60, give_up_after=60
    ) as visitors:
        steps = [{"name": "Homepage", "page": "/"}, {"name": "Product", "page": "/products/*"}]
        world.apply(modest("changing", enricher={"sessionGap": "20m"}, funnels=[{"name": "shop", "steps": steps}])[1])
        world.until(
            "the enricher is rolled",
            lambda: templates(world, "changing")["changing-enricher"] != first["changing-enricher"],
        )
        world.until_ready("changing")
        again = {"name": "again", "writeKeySecretRef": {"name": "shop-write-key-2"}}
        second = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "shop-write-key-2"},
            "stringData": {"write-key": "another"},
        }
        sources = modest("changing")[1]["spec"]["sources"]
        world.apply(second, modest("changing", sources=[*sources, again], image="localhost/clickstream-apps:e2e")[1])
        world.until(
            "the tracking API is rolled",
            lambda: templates(world, "changing")["changing-tracking-api"] != first["changing-tracking-api"],
        )
        world.until_ready("changing")
        counted = world.counted(visitors)
    assert counted["unknown"] == 0, counted
    world.balanced("changing", ledger, counted["accepted"])
    print(json.dumps(counted))
    world.ours("delete", "csp", "changing", "--timeout=60s")


def test_suspended_it_collects_and_resumed_it_catches_up(world, ledger):
    world.apply(*modest("pausing"))
    world.until_ready("pausing")
    world.apply(modest("pausing", suspend=True)[1])
    world.until("it is suspended", lambda: world.condition("pausing").get("reason") == "Suspended")
    labels = (
        "clickstream.dev/pipeline=pausing,app.kubernetes.io/component in (enricher,sink-elasticsearch,sink-postgres)"
    )
    world.until("no consumer runs", lambda: not world.all("pods", labels))
    with world.traffic("pausing", ledger, events=2_000, rate=400, batch=50, time_scale=0.1) as visitors:
        counted = world.counted(visitors)
    assert counted["accepted"] > 1_900
    assert world.stored("pausing") == (0, 0)
    world.apply(modest("pausing")[1])
    world.balanced("pausing", ledger, counted["accepted"])
    world.until_ready("pausing")
    world.ours("delete", "csp", "pausing", "--timeout=60s")


def test_two_live_side_by_side_and_one_takes_its_data_along(world, ledger, tmp_path):
    """`keeping` is retained, `going` asked for its data to be deleted; neither touches the other."""
    kept, gone = tmp_path / "kept", tmp_path / "gone"
    world.apply(*modest("keeping"), *modest("going", deletionPolicy="Delete"))
    world.until_ready("keeping")
    world.until_ready("going")
    for name, path in (("keeping", kept), ("going", gone)):
        with world.traffic(name, path, events=1_000, rate=200, batch=20, time_scale=0.1) as visitors:
            accepted = world.counted(visitors)["accepted"]
        world.balanced(name, path, accepted)
    before = world.stored("keeping")
    world.ours("delete", "csp", "going", "keeping", "--timeout=180s")

    going, keeping = Names(SPACE, "going"), Names(SPACE, "keeping")
    topics = {each["metadata"]["name"] for each in world.all("kafkatopic")}
    assert not any(topic.startswith(f"{going.prefix}.") for topic in topics)
    assert keeping.raw_clicks in topics
    with psycopg.connect(world.dsn()) as connection:
        schemas = {row[0] for row in connection.execute("SELECT schema_name FROM information_schema.schemata")}
    assert going.schema not in schemas
    assert keeping.schema in schemas
    search = Elasticsearch(f"http://{world.address('elasticsearch', 9200)}")
    assert (
        search.indices.get(index=f"{going.clicks_alias}.*,{going.sessions_alias}.*", allow_no_indices=True).body == {}
    )
    assert world.stored("keeping") == before

    world.until("the children are gone", lambda: not world.all("deployment", "clickstream.dev/pipeline=keeping"))
    world.apply(*modest("keeping"))
    world.until_ready("keeping")
    time.sleep(5)  # whatever it would read again, it would have read by now
    assert world.stored("keeping") == before, (
        "a new pipeline of that name goes on with the data and counts nothing twice"
    )
    world.ours("delete", "csp", "keeping", "--timeout=60s")
