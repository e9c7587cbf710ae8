"""A pipeline at rest costs no more than a look at its Secrets, and nothing that changes goes unnoticed for it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

import pytest

from clickstream_operator import naming, reconcile
from clickstream_operator.at_rest import FULL_PASS_SECONDS, SECRETS_A_PASS, AtRest
from clickstream_operator.backlog import Known
from clickstream_operator.components import Consumer
from clickstream_operator.inputs import Images
from clickstream_operator.reconcile import Reconciler
from clickstream_operator.watches import WATCHED, Watches
from support.memory_cluster import Json, WatchedCluster, small_pipeline
from support.waiting import until

KEY = ("web", "shop")


class Lagging:
    """Stands in for what the consumers' pods say: all of them are so many seconds behind."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.refreshed = 0

    def known(self, _pipeline: tuple[str, str], consumers: Iterable[Consumer]) -> Known:
        names = [each.component for each in consumers]
        return Known(dict.fromkeys(names, time.time() - self.seconds), dict.fromkeys(names, self.seconds))

    def refresh(self, _pipeline: tuple[str, str]) -> None:
        self.refreshed += 1

    def forget(self, _pipeline: tuple[str, str]) -> None:
        """Nothing is kept."""


class Operator:
    """One pipeline in a cluster that can be watched, ready or becoming so, and what a pass over it reads."""

    def __init__(self) -> None:
        self.lagging = Lagging()
        self.cluster = WatchedCluster(small_pipeline())
        self.cluster.secrets = {
            "shop-write-keys": {"write-key": b"k"},
            "shop-postgres": {"uri": b"postgresql://pg/clicks"},
        }
        self.watches = Watches(self.cluster, ())  # type: ignore[arg-type]
        self.reconciler = Reconciler(
            self.cluster,  # type: ignore[arg-type]
            Images("apps:1"),
            15.0,
            watches=self.watches,
            backlogs=self.lagging,  # type: ignore[arg-type]
        )
        self.told: list[tuple[str, str]] = []

    def changed(self, key: tuple[str, str]) -> None:
        self.told.append(key)
        self.reconciler.changed(key)

    def reads(self) -> list[str]:
        begin = len(self.cluster.reads)
        assert self.reconciler.reconcile(*KEY).errors == ()
        return self.cluster.reads[begin:]

    def settle(self) -> None:
        until(lambda: len(self.reads()) <= SECRETS_A_PASS, "a pass at rest", 10)


@pytest.fixture
def operator():
    made = Operator()
    made.watches.start(made.changed)
    until(made.watches.in_sync, "watches are in sync")
    yield made
    made.watches.stop()
    made.cluster.close()


def test_a_pass_at_rest_reads_nothing_but_its_secrets(operator):
    operator.settle()
    secrets = ("shop-write-keys", "shop-postgres", naming.datasources("shop"))
    assert {*operator.reads(), *operator.reads()} == {f"get metadata Secret/{name}" for name in secrets}
    result = operator.reconciler.reconcile(*KEY)
    assert (result.unchanged, result.requeue_after) == (True, 15.0)


def test_every_child_that_is_deleted_or_edited_is_repaired_by_the_next_pass(operator):
    operator.settle()
    children = [key for key in operator.cluster.objects if key[0] in WATCHED]
    assert {kind for kind, *_ in children} >= {"Deployment", "ConfigMap", "NetworkPolicy", "KafkaTopic"}
    for key in children:
        told = len(operator.told)
        uid = operator.cluster.objects[key]["metadata"]["uid"]
        if key[0] in {"Job", "KafkaTopic"}:
            operator.cluster.edit(key, lambda there: there["metadata"]["labels"].pop("app.kubernetes.io/part-of"))
        else:
            operator.cluster.remove(key)
        until(lambda told=told: len(operator.told) > told, f"{key} is told")
        operator.reads()
        again = operator.cluster.objects[key]["metadata"]
        assert "app.kubernetes.io/part-of" in again["labels"]
        assert key[0] in {"Job", "KafkaTopic"} or again["uid"] != uid
        operator.settle()


def test_a_secret_that_changes_is_noticed_though_nobody_tells(operator):
    operator.settle()
    operator.cluster.secrets["shop-postgres"] = {"uri": b"postgresql://other/clicks"}
    for _ in range(2):
        operator.reads()
    assert any(each.startswith("apply Deployment/shop-sink-postgres") for each in operator.cluster.writes[-8:])


