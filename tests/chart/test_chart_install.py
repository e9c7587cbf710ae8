"""What `helm install` puts into a cluster."""

from __future__ import annotations

import shutil
import textwrap

import pytest
import yaml

from clickstream_operator.naming import OPS_PORT
from generate import CHART, CRD
from generate.install import helm
from generate.values import read_values
from support.golden import children_of
from support.resources import of_kind, one_of_kind, pods, restricted_violations

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
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        "priorityClassName": "high",
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "extraVolumes": [{"name": "authority", "secret": {"secretName": "collector-ca"}}],
        "extraVolumeMounts": [{"name": "authority", "mountPath": "/authority", "readOnly": True}],
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


def test_one_operator_leads_and_each_is_probed(render):
    deployment = one_of_kind(render({"replicas": 2}), "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert one_of_kind(render(), "Deployment")["spec"]["replicas"] == 1
    pod = deployment["spec"]["template"]["spec"]
    assert {"name": "OPERATOR_LEASE", "value": "platform/clickstream-operator"} in pod["containers"][0]["env"]
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "ops", "containerPort": 9090}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "ops"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}
    assert pod["volumes"][0].keys() == {"name", "emptyDir"}
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_helms_test_runs_where_the_operator_may_run(render):
    found = dict(pods(render(VALUE_SETS["everything"])))
    assert found.keys() == {"Deployment/clickstream-operator", "Pod/clickstream-operator-test"}
    for pod in found.values():
        for name in ("nodeSelector", "tolerations", "affinity", "dnsConfig"):
            assert pod[name] == VALUE_SETS["everything"][name]
    for pod in dict(pods(render())).values():
        assert not {"nodeSelector", "tolerations", "affinity", "dnsConfig"} & pod.keys()


def test_the_operator_has_the_further_volumes(render):
    pod = one_of_kind(render(VALUE_SETS["everything"]), "Deployment")["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "authority"]
    assert pod["containers"][0]["volumeMounts"][1:] == VALUE_SETS["everything"]["extraVolumeMounts"]


def test_the_operator_gets_its_settings(render):
    values = {
        "watchNamespaces": ["shop", "blog"],
        "imagePullSecrets": ["one", "two"],
        "appsImage": {"tag": "7"},
        "operator": {"resyncSeconds": 5, "workers": 8, "rollouts": 2},
    }
    (container,) = one_of_kind(render(values), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "OPERATOR_NAMESPACES": "shop,blog",
        "OPERATOR_APPS_IMAGE": "clickstream-apps:7",
        "OPERATOR_IMAGE_PULL_POLICY": "IfNotPresent",
        "OPERATOR_IMAGE_PULL_SECRETS": "one,two",
        "OPERATOR_RUN_AS_USER": "10001",
        "OPERATOR_RESYNC_SECONDS": "5",
        "OPERATOR_WORKERS": "8",
        "OPERATOR_ROLLOUTS": "2",
        "OPERATOR_LEASE": "platform/clickstream-operator",
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


def test_metrics_are_scraped_from_the_port_of_every_components_own(render):
    (endpoint,) = one_of_kind(render(VALUE_SETS["everything"]), "PodMonitor")["spec"]["podMetricsEndpoints"]
    deployments = [child.manifest for child in children_of("full") if child.key.kind == "Deployment"]
    assert len(deployments) == 4
    for deployment in deployments:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert endpoint["port"] in {port["name"] for port in container["ports"]}


def test_the_policy_lets_dns_through_as_pods_serve_it(render):
    policy = one_of_kind(render({"networkPolicy": {"enabled": True}}), "NetworkPolicy")
    dns = policy["spec"]["egress"][0]["ports"]
    assert {(one["protocol"], one["port"]) for one in dns} == {
        (protocol, port) for protocol in ("UDP", "TCP") for port in (53, 5353)
    }


def test_the_operator_reads_the_metrics_of_pipelines_pods_and_its_own_keep_their_namespace(render):
    """Its alerts go by both."""
    resources = render(VALUE_SETS["everything"])
    (endpoint,) = one_of_kind(resources, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    to_pods = [rule for rule in one_of_kind(resources, "NetworkPolicy")["spec"]["egress"] if "to" in rule]
    (rule,) = to_pods
    assert [port["port"] for port in rule["ports"]] == [OPS_PORT]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"] == {}
    deployments = [each.manifest for each in children_of("minimal") if each.key.kind == "Deployment"]
    for labels in (each["spec"]["template"]["metadata"]["labels"] for each in deployments):
        assert peer["podSelector"]["matchLabels"].items() <= labels.items()


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


@pytest.fixture
def notes(tmp_path):
    """The notes that helm shows after an installation with these arguments, and after no `helm template`."""
    # So a copy of the chart has them as a resource.
    copy = shutil.copytree(CHART, tmp_path / "clickstream")
    text = (copy / "templates" / "NOTES.txt").read_text()
    (copy / "templates" / "notes.yaml").write_text("text: |\n" + textwrap.indent(text, "  "))

    def said(*arguments):
        shown = helm("template", "c", str(copy), "--show-only", "templates/notes.yaml", *arguments)
        return yaml.safe_load(shown)["text"]

    return said


def test_the_notes_say_what_to_do_next(notes):
    said = notes("--namespace", "platform", "--set", "watchNamespaces={shop}")
    for words in (
        "helm -n platform test c",
        "-n shop apply",
        "-n shop get csp",
        "deployment/clickstream-operator",
        "of: shop",
    ):
        assert words in said


def test_the_notes_of_a_checkout_say_which_images_it_needs(notes):
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert "THIS CHART IS A CHECKOUT" in notes()
    assert f"clickstream-operator:{version} " in notes()
    assert f"clickstream-apps:{version} " in notes()
    named = ("image.repository=r.example/operator", "appsImage.repository=r.example/apps")
    assert "THIS CHART IS A CHECKOUT" in notes("--set", named[0])
    assert "CHECKOUT" not in notes("--set", ",".join(named))


def test_there_are_at_most_sixty_values_and_each_is_described():
    values = read_values(CHART / "values.yaml")
    assert len(values) <= 60
    assert all(len(value.description) > 15 for value in values)
