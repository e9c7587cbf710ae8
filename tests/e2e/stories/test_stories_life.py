"""A pipeline's life: beside another one, suspended, deleted with and without its data, left behind by its operator."""

from __future__ import annotations

import json
import time

import pytest

from clickstream.contracts.names import Names
from devstack.errors import StartError
from e2e.pipelines.surroundings import secret
from e2e.stories.conftest import modest
from e2e.stories.platform import KAFKA, KEY, RELEASE, SPACE, image_values, none_failed


def test_suspended_it_collects_and_resumed_it_catches_up(world, ledger):
    world.apply(*modest("pausing"))
    world.until_ready("pausing")
    world.apply(modest("pausing", suspend=True)[1])
    world.until("it is suspended", lambda: world.condition("pausing").get("reason") == "Suspended")
    consumers = "app.kubernetes.io/component in (enricher,sink-elasticsearch,sink-postgres)"
    world.until("no consumer runs", lambda: not world.all("pods", f"app.kubernetes.io/instance=pausing,{consumers}"))
    with world.visitors("pausing", events=2_000, rate=400, batch=50, time_scale=0.1) as visitors:
        accepted = visitors.counted(ledger)["accepted"]
    assert accepted > 1_900
    assert world.stored("pausing") == (0, 0)
    world.apply(modest("pausing")[1])
    world.balanced("pausing", ledger, accepted)
    world.until_ready("pausing")


@pytest.mark.long
def test_two_live_side_by_side_and_one_takes_its_data_along(world, tmp_path):
    """`keeping` is retained, `going` asked for its data to be deleted; neither touches the other."""
    world.apply(*modest("keeping"), *modest("going", deletionPolicy="Delete"))
    for name in ("keeping", "going"):
        world.until_ready(name)
    options = {"events": 1_000, "rate": 200, "batch": 20, "time_scale": 0.1}
    with world.visitors("keeping", **options) as one, world.visitors("going", **options) as other:
        accepted = {"keeping": one.counted(tmp_path / "keeping"), "going": other.counted(tmp_path / "going")}
    for name, counted in accepted.items():
        world.balanced(name, tmp_path / name, counted["accepted"])
    before = world.stored("keeping")
    keeping, going = Names(SPACE, "keeping"), Names(SPACE, "going")
    with world.stores() as stores:
        assert stores.have(keeping) == stores.have(going) == (True, True)
    world.ours("delete", "csp", "going", "keeping", "--timeout=180s")

    topics = {each["metadata"]["name"] for each in world.all("kafkatopic")}
    assert not any(topic.startswith(f"{going.prefix}.") for topic in topics)
    assert keeping.raw_clicks in topics
    world.until("the children are gone", lambda: not world.all("deployment", "clickstream.dev/pipeline=keeping"))
    with world.stores() as stores:
        assert stores.have(keeping) == (True, True)
        assert stores.have(going) == (False, False)
    assert world.stored("keeping") == before

    world.apply(*modest("keeping"))
    world.until_ready("keeping")
    with world.visitors("keeping", "-again", **options) as visitors:
        more = visitors.counted(tmp_path / "keeping")["accepted"]
    world.balanced("keeping", tmp_path / "keeping", accepted["keeping"]["accepted"] + more)
    assert world.stored("keeping") == tuple(count + more for count in before), "nothing of before is counted twice"


@pytest.mark.long
def test_a_namespace_goes_within_two_minutes_though_the_operator_is_gone_and_its_data_stays(world):
    space = "leaving"
    world.namespace(space)
    uri = f"postgresql://clickstream:clickstream@postgres.{SPACE}:5432/clickstream"
    postgres = secret("postgres", space, {"uri": uri})
    key, pipeline = modest("leaving")
    pipeline["spec"]["sinks"]["elasticsearch"]["url"] = f"http://elasticsearch.{SPACE}:9200"
    for each in (postgres, key, pipeline):
        world.kubectl("-n", space, "apply", "-f", "-", text=json.dumps(each))
    world.kubectl("-n", space, "wait", "csp/leaving", "--for=condition=Ready", "--timeout=240s")
    names = Names(space, "leaving")
    with world.without_operator():
        began = time.monotonic()
        world.kubectl("delete", "namespace", space, "--timeout=120s")
        print(f"namespace deletion: {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 120
    with world.stores() as stores:
        assert stores.have(names)[1], "PostgreSQL keeps the schema"
    topics = [each["metadata"]["name"] for each in world.all("kafkatopic", f"clickstream.dev/namespace={space}")]
    assert names.raw_clicks in topics
    world.kubectl("-n", KAFKA, "delete", "kafkatopic", *topics)


def test_helm_upgrade_and_uninstall_leave_pipelines_and_data_alone(world, ledger):
    world.apply(*modest("staying"))
    world.until_ready("staying")

    def pods() -> set[str]:
        return {each["metadata"]["uid"] for each in world.all("pods", "clickstream.dev/pipeline=staying")}

    steady = {"rate": 100, "batch": 10, "spoiled": 0, "time_scale": 0.1, "seconds": 600}
    with world.visitors("staying", **steady) as visitors:
        before = pods()
        world.helm("upgrade", *RELEASE, *image_values(), "--set", "operator.resyncSeconds=5")
        world.operator_is_up()
        world.until_ready("staying")
        with world.uninstalled():
            assert world.get("csp", "staying") is not None
            assert pods() == before, "nothing of the pipeline was touched"
        world.until_ready("staying")
        assert pods() == before, "it is found as it was left"
        visitors.stop()
        counted = visitors.counted(ledger)
    none_failed(counted)
    world.balanced("staying", ledger, counted["accepted"])


def test_what_is_invalid_is_refused_and_a_secret_that_comes_later_is_waited_for(world, ledger):
    key, pipeline = modest("late", enricher={"sessionGap": "soon"})
    with pytest.raises(StartError, match=r"sessionGap.*write a number and a unit"):
        world.apply(key, pipeline)
    pipeline = modest("late")[1]
    pipeline["spec"]["sources"][0]["writeKeySecretRef"] = {"name": "later"}
    world.apply(key, pipeline)

    def told() -> str:
        ready = world.condition("late")
        return ready.get("message", "") if ready.get("status") == "False" else ""

    world.until("the missing Secret is named", lambda: "later" in told())
    assert not world.all("pods", "clickstream.dev/pipeline=late,app.kubernetes.io/component=tracking-api")
    world.apply(secret("later", SPACE, {"write-key": KEY}))
    world.until_ready("late")
    with world.visitors("late", events=500, rate=100, batch=10, time_scale=0.1) as visitors:
        counted = visitors.counted(ledger)
    world.balanced("late", ledger, counted["accepted"])