def test_news_that_change_nothing_wake_nobody(operator):
    operator.settle()
    told = len(operator.told)
    hpa = ("HorizontalPodAutoscaler", "web", "shop-enricher")
    for load in range(5):
        operator.cluster.edit(hpa, lambda there, load=load: there.update(status={"currentMetrics": [{"cpu": load}]}))
    operator.cluster.edit(hpa, lambda there: there.update(status={"currentReplicas": 3}))
    until(lambda: len(operator.told) > told, "what matters is told")
    assert len(operator.told) == told + 1


def test_while_a_consumer_is_behind_every_pass_looks_at_everything(operator):
    operator.settle()
    refreshed = operator.lagging.refreshed
    operator.reads()
    assert operator.lagging.refreshed == refreshed + 1, "its pods are asked all the same"
    operator.lagging.seconds = 90.0
    operator.changed(KEY)  # as Backlogs tells
    assert len(operator.reads()) > SECRETS_A_PASS
    assert len(operator.reads()) > SECRETS_A_PASS
    down = operator.cluster.objects["HorizontalPodAutoscaler", "web", "shop-enricher"]["spec"]["behavior"]["scaleDown"]
    assert down["selectPolicy"] == "Disabled"
    operator.lagging.seconds = 3.0
    operator.settle()
    down = operator.cluster.objects["HorizontalPodAutoscaler", "web", "shop-enricher"]["spec"]["behavior"]["scaleDown"]
    assert down["selectPolicy"] == "Max"


def test_whoever_waits_for_a_kind_is_looked_at_until_it_is_there(operator):
    operator.settle()
    operator.cluster.absent = {"ScaledObject"}
    body = operator.cluster.objects[naming.KIND, "web", "shop"]
    body["spec"]["enricher"] = {"autoscaling": {"scaler": "KEDA"}}
    body["metadata"]["generation"] += 1
    operator.changed(KEY)
    for _ in range(6):
        assert len(operator.reads()) > SECRETS_A_PASS
    assert operator.cluster.condition("shop", "AutoscalingReady")["reason"] == "KedaMissing"
    operator.cluster.absent = set()
    operator.settle()
    assert ("ScaledObject", "web", "shop-enricher") in operator.cluster.objects


def test_a_suspended_pipeline_is_at_rest_for_a_minute_at_a_time(operator, monkeypatch):
    operator.settle()
    body = operator.cluster.objects[naming.KIND, "web", "shop"]
    body["spec"]["suspend"] = True
    body["metadata"]["generation"] += 1
    operator.changed(KEY)
    operator.settle()
    assert operator.reconciler.reconcile(*KEY).unchanged
    monkeypatch.setattr(reconcile, "COUNTING_PASS_SECONDS", 0.0)
    operator.changed(KEY)
    assert len(operator.reads()) > SECRETS_A_PASS
    assert len(operator.reads()) > SECRETS_A_PASS, "what is left until clicks are lost is told anew"


def test_an_autoscaler_that_cannot_scale_costs_no_more_passes_than_one_that_can(operator, monkeypatch):
    operator.settle()
    monkeypatch.setattr(reconcile, "COUNTING_PASS_SECONDS", 0.0)
    active = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "no metrics"}
    hpa = ("HorizontalPodAutoscaler", "web", "shop-enricher")
    told = len(operator.told)
    operator.cluster.edit(hpa, lambda there: there.update(status={"conditions": [active]}))
    until(lambda: len(operator.told) > told, "it is told")
    operator.settle()
    assert operator.cluster.condition("shop", "AutoscalingReady")["status"] == "False"
    assert len(operator.reads()) <= SECRETS_A_PASS


def test_while_a_watch_is_away_every_pass_looks_at_everything(operator):
    operator.settle()
    operator.cluster.refuse = "Job"
    until(lambda: not operator.watches.in_sync(), "a watch is away")
    assert len(operator.reads()) > SECRETS_A_PASS
    assert len(operator.reads()) > SECRETS_A_PASS
    operator.cluster.refuse = None
    until(operator.watches.in_sync, "it is back", 40)
    operator.settle()


