"""Who scales, and that nobody's number of replicas is lost: on a real API server, with its own autoscaler controller.

KEDA is a stand-in: a definition of its ScaledObject with the group, kind and names of KEDA's, and nobody at work on it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from clickstream_operator import naming
from devstack.errors import StartError
from e2e.pipelines.surroundings import USER, Json, Surroundings, pipeline

KEDA_STAND_IN: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {"kind": "ScaledObject", "listKind": "ScaledObjectList", "plural": "scaledobjects",
                  "singular": "scaledobject", "shortNames": ["so"]},
        "versions": [{
            "name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}  # fmt: skip


def scaled(web: str, *, suspend: bool = False, **autoscaling: object) -> Json:
    """A pipeline whose enricher is scaled like that."""
    return pipeline(namespace=web, suspend=suspend, enricher={"autoscaling": autoscaling})


def replicas(cluster: Surroundings, web: str, component: str = "enricher") -> int:
    found: int = cluster.get("deployment", f"shop-{component}", web)["spec"]["replicas"]
    return found


def scale(cluster: Surroundings, web: str, count: int, component: str = "enricher") -> None:
    """As an autoscaler does it: through the subresource."""
    cluster.kubectl("scale", "deployment", f"shop-{component}", "-n", web, f"--replicas={count}")


def there(cluster: Surroundings, kind: str, web: str) -> bool:
    return cluster.get(kind, "shop-enricher", web) is not None


def passes(cluster: Surroundings, web: str, count: int = 2) -> None:
    """Wait until the operator has looked so many times more, from beginning to end."""
    before = cluster.passes(web)
    cluster.until("the operator has looked again", lambda: cluster.passes(web) > before + count)


def test_a_suspension_takes_no_replicas_away_whoever_is_killed_meanwhile(control_plane, web):
    control_plane.start_operator()
    control_plane.apply(pipeline(namespace=web))
    control_plane.until_ready("shop", web)
    scale(control_plane, web, 4)
    control_plane.apply(pipeline(namespace=web, suspend=True))
    control_plane.until("it is stopped", lambda: replicas(control_plane, web) == 0)
    control_plane.until_reason("Suspended", "shop", web)
    assert control_plane.stop_operator(signal.SIGKILL) != 0
    control_plane.apply(pipeline(namespace=web))
    # As if it had been killed after another field manager took the number, before its own let go.
    taken = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop-sink-postgres"},
             "spec": {"replicas": 3}}  # fmt: skip
    control_plane.kubectl(
        "apply", "-n", web, "--server-side", "--force-conflicts", f"--field-manager={naming.REPLICAS_MANAGER}",
        "-f", "-", text=str(taken).replace("'", '"'),
    )  # fmt: skip
    control_plane.start_operator()
    try:
        control_plane.until_ready("shop", web)
        assert replicas(control_plane, web) == 4
        assert replicas(control_plane, web, "sink-postgres") == 3
        assert replicas(control_plane, web, "sink-elasticsearch") == 1
        live = control_plane.get("deployment", "shop-enricher", web)
        assert naming.REPLICAS_ANNOTATION not in live["metadata"].get("annotations", {})
        scale(control_plane, web, 2)
        control_plane.apply(pipeline(namespace=web, telemetry={"logLevel": "DEBUG"}))
        control_plane.until_ready("shop", web)
        passes(control_plane, web)
        assert replicas(control_plane, web) == 2, "the number is the autoscaler's again"
    finally:
        assert control_plane.stop_operator() == 0


@pytest.fixture
def keda(cluster: Surroundings) -> Iterator[Surroundings]:
    """The operator at work; what installs the stand-in is the test's business, what removes it is not."""
    yield cluster
    cluster.delete("crd", "scaledobjects.keda.sh", None, "--ignore-not-found")


def test_from_one_scaler_to_the_other_the_number_stays(keda, web):
    cluster = keda
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    cluster.until_reason("FailedGetResourceMetric", "shop", web, "AutoscalingReady")
    assert cluster.condition("shop", web)["status"] == "True", "no metrics-server is no outage"
    scale(cluster, web, 4)

    cluster.apply(scaled(web, scaler="None"))
    cluster.until("nobody scales it", lambda: not there(cluster, "hpa", web))
    passes(cluster, web)
    assert replicas(cluster, web) == 4
    scale(cluster, web, 5)
    passes(cluster, web)
    assert replicas(cluster, web) == 5, "it is left to others"
    cluster.apply(scaled(web, scaler="None", replicas=3))
    cluster.until("it has the number of the pipeline", lambda: replicas(cluster, web) == 3)
    scale(cluster, web, 5)
    cluster.until("it has it again", lambda: replicas(cluster, web) == 3)

    cluster.apply(scaled(web, scaler="KEDA"))
    told = cluster.until_reason("KedaMissing", "shop", web, "AutoscalingReady")
    assert "install KEDA" in told["message"]
    cluster.until_ready("shop", web)
    assert replicas(cluster, web) == 3
    assert not there(cluster, "hpa", web)
    cluster.apply(KEDA_STAND_IN)
    cluster.until("there is a ScaledObject", lambda: has_scaled_object(cluster, web))
    trigger = cluster.get("scaledobject", "shop-enricher", web)["spec"]["triggers"][0]
    assert (trigger["type"], trigger["metadata"]["topic"]) == ("kafka", f"{web}.shop.raw-clicks")
    passes(cluster, web, 1)
    begin = len(list(cluster.api.writes(USER)))
    passes(cluster, web)
    assert not [each for each in cluster.writes(begin) if "scaledobjects" in each], "it is applied once"

    cluster.apply(scaled(web, scaler="KEDA", suspend=True))
    cluster.until("KEDA is told to start nothing", lambda: cluster.get("scaledobject", "shop-enricher", web)["metadata"]
                  .get("annotations", {}).get("autoscaling.keda.sh/paused-replicas") == "0")  # fmt: skip
    cluster.until("it is stopped", lambda: replicas(cluster, web) == 0)
    cluster.apply(scaled(web, scaler="HPA"))
    cluster.until("it has an autoscaler", lambda: there(cluster, "hpa", web))
    assert not there(cluster, "scaledobject", web)
    cluster.until_ready("shop", web)
    assert replicas(cluster, web) == 3


def has_scaled_object(cluster: Surroundings, web: str) -> bool:
    try:
        return there(cluster, "scaledobject", web)
    except StartError as error:
        if "the server doesn't have a resource type" in str(error):  # the definition is on its way
            return False
        raise


def test_metrics_of_the_users_own_are_the_autoscalers(cluster, web):
    target = {"type": "AverageValue", "averageValue": "1500m"}
    metrics = [{"type": "Pods", "pods": {"metric": {"name": "clicks"}, "target": target}}]
    cluster.apply(scaled(web, metrics=metrics))
    cluster.until("it is made", lambda: there(cluster, "hpa", web))
    assert cluster.get("hpa", "shop-enricher", web)["spec"]["metrics"] == metrics
    cluster.apply(scaled(web, metrics=[{"type": "Pods"}]))
    told = cluster.until_reason("ApplyFailed", "shop", web, "AutoscalingReady")
    assert "spec.metrics[0]" in told["message"]
    cluster.until_ready("shop", web)
