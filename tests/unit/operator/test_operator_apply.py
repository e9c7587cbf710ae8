"""What is applied again, what is left alone, and what is deleted: never anything of somebody else's."""

from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from clickstream_operator import naming
from clickstream_operator.attempts import attempts
from clickstream_operator.backlog import Known
from clickstream_operator.cluster import ClusterError
from clickstream_operator.desired.child_object import ChildKey, ChildObject
from clickstream_operator.inputs import Images
from clickstream_operator.mounts import all_keys
from clickstream_operator.reconcile import Reconciler
from clickstream_operator.spec import parse_spec
from support.golden import FOLDER
from support.memory_cluster import Json, MemoryCluster

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = (naming.KIND, "web", "shop")


class World:
    """A cluster in memory whose topics are compared and ready, and an operator that may be started anew."""

    def __init__(self, **changes: object) -> None:
        body = yaml.safe_load((FOLDER / "minimal" / "pipeline.yaml").read_text())
        body["spec"] |= changes
        self.cluster = MemoryCluster(body, admit=self.admit)
        for key in all_keys(parse_spec(body["spec"])):
            self.cluster.secrets.setdefault(key.secret, {})[key.key] = b"postgresql://reader@pg/clicks"
        self.now = NOW
        self.start()

    def admit(self, manifest: Json) -> Json:
        if manifest["kind"] == "KafkaTopic":
            manifest["status"] = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}
        if manifest["kind"] == "Job" and manifest["metadata"]["name"].startswith("shop-setup-topics-"):
            manifest["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        return manifest

    def start(self) -> None:
        self.reconciler = Reconciler(self.cluster, Images("apps:1"), 15.0, lambda: self.now)  # type: ignore[arg-type]

    def writes(self) -> list[str]:
        """What a pass writes to children."""
        begin = len(self.cluster.writes)
        assert self.reconciler.reconcile("web", "shop").errors == ()
        return [each for each in self.cluster.writes[begin:] if not each.startswith("patch")]

    def settle(self) -> None:
        """Make passes until one writes nothing."""
        assert any(self.writes() == [] for _ in range(10)), "every pass writes something"

    def condition(self, kind: str) -> Json:
        conditions = self.cluster.objects[KEY]["status"]["conditions"]
        return next(each for each in conditions if each["type"] == kind)

    def jobs(self, what: str) -> list[str]:
        return sorted(name for kind, _, name in self.cluster.objects if kind == "Job" and f"setup-{what}" in name)

    def end(self, name: str, how: str) -> None:
        ended = {"type": how, "status": "True", "lastTransitionTime": self.now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        self.cluster.objects["Job", "web", name]["status"] = {"conditions": [ended]}


class Mirror(World):
    """A webhook writes images anew, drops an environment variable and adds a sidecar."""

    mirror = "mirror.example"

    def admit(self, manifest: Json) -> Json:
        manifest = super().admit(manifest)
        if manifest["kind"] in {"Deployment", "Job"}:
            pod = manifest["spec"]["template"]["spec"]
            pod["containers"][0]["image"] = f"{self.mirror}/apps:1"
            pod["containers"][0]["env"] = pod["containers"][0]["env"][1:]
            pod["containers"].append({"name": "sidecar", "image": "sidecar:1"})
            there = self.cluster.objects.get((manifest["kind"], "web", manifest["metadata"]["name"]))
            if manifest["kind"] == "Job" and there is not None and there["spec"] != manifest["spec"]:
                raise ClusterError(422, "spec.template: field is immutable")
        return manifest


def test_what_a_webhook_has_rewritten_is_no_drift():
    world = Mirror()
    world.settle()
    assert world.writes() == []
    world.start()  # it is not known any more what came back: each is applied once, and nothing changes
    before = copy.deepcopy(world.cluster.objects)
    assert {each.partition("/")[0] for each in world.writes()} == {"apply Deployment", "apply Job"}
    assert world.cluster.objects == before
    assert world.writes() == []


@pytest.mark.parametrize("edit", ["image", "args", "extra"])
def test_a_change_by_hand_is_drift_also_where_a_webhook_rewrites(edit):
    world = Mirror()
    world.settle()
    container = world.cluster.objects["Deployment", "web", "shop-enricher"]["spec"]["template"]["spec"]["containers"][0]
    good = copy.deepcopy(container)
    container |= {"image": {"image": "evil:1"}, "args": {"args": ["sleep"]}, "extra": {"extra": 1}}[edit]
    assert world.writes() == ([] if edit == "extra" else ["apply Deployment/shop-enricher"])
    after = world.cluster.objects["Deployment", "web", "shop-enricher"]["spec"]["template"]["spec"]["containers"][0]
    assert edit == "extra" or after == good
    assert world.writes() == []


def test_a_job_that_cannot_be_changed_any_more_is_made_again():
    world = Mirror()
    world.settle()
    (name,) = world.jobs("elasticsearch")
    world.mirror = "moved.example"
    world.start()
    assert f"delete Job/{name}" in world.writes()
    world.settle()
    made = world.cluster.objects["Job", "web", name]["spec"]["template"]["spec"]["containers"][0]
    assert made["image"] == "moved.example/apps:1"
    assert world.condition("StoresReady")["reason"] == "SettingUp"


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_an_api_server_that_is_busy_for_one_child_is_no_alarm(status):
    world = World()
    world.settle()
    inner = world.admit

    def busy(manifest: Json) -> Json:
        if manifest["kind"] == "PodDisruptionBudget":
            raise ClusterError(status, "too many requests")
        return inner(manifest)

    world.cluster.admit = busy
    del world.cluster.objects["PodDisruptionBudget", "web", "shop-tracking-api"]
    result = world.reconciler.reconcile("web", "shop")
    told = {each.type: each for each in result.transitions}["TrackingReady"]
    assert (told.reason, told.severe) == ("ApiServerBusy", False)
    assert result.requeue_after == 15.0, "no more often than at rest: it is busy"
    world.cluster.admit = inner
    assert world.writes() == ["apply PodDisruptionBudget/shop-tracking-api"]
    assert world.condition("TrackingReady")["reason"] != "ApiServerBusy"


def test_a_failed_job_keeps_its_logs_for_an_hour_and_is_tried_again_more_and_more_slowly():
    world = World()
    world.settle()
    (base,) = world.jobs("postgres")
    tried = {base: 0.0}
    ended: set[str] = set()
    for minute in range(3 * 60):
        world.now = NOW + timedelta(minutes=minute)
        for name in set(world.jobs("postgres")) - ended:
            world.end(name, "Failed")
            ended.add(name)
        world.settle()
        there = set(world.jobs("postgres"))
        for name in there - set(tried):
            tried[name] = minute
        for name in ended - there:
            ended.discard(name)
            assert minute - tried.pop(name) >= 60, "its logs are gone too soon"
        assert len(there) <= 9
        assert world.condition("StoresReady")["reason"] in {"SetupFailed", "SettingUp"}
    times = sorted(tried.values())
    assert max(later - sooner for sooner, later in itertools.pairwise(times)) in {10, 11}
    newest = max(tried, key=lambda name: tried[name])
    world.cluster.objects["Job", "web", newest].pop("status", None)
    world.end(newest, "Complete")
    world.settle()
    assert world.jobs("postgres") == [newest], "the others' logs are of no use any more"
    assert world.writes() == []


def test_the_pauses_between_attempts_double():
    key = ChildKey("Job", "web", "shop-setup-postgres-abc")
    child = ChildObject({"kind": "Job", "metadata": {"name": key.name, "namespace": "web"}}, "postgres")
    live: dict[ChildKey, Any] = {}
    begun = []
    for second in range(0, 1_300, 5):
        now = NOW + timedelta(seconds=second)
        wanted = attempts([child], live, now).desired[0].key
        if wanted not in live:
            begun.append(second)
            failed = {"type": "Failed", "status": "True", "lastTransitionTime": now.isoformat()}
            live[wanted] = {"metadata": {}, "status": {"conditions": [failed]}}
    assert begun == [0, 60, 180, 420, 900]


@pytest.mark.parametrize("since", [..., None, "yesterday", "2026-03-01", "2099-01-01T00:00:00Z"])
def test_a_failed_job_whose_time_is_odd_is_tried_again(since):
    condition = {} if since is ... else {"lastTransitionTime": since}
    key = ChildKey("Job", "web", "shop-setup-postgres-abc")
    child = ChildObject({"kind": "Job", "metadata": {"name": key.name, "namespace": "web"}}, "postgres")
    job = {"metadata": {}, "status": {"conditions": [{"type": "Failed", "status": "True"} | condition]}}
    assert attempts([child], {key: job}, NOW).desired[0].key != key


FOREIGN = {
    "Service": {"spec": {"type": "LoadBalancer"}},
    "ConfigMap": {"data": {}},
    "Job": {"spec": {}},
    "Deployment": {"spec": {}},
    "KafkaTopic": {"spec": {}},
}


@pytest.mark.parametrize("owners", [None, [{"kind": "Application", "name": "other", "uid": "another"}]])
@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_what_is_only_labelled_like_a_child_is_never_touched(owners, policy):
    """So that `kubectl get all -l clickstream.dev/pipeline=shop` shows it."""
    world = World(deletionPolicy=policy)
    foreign = {}
    for kind, rest in FOREIGN.items():
        meta = {"name": "mine", "namespace": "web", "uid": kind, "labels": naming.labels("web", "shop", "tracking-api")}
        if owners is not None:
            meta |= {"ownerReferences": owners, "annotations": {naming.APPLIED_ANNOTATION: "copied"}}
        foreign[kind, "web", "mine"] = {"kind": kind, "metadata": meta} | rest
    world.cluster.objects |= copy.deepcopy(foreign)
    world.settle()
    body = world.cluster.objects[KEY]
    body["spec"]["dashboards"] = {"enabled": False}
    world.settle()
    assert ("ConfigMap", "web", "shop-dashboard-live") not in world.cluster.objects, "what is ours is pruned"
    body["metadata"]["deletionTimestamp"] = "now"
    for _ in range(20):
        for name in [name for kind, _, name in world.cluster.objects if kind == "Job" and "drop" in name]:
            world.end(name, "Complete")
        world.reconciler.reconcile("web", "shop")
    if policy == "Delete":
        assert KEY not in world.cluster.objects, "it is gone with all that was its own"
    assert foreign.items() <= world.cluster.objects.items()


def test_a_child_of_an_earlier_pipeline_is_waited_for_and_named():
    world = World()
    world.settle()
    for each in world.cluster.objects.values():
        for owner in each["metadata"].get("ownerReferences", []):
            owner["uid"] = "an earlier one"
    world.reconciler.reconcile("web", "shop")
    told = world.condition("TrackingReady")
    assert (told["status"], told["reason"]) == ("False", "WaitingForDeletion")
    assert "of an earlier pipeline of this name" in told["message"]


def test_labels_of_the_users_never_take_the_place_of_the_childs_own():
    own = naming.labels("web", "shop", naming.DASHBOARDS)
    stolen = dict.fromkeys(own, "stolen") | {"grafana_dashboard": "1"}
    world = World(dashboards={"labels": stolen, "datasources": {"labels": stolen}})
    world.settle()
    for key in (("ConfigMap", "web", "shop-dashboard-live"), ("Secret", "web", "shop-grafana-datasources")):
        labels = world.cluster.objects[key]["metadata"]["labels"]
        assert labels.items() >= own.items()
        assert labels["grafana_dashboard"] == "1"
    assert world.writes() == []


def test_nothing_without_an_owner_has_the_label_by_which_argo_cd_takes_it():
    """gitops-engine takes an object without owner for an Application's when `instance` names that."""
    world = World(deletionPolicy="Delete")
    world.settle()
    world.cluster.objects[KEY]["metadata"]["deletionTimestamp"] = "now"
    for _ in range(3):
        world.reconciler.reconcile("web", "shop")
    unowned = [each for key, each in world.cluster.objects.items() if not each["metadata"].get("ownerReferences")]
    kinds = {each["kind"] for each in unowned} - {naming.KIND}
    assert {"Job", "KafkaTopic", "ConfigMap"} <= kinds
    for each in unowned:
        assert "app.kubernetes.io/instance" not in each["metadata"].get("labels", {}), each["kind"]
        if each["kind"] == "KafkaTopic":
            assert each["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"


class Working(World):
    """Every child does what it is for, with as many replicas as are wanted; autoscalers say `hpa`."""

    def __init__(self, hpa: Json | None = None, **changes: object) -> None:
        self.hpa = hpa or {}
        super().__init__(**changes)

    def admit(self, manifest: Json) -> Json:
        manifest = super().admit(manifest)
        if manifest["kind"] == "Job":
            manifest["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        if manifest["kind"] == "Deployment":
            count = manifest["spec"].setdefault("replicas", 1)
            names = ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")
            manifest["status"] = {"observedGeneration": 1} | dict.fromkeys(names, count)
        return manifest

    def settle(self) -> None:
        super().settle()
        for key, live in self.cluster.objects.items():
            if key[0] == "HorizontalPodAutoscaler":
                live["status"] = {"conditions": [{"type": "ScalingActive", "message": "m"} | self.hpa]}
        super().settle()


NO_METRICS = {"status": "False", "reason": "FailedGetResourceMetric"}
FULL = {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}


@pytest.mark.parametrize(
    ("hpa", "enricher", "status", "reason", "told"),
    [
        ({"status": "True", "reason": "ValidMetricFound"}, {}, "True", "Scaling", "4 autoscalers are at work"),
        (NO_METRICS, {}, "False", "FailedGetResourceMetric", "tracking-api: m"),
        (NO_METRICS, {"resources": {"requests": {"memory": "1Gi"}}}, "False", "RequestsMissing", "enricher: its pods"),
        (FULL, {}, "True", "AtMaximum", "tracking-api has its 10 replicas"),
        (NO_METRICS, {"autoscaling": {"scaler": "KEDA"}}, "False", "FailedGetResourceMetric", "tracking-api: m"),
    ],
)
def test_what_keeps_an_autoscaler_from_scaling_is_told_and_is_no_outage(
    hpa: Json, enricher: Json, status: str, reason: str, told: str
) -> None:
    world = Working(hpa, enricher=enricher)
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    found = world.condition("AutoscalingReady")
    assert (found["status"], found["reason"]) == (status, reason)
    assert told in found["message"]


def test_keda_that_is_missing_is_told_and_the_rest_goes_on() -> None:
    world = Working(enricher={"autoscaling": {"scaler": "KEDA"}})
    world.cluster.serves = lambda kind: kind != "ScaledObject"  # type: ignore[method-assign]
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("AutoscalingReady")["reason"] == "KedaMissing"
    kinds = {kind for kind, *_ in world.cluster.objects}
    assert "ScaledObject" not in kinds
    assert ("HorizontalPodAutoscaler", "web", "shop-enricher") not in world.cluster.objects


def test_suspended_it_is_suspended_and_nothing_else() -> None:
    world = Working()
    world.settle()
    world.cluster.objects[KEY]["spec"]["suspend"] = True
    world.settle()
    world.now += timedelta(minutes=1)
    world.settle()
    reasons = {each["type"]: each["reason"] for each in world.cluster.objects[KEY]["status"]["conditions"]}
    assert reasons == {
        "TopicsReady": "Ready", "StoresReady": "SetUp", "TrackingReady": "Available", "EnricherReady": "Suspended",
        "SinksReady": "Suspended", "DashboardsReady": "Written", "AutoscalingReady": "Scaling",
        "DataRetained": "Behind", "Ready": "Suspended",
    }  # fmt: skip
    figures = world.reconciler.reconcile("web", "shop").report.figures
    assert figures.available == {"tracking-api": 1}, "what is stopped on purpose is not down"
    world.now = NOW + timedelta(days=6)
    world.settle()
    found = world.condition("DataRetained")
    assert (found["status"], found["reason"]) == ("False", "DataLossNear")
    assert world.cluster.objects[KEY]["status"]["timeToDataLoss"] == "1d"
    assert world.condition("Ready")["reason"] == "Suspended"


class Silent:
    """Backlogs whose consumers run and do not answer."""

    def known(self, *_: object) -> Known:
        return Known(silent=frozenset({"sink-postgres"}))


def test_what_is_not_known_any_more_leaves_the_status_and_then_nothing_is_written() -> None:
    world = Working()
    world.settle()
    entry = {"component": "sink-postgres", "oldestUnprocessed": "2026-03-01T11:00:00Z"}
    world.cluster.objects[KEY]["status"] |= {"timeToDataLoss": "6d23h", "backlogs": [entry]}
    world.reconciler = Reconciler(
        world.cluster, Images("apps:1"), 15.0, lambda: world.now, backlogs=Silent()  # type: ignore[arg-type]
    )  # fmt: skip
    world.reconciler.reconcile("web", "shop")
    assert not {"timeToDataLoss", "backlogs"} & world.cluster.objects[KEY]["status"].keys()
    begin = len(world.cluster.writes)
    world.reconciler.reconcile("web", "shop")
    assert world.cluster.writes[begin:] == []
