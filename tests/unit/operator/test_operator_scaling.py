"""Who scales a component, how many replicas it has after a suspension, and how an autoscaler stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from clickstream_operator import naming
from clickstream_operator.autoscalers import at_maximum, is_active, lacks_requests, trouble
from clickstream_operator.desired import build
from clickstream_operator.desired.child_object import ChildKey, ChildObject
from clickstream_operator.scaling import scale_with_live
from clickstream_operator.spec import Resources
from support.golden import children_of, context_of
from support.memory_cluster import Json

SINK = "sink-postgres"
OURS = {"manager": naming.FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}


def child(kind: str, component: str = SINK, case: str = "minimal") -> ChildObject:
    name = f"shop-{component}"
    return next(each for each in children_of(case) if (each.key.kind, each.key.name) == (kind, name))


def adjusted(wanted: ChildObject, *live: Json, behind: dict[str, float] | None = None) -> ChildObject:
    there = {ChildKey(each["kind"], "web", each["metadata"]["name"]): each for each in live}
    (made,) = scale_with_live([wanted], there, behind or {})
    return made


def deployment(replicas: int | None, annotations: Json | None = None, *owners: Json) -> Json:
    return {
        "kind": "Deployment",
        "metadata": {"name": f"shop-{SINK}", "annotations": annotations or {}, "managedFields": list(owners)},
        "spec": {} if replicas is None else {"replicas": replicas},
    }


def remembering(count: object) -> Json:
    return {naming.REPLICAS_ANNOTATION: str(count)}


STOPPED = child("Deployment", case="suspended")
RUNNING = child("Deployment")


@pytest.mark.parametrize(
    ("live", "remembered"),
    [
        (deployment(4), "4"),
        (deployment(0, remembering(4)), "4"),
        (deployment(2, remembering(4)), "4"),  # something has started pods of what is suspended
        (deployment(None), "1"),
        (deployment(0), None),  # suspended by a release that did not remember
        (deployment(0, remembering("many")), None),
        (deployment(3, remembering(-2)), "1"),
    ],
)
def test_a_suspended_deployment_remembers_what_it_had(live: Json, remembered: str | None) -> None:
    made = adjusted(STOPPED, live).manifest
    assert made["spec"]["replicas"] == 0
    assert made["metadata"].get("annotations", {}).get(naming.REPLICAS_ANNOTATION) == remembered
    assert naming.REPLICAS_ANNOTATION not in STOPPED.manifest["metadata"].get("annotations", {}), "it is a copy"


def test_one_that_is_not_there_yet_is_made_as_it_is() -> None:
    assert adjusted(STOPPED) == STOPPED
    assert adjusted(RUNNING) == RUNNING


@pytest.mark.parametrize(
    ("live", "handed_over"),
    [
        (deployment(0, remembering(4), OURS), 4),
        (deployment(3, {}, OURS), 3),  # a number of the user's, before
        (deployment(0, {}, OURS), None),
        (deployment(4, remembering(4)), None),  # a pass was killed after another manager had taken the field
        (deployment(4, {}, OURS | {"manager": "kube-controller-manager"}), None),
        (deployment(4, {}, OURS | {"operation": "Update"}), None),
        (deployment(4, {}, OURS | {"fieldsV1": {"f:spec": {"f:template": {}}}}), None),
    ],
)
def test_replicas_that_were_ours_are_handed_over_before_they_are_let_go_of(live: Json, handed_over: int | None) -> None:
    made = adjusted(RUNNING, live)
    assert made.hand_over == handed_over
    assert made.manifest == RUNNING.manifest, "it neither sets nor remembers any"


def test_a_number_of_the_users_is_applied_and_never_handed_over() -> None:
    spec = RUNNING.manifest["spec"] | {"replicas": 3}
    fixed = replace(RUNNING, manifest=RUNNING.manifest | {"spec": spec})
    assert adjusted(fixed, deployment(0, remembering(4), OURS)) == fixed


def policy(made: ChildObject) -> str:
    found: str = made.manifest["spec"]["behavior"]["scaleDown"]["selectPolicy"]
    return found


def autoscaler_as(policy: str) -> Json:
    there = child("HorizontalPodAutoscaler").manifest
    down = there["spec"]["behavior"]["scaleDown"] | {"selectPolicy": policy}
    return there | {"spec": there["spec"] | {"behavior": {"scaleDown": down}}}


@pytest.mark.parametrize(
    ("behind", "before", "after"),
    [
        (None, None, "Max"),
        (None, "Max", "Max"),
        (None, "Disabled", "Disabled"),  # not known: as it was
        (0.0, "Disabled", "Max"),
        (14.9, "Disabled", "Max"),
        (15.0, "Disabled", "Disabled"),
        (59.9, "Max", "Max"),
        (60.0, "Max", "Disabled"),
        (3_600.0, "Disabled", "Disabled"),
    ],
)
def test_a_consumer_that_is_behind_is_not_scaled_down(behind: float | None, before: str | None, after: str) -> None:
    live = [] if before is None else [autoscaler_as(before)]
    known = {} if behind is None else {SINK: behind, "enricher": 3_600.0 - behind}
    made = adjusted(child("HorizontalPodAutoscaler"), *live, behind=known)
    assert policy(made) == after
    up = made.manifest["spec"]["behavior"]["scaleUp"]
    assert up == child("HorizontalPodAutoscaler").manifest["spec"]["behavior"]["scaleUp"]


def test_the_tracking_api_has_no_backlog() -> None:
    wanted = child("HorizontalPodAutoscaler", "tracking-api")
    assert adjusted(wanted, behind={"tracking-api": 3_600.0}) == wanted


@pytest.mark.parametrize(("kind", "other", "case"), [
    ("HorizontalPodAutoscaler", "ScaledObject", "minimal"), ("ScaledObject", "HorizontalPodAutoscaler", "scalers"),
])  # fmt: skip
def test_one_autoscaler_goes_before_the_other_comes(kind: str, other: str, case: str) -> None:
    wanted = child(kind, "enricher", case)
    waiting = adjusted(wanted, {"kind": other, "metadata": {"name": "shop-enricher"}})
    assert waiting.blocked is not None
    assert (waiting.blocked.reason, waiting.blocked.severe) == ("WaitingForAutoscaler", False)
    assert adjusted(wanted, {"kind": other, "metadata": {"name": "shop-sink-postgres"}}) == wanted


def scaler(*conditions: tuple[str, str, str], kind: str = "HorizontalPodAutoscaler", **spec: Any) -> Json:
    told = [{"type": one, "status": two, "reason": three, "message": "m"} for one, two, three in conditions]
    return {"kind": kind, "spec": spec, "status": {"conditions": told}}


@pytest.mark.parametrize(
    ("live", "told"),
    [
        ({"kind": "HorizontalPodAutoscaler"}, None),
        (scaler(("ScalingActive", "True", "ValidMetricFound"), ("AbleToScale", "True", "ReadyForNewScale")), None),
        (scaler(("ScalingActive", "False", "ScalingDisabled")), None),
        (scaler(("ScalingLimited", "True", "TooFewReplicas")), None),
        (scaler(("ScalingActive", "False", "FailedGetResourceMetric")), ("FailedGetResourceMetric", "m")),
        (scaler(("AbleToScale", "False", "FailedGetScale")), ("FailedGetScale", "m")),
        (scaler(("Ready", "Unknown", "x"), kind="ScaledObject"), None),
        (scaler(("Ready", "False", "ScaledObjectCheckFailed"), kind="ScaledObject"), ("ScaledObjectCheckFailed", "m")),
        (scaler(("Ready", "True", "x"), ("Fallback", "True", "Fallback"), kind="ScaledObject"), ("Fallback", "m")),
    ],
)
def test_an_autoscaler_that_cannot_scale_says_why(live: Json, told: tuple[str, str] | None) -> None:
    assert trouble(live) == told


def test_an_autoscaler_at_its_maximum_works() -> None:
    full = scaler(("ScalingActive", "True", "ValidMetricFound"), ("ScalingLimited", "True", "TooManyReplicas"))
    assert (is_active(full), trouble(full), at_maximum(full)) == (True, None, ("TooManyReplicas", "m"))
    assert at_maximum(scaler(("ScalingLimited", "True", "TooFewReplicas"))) is None


@pytest.mark.parametrize(
    ("resources", "target", "lacking"),
    [
        (Resources(limits={"memory": "4Gi"}), "Utilization", True),
        (Resources(requests={"memory": "4Gi"}), "Utilization", True),
        (Resources(requests={"cpu": "1"}), "Utilization", False),
        (Resources(limits={"cpu": "1"}), "Utilization", False),  # Kubernetes takes a limit for the request
        (Resources(), "AverageValue", False),
    ],
)
def test_a_share_of_nothing_is_no_target(resources: Resources, target: str, lacking: bool) -> None:
    live = scaler(metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": {"type": target}}}])
    assert lacks_requests(live, resources) is lacking


def scaled_objects(**inputs: bool) -> dict[str, ChildObject]:
    context = context_of("scalers")
    made = build(replace(context, inputs=replace(context.inputs, **inputs)))
    return {each.key.name: each for each in made if each.key.kind == "ScaledObject"}


def test_keda_asks_for_what_it_lacks() -> None:
    """The enricher's names a TriggerAuthentication, the Elasticsearch sink's does not."""
    blockers = {name: each.blocked and each.blocked.reason for name, each in scaled_objects().items()}
    assert blockers == {"shop-enricher": None, "shop-sink-elasticsearch": "TriggerAuthenticationMissing"}
    without = scaled_objects(keda=False).values()
    assert {each.blocked and (each.blocked.reason, each.blocked.severe) for each in without} == {("KedaMissing", True)}


def test_keda_starts_nothing_that_is_suspended() -> None:
    context = context_of("scalers")
    paused = [
        each.manifest["metadata"]["annotations"]
        for each in build(replace(context, spec=msgspec.structs.replace(context.spec, suspend=True)))
        if each.key.kind == "ScaledObject"
    ]
    assert paused == [{"autoscaling.keda.sh/paused-replicas": "0"}] * 2
    assert all("annotations" not in each.manifest["metadata"] for each in scaled_objects().values())
