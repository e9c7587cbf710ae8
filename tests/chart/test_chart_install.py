"""What `helm install` puts into a cluster."""

from __future__ import annotations

import shutil
import textwrap

import pytest
import yaml
from support.resources import of_kind, one_of_kind, pods, restricted_violations

from generate import CHART, CRD
from generate.install import helm
from generate.values import read_values

VALUE_SETS = {
    "defaults": {},
    "namespaced": {"watchNamespaces": ["shop", "blog"], "kafkaNamespaces": ["kafka"]},
    "everything": {
        "image": {"digest": "sha256:" + "a" * 64},
        "imagePullSecrets": ["registry"],
        "commonLabels": {"team": "web"},
        "serviceAccount": {"annotations": {"a": "b"}},
        "podLabels": {"zone": "x"},
        "podAnnotations": {"c": "d"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "operator": {"extraEnv": [{"name": "TZ", "value": "UTC"}]},
        "metrics": {
            name: {"enabled": True, "labels": {"release": "p"}} for name in ("serviceMonitor", "podMonitor", "rules")
        },
        "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
    },
    "bare": {
        "crds": {"install": False},
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False, "name": "mine"},
    },
}


@pytest.mark.parametrize("name", VALUE_SETS)
def test_helm_finds_nothing_to_object_to(name, tmp_path):
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(VALUE_SETS[name]))
    assert "0 chart(s) failed" in helm("lint", str(CHART), "--strict", "--values", str(tmp_path / "values.yaml"))


@pytest.mark.parametrize("name", VALUE_SETS)
def test_every_resource_has_its_place_and_its_labels(render, name):
    cluster_wide = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    resources = render(VALUE_SETS[name])
    for one in resources:
        assert ("namespace" in one["metadata"]) == (one["kind"] not in cluster_wide), one["metadata"]
        assert one["metadata"]["labels"]["app.kubernetes.io/name"] == "clickstream-operator"
        if name == "everything":
            assert one["metadata"]["labels"]["team"] == "web"
    identities = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in resources]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("name", VALUE_SETS)
def test_pods_pass_the_restricted_standard_with_a_read_only_root(render, name):
    found = dict(pods(render(VALUE_SETS[name])))
    assert len(found) == 2  # the operator and `helm test`
    for owner, pod in found.items():
        assert restricted_violations(pod) == [], owner
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


def test_one_operator_runs_at_a_time_and_is_probed(render):
    deployment = one_of_kind(render(), "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "ops", "containerPort": 9090}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "ops"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}
    assert pod["volumes"][0].keys() == {"name", "emptyDir"}
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_the_operator_gets_its_settings(render):
    values = {
        "watchNamespaces": ["shop", "blog"],
        "imagePullSecrets": ["one", "two"],
        "appsImage": {"tag": "7"},
        "operator": {"resyncSeconds": 5},
    }
    (container,) = one_of_kind(render(values), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "OPERATOR_NAMESPACES": "shop,blog",
        "OPERATOR_APPS_IMAGE": "clickstream-apps:7",
        "OPERATOR_IMAGE_PULL_POLICY": "IfNotPresent",
        "OPERATOR_IMAGE_PULL_SECRETS": "one,two",
        "OPERATOR_RESYNC_SECONDS": "5",
        "OPERATOR_OPS_PORT": "9090",
        "OPERATOR_LOG_LEVEL": "INFO",
        "OPERATOR_LOG_FORMAT": "json",
    }


def test_images_are_tagged_with_the_apps_version_unless_told_otherwise(render):
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]

    def images(values):
        (container,) = one_of_kind(render(values), "Deployment")["spec"]["template"]["spec"]["containers"]
        return container["image"], next(
            one["value"] for one in container["env"] if one["name"] == "OPERATOR_APPS_IMAGE"
        )

    digest = "sha256:" + "0" * 64
    assert images({}) == (f"clickstream-operator:{version}", f"clickstream-apps:{version}")
    assert (
        images({"image": {"repository": "r.example/op", "tag": "1", "digest": digest}})[0] == f"r.example/op@{digest}"
    )
    assert images({"appsImage": {"digest": digest}})[1] == f"clickstream-apps@{digest}"


def test_selectors_find_the_operator_alone(render):
    resources = render(VALUE_SETS["everything"])
    operator = one_of_kind(resources, "Deployment")["spec"]["template"]["metadata"]["labels"]
    test_pod = one_of_kind(resources, "Pod")["metadata"]["labels"]
    for selector in (
        one_of_kind(resources, "Deployment")["spec"]["selector"]["matchLabels"],
        one_of_kind(resources, "Service")["spec"]["selector"],
        one_of_kind(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= operator.items()
        assert not selector.items() <= test_pod.items()
    service = one_of_kind(resources, "Service")["metadata"]["labels"]
    assert one_of_kind(resources, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= service.items()
    peers = one_of_kind(resources, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert any(peer.get("podSelector", {}).get("matchLabels", {"-": 1}).items() <= test_pod.items() for peer in peers)


def test_the_resource_definition_is_the_source_and_stays(render):
    crd = one_of_kind(render(), "CustomResourceDefinition")
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    crd["metadata"].pop("labels")
    assert crd == yaml.safe_load(CRD.read_text())
    assert of_kind(render({"crds": {"install": False}}), "CustomResourceDefinition") == []


def test_optional_resources_are_off_until_asked_for(render):
    optional = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "NetworkPolicy"}
    assert not optional & {one["kind"] for one in render()}
    assert optional <= {one["kind"] for one in render(VALUE_SETS["everything"])}


def test_the_notes_say_what_to_do_next(tmp_path):
    # helm shows the notes of an installation only, so a copy of the chart has them as a resource.
    copy = shutil.copytree(CHART, tmp_path / "clickstream")
    notes = (copy / "templates" / "NOTES.txt").read_text()
    (copy / "templates" / "notes.yaml").write_text("text: |\n" + textwrap.indent(notes, "  "))
    arguments = ("--namespace", "platform", "--set", "watchNamespaces={shop}", "--show-only", "templates/notes.yaml")
    said = yaml.safe_load(helm("template", "c", str(copy), *arguments))["text"]
    for words in (
        "helm -n platform test c",
        "-n shop apply",
        "-n shop get csp",
        "deployment/clickstream-operator",
        "of: shop",
    ):
        assert words in said


def test_there_are_at_most_sixty_values_and_each_is_described():
    values = read_values(CHART / "values.yaml")
    assert len(values) <= 60
    assert all(len(value.description) > 15 for value in values)
