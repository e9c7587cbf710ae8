"""Break it: pods die by force, children are deleted and edited by hand; all comes back and the ledger balances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.stories.conftest import modest
from e2e.stories.platform import KAFKA, SPACE, SYSTEM, Json, Platform

PIPELINE = "clickstream.dev/pipeline=hardy"
MINE = "app.kubernetes.io/instance=hardy,app.kubernetes.io/component"
PODS = (
    f"{MINE}=tracking-api",
    f"{MINE}=enricher",
    f"{MINE}=sink-elasticsearch",
    f"{MINE}=sink-postgres",
    "app.kubernetes.io/name=elasticsearch",
    "app.kubernetes.io/name=postgres",
)
# In rounds: what is deleted together is made anew together, which is harder and quicker.
CHILDREN = (("configmap", "serviceaccount", "networkpolicy", "pdb", "hpa", "job"), ("service",), ("deployment",))
EDITS: tuple[tuple[str, str, Json], ...] = (
    ("deployment", "hardy-enricher", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}),
    ("hpa", "hardy-enricher", {"spec": {"maxReplicas": 100}}),
    ("service", "hardy-tracking-api", {"spec": {"selector": {"app.kubernetes.io/component": "enricher"}}}),
    ("configmap", "hardy-pipeline", {"data": {"pipeline.json": "{}"}}),
    ("pdb", "hardy-tracking-api", {"spec": {"maxUnavailable": 2}}),
    ("networkpolicy", "hardy-enricher", {"spec": {"policyTypes": ["Ingress"]}}),
    ("serviceaccount", "hardy-clickstream", {"automountServiceAccountToken": True}),
    ("kafkatopic", f"{SPACE}.hardy.raw-clicks", {"spec": {"config": {"retention.ms": 86_400_000}}}),
)


def running(pod: Json, but: str) -> bool:
    """Whether it is not the one that was killed, and ready."""
    states = pod["status"].get("containerStatuses", [])
    return pod["metadata"]["uid"] != but and bool(states) and all(each["ready"] for each in states)


@contextmanager
def under_load(world: Platform, ledger: Path, rate: int) -> Iterator[None]:
    """The pipeline with visitors, until the block ends; then it gets well, and every click is accounted for."""
    world.apply(*modest("hardy"))
    world.until_ready("hardy")
    steady = {"rate": rate, "batch": rate // 10, "time_scale": 0.1, "seconds": 600, "give_up_after": 120}
    with world.visitors("hardy", **steady) as visitors:
        yield
        visitors.stop()
        counted = visitors.counted(ledger)
    assert counted["unknown"] == 0
    world.until_ready("hardy")
    world.balanced("hardy", ledger, counted["accepted"])


def test_every_kind_of_pod_is_killed_under_load_and_the_ledger_balances(world, ledger):
    with under_load(world, ledger, rate=200):
        for labels in PODS:
            pod = world.all("pods", labels)[0]["metadata"]
            world.ours("delete", "pod", pod["name"], "--grace-period=0", "--force")
            world.until(
                f"a pod of {labels} is ready again",
                lambda labels=labels, uid=pod["uid"]: any(running(each, uid) for each in world.all("pods", labels)),
            )
        world.kubectl("-n", KAFKA, "delete", "pod", "--all", "--grace-period=0", "--force")
        world.kubectl("-n", KAFKA, "rollout", "status", "statefulset/kafka", "--timeout=300s")
        world.kubectl("-n", SYSTEM, "delete", "pod", "--all", "--grace-period=0", "--force")
        world.operator_is_up()


def test_every_kind_of_child_is_deleted_and_edited_under_load_and_all_is_as_it_was(world, ledger):
    with under_load(world, ledger, rate=100):
        for kinds in CHILDREN:
            first = uids(world, kinds)
            assert {kind for kind, _ in first} == set(kinds)
            for kind, name in first:
                world.ours("delete", kind, name, "--wait=false")
            world.until(f"all {kinds} are back", lambda kinds=kinds, first=first: remade(first, uids(world, kinds)))
        world.until_ready("hardy")
        mended = [(kind, name, edited(world, kind, name, edit)) for kind, name, edit in EDITS]
        for kind, name, as_before in mended:
            world.until(f"{kind} {name} is as it was", as_before)
        world.until_ready("hardy")


def made(topic: Json) -> bool:
    """Whether the Topic Operator has made the topic."""
    conditions = topic.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def uids(world, kinds: tuple[str, ...]) -> dict[tuple[str, str], str]:
    found = [(kind, each["metadata"]) for kind in kinds for each in world.all(kind, PIPELINE)]
    return {(kind, each["name"]): each["uid"] for kind, each in found}


def remade(first: dict[tuple[str, str], str], now: dict[tuple[str, str], str]) -> bool:
    """Whether there is one of each, and none of the first."""
    return now.keys() == first.keys() and not set(now.values()) & set(first.values())


def edited(world, kind: str, name: str, edit: Json):
    """Edit a child; what tells whether it is as it was before."""

    def content(whole: Json) -> Json:
        return {member: value for member, value in whole.items() if member not in {"metadata", "status"}}

    good = content(world.get(kind, name))
    # Not read again: the operator may be quicker.
    assert content(world.patch(kind, name, edit)) != good, f"the edit of {kind} {name} does something"
    return lambda: content(world.get(kind, name)) == good


def test_topics_that_somebody_deleted_come_back_and_new_clicks_flow(world, ledger, tmp_path):
    """What was in them is gone, as Strimzi says; what had been stored stays stored, and nothing hangs."""
    world.apply(*modest("hardy"))
    world.until_ready("hardy")
    with world.visitors("hardy", events=1_000, rate=200, batch=20, spoiled=0, time_scale=0.1) as visitors:
        before = visitors.counted(ledger)["accepted"]
    world.balanced("hardy", ledger, before)
    stored = world.stored("hardy")
    first = uids(world, ("kafkatopic",))
    # kubectl is not to wait: it may take the new one of the same name for the old one.
    world.kubectl("-n", KAFKA, "delete", "kafkatopic", *(name for _, name in first), "--wait=false")

    def back() -> bool:
        return remade(first, uids(world, ("kafkatopic",))) and all(map(made, world.all("kafkatopic", PIPELINE)))

    world.until("all topics are back", back)
    world.until_ready("hardy")
    with world.visitors("hardy", "-again", events=1_000, rate=200, batch=20, spoiled=0, time_scale=0.1) as visitors:
        after = visitors.counted(tmp_path / "after")["accepted"]
    world.until("new clicks are stored", lambda: min(world.stored("hardy")) >= stored[0] + after)
    assert world.stored("hardy") == (stored[0] + after, stored[1] + after)