def test_what_changed_while_a_watch_was_away_is_told_when_it_is_back(operator):
    operator.settle()
    operator.cluster.refuse = "ConfigMap"
    until(lambda: not operator.watches.in_sync(), "a watch is away")
    told = len(operator.told)
    operator.cluster.remove(("ConfigMap", "web", "shop-pipeline"), silently=True)
    operator.cluster.forget_history()
    operator.cluster.refuse = None
    until(lambda: len(operator.told) > told, "the deletion is told", 40)


class Versions:
    """Secrets by name and version."""

    def __init__(self, count: int) -> None:
        self.there: dict[str, str | None] = {f"s{number}": "1" for number in range(count)}
        self.asked: list[str] = []

    def version(self, _kind: str, _namespace: str, name: str) -> str | None:
        self.asked.append(name)
        return self.there.get(name)


@pytest.mark.parametrize("count", [0, 1, 3, 7, 20])
def test_of_many_secrets_each_gets_its_turn(count):
    secrets = Versions(count)
    rest = AtRest(secrets, lambda: True)  # type: ignore[arg-type]
    rest.settle(KEY, rest.mark(KEY), secrets.there, 300)
    passes = -(-count // SECRETS_A_PASS)
    for _ in range(passes):
        begin = len(secrets.asked)
        assert rest.holds(KEY)
        assert len(secrets.asked) - begin <= SECRETS_A_PASS
    assert {*secrets.asked} == {*secrets.there}
    if count:
        name = random.choice(sorted(secrets.there))
        secrets.there[name] = None
        assert not all(rest.holds(KEY) for _ in range(passes)), f"{name} is gone"


def test_a_change_during_the_full_pass_is_not_lost():
    rest = AtRest(Versions(0), lambda: True)  # type: ignore[arg-type]
    mark = rest.mark(KEY)
    rest.changed(KEY)
    rest.settle(KEY, mark, {}, 300)
    assert not rest.holds(KEY)


def test_rest_ends_after_its_time_and_while_changes_may_go_untold():
    now, watched = [0.0], [True]
    rest = AtRest(Versions(0), lambda: watched[0], lambda: now[0])  # type: ignore[arg-type]
    rest.settle(KEY, rest.mark(KEY), {}, FULL_PASS_SECONDS)
    assert rest.holds(KEY)
    watched[0] = False
    assert not rest.holds(KEY)
    assert rest.mark(KEY) is None
    watched[0] = True
    now[0] = FULL_PASS_SECONDS
    assert not rest.holds(KEY)
    rest.settle(KEY, None, {}, FULL_PASS_SECONDS)
    assert not rest.holds(KEY)


def upgraded(cluster: WatchedCluster, rollouts: int) -> Reconciler:
    return Reconciler(cluster, Images("apps:2"), 15.0, rollouts=rollouts)  # type: ignore[arg-type]


def image(cluster: WatchedCluster, name: str) -> str:
    pod: Json = cluster.objects["Deployment", "web", f"{name}-enricher"]["spec"]["template"]["spec"]
    found: str = pod["containers"][0]["image"]
    return found


def test_a_new_release_changes_so_many_pipelines_at_once_and_the_next_when_these_are_ready():
    names = [f"shop{number}" for number in range(5)]
    cluster = WatchedCluster(*(small_pipeline(name) for name in names))
    cluster.secrets = {"shop-write-keys": {"write-key": b"k"}, "shop-postgres": {"uri": b"postgresql://pg/clicks"}}
    old = Reconciler(cluster, Images("apps:1"), 15.0)  # type: ignore[arg-type]
    for name in names * 3:
        old.reconcile("web", name)
    assert all(cluster.condition(name)["status"] == "True" for name in names), cluster.condition(names[0])

    cluster.deployments_work = False
    new = upgraded(cluster, rollouts=2)
    for name in names * 3:
        new.reconcile("web", name)
    assert [image(cluster, name) for name in names] == ["apps:2"] * 2 + ["apps:1"] * 3
    assert cluster.condition("shop4")["status"] == "True", "who waits is as ready as before"

    cluster.edit((naming.KIND, "web", "shop4"), lambda there: there["metadata"].update(generation=2))
    new.reconcile("web", "shop4")
    assert image(cluster, "shop4") == "apps:2", "a user's change does not wait"

    cluster.run_deployments()
    for name in names * 4:
        new.reconcile("web", name)
    assert {image(cluster, name) for name in names} == {"apps:2"}
