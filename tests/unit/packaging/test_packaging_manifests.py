"""The examples are valid pipelines, and the dependencies fit them and the restricted Pod Security Standard."""

from __future__ import annotations

import re

import pytest
import yaml

from generate import ROOT
from support.crd_schema import given_fields, pipeline_errors, spec_fields
from support.resources import of_kind, one_of_kind, pods, restricted_violations

MANIFESTS = ROOT / "manifests"
EXAMPLES = [MANIFESTS / "examples" / name for name in ("full.yaml", "minimal.yaml")]


def resources(path):
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


@pytest.fixture(scope="module")
def dependencies():
    listed = yaml.safe_load((MANIFESTS / "dependencies" / "kustomization.yaml").read_text())["resources"]
    return [one for file in listed for one in resources(MANIFESTS / "dependencies" / file)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_valid_pipeline(path):
    pipelines = of_kind(resources(path), "ClickstreamPipeline")
    assert pipelines
    for one in pipelines:
        assert one["metadata"].keys() <= {"name", "namespace"}
        assert pipeline_errors(one) == []


def test_the_validator_can_tell_a_wrong_one():
    (pipeline,) = of_kind(resources(MANIFESTS / "examples" / "minimal.yaml"), "ClickstreamPipeline")
    pipeline["spec"]["kafka"]["bootstrapServer"] = "typing:1"
    pipeline["spec"]["deletionPolicy"] = "Maybe"
    pipeline["spec"]["sources"] = []
    found = "\n".join(pipeline_errors(pipeline))
    assert re.search(r"\$\.spec\.kafka: .*bootstrapServer.*unexpected", found)
    assert "$.spec.deletionPolicy: 'Maybe'" in found
    assert "$.spec.sources: []" in found


def test_the_full_example_has_every_field():
    given = set().union(*(given_fields(one["spec"]) for one in resources(MANIFESTS / "examples" / "full.yaml")))
    assert spec_fields() - given == set()


def test_the_minimal_example_is_short_and_finds_all_it_needs(dependencies):
    text = (MANIFESTS / "examples" / "minimal.yaml").read_text()
    assert len(text.splitlines()) <= 30
    pipeline = one_of_kind(resources(MANIFESTS / "examples" / "minimal.yaml"), "ClickstreamPipeline")["spec"]
    assert [step["name"] for step in pipeline["funnels"][0]["steps"]] == ["Homepage", "Product", "Checkout"]
    kafka = one_of_kind(dependencies, "Kafka")
    named = kafka["metadata"]
    assert pipeline["kafka"]["strimzi"] == {"cluster": named["name"], "namespace": named["namespace"]}
    listeners = {listener["port"] for listener in kafka["spec"]["kafka"]["listeners"]}
    host, _, port = pipeline["kafka"]["bootstrapServers"].partition(":")
    assert host == f"{named['name']}-kafka-bootstrap.{named['namespace']}"
    assert int(port) in listeners
    services = {one["metadata"]["name"] for one in of_kind(dependencies, "Service")}
    assert re.fullmatch(r"http://(\S+):9200", pipeline["sinks"]["elasticsearch"]["url"])[1] in services
    secrets = {one["metadata"]["name"]: one["stringData"] for one in of_kind(dependencies, "Secret")}
    uri = secrets[pipeline["sinks"]["postgres"]["connectionSecretRef"]["name"]]["uri"]
    assert re.search(r"@(\w+):5432/", uri)[1] in services


def test_the_dependencies_pass_the_restricted_standard(dependencies):
    found = dict(pods(dependencies))
    assert set(found) == {"StatefulSet/elasticsearch", "StatefulSet/postgres", "Deployment/grafana"}
    for owner, pod in found.items():
        assert restricted_violations(pod) == [], owner
        for container in pod["containers"]:
            assert container["resources"]["limits"]["memory"]
            assert re.fullmatch(r"\S+:\d+\.\d+(\.\d+)?", container["image"]), "pinned to a version"
    # Strimzi makes Kafka's pods; it is told to make restricted ones.
    values = yaml.safe_load((MANIFESTS / "dependencies" / "strimzi-values.yaml").read_text())
    assert values["extraEnvs"] == [{"name": "STRIMZI_POD_SECURITY_PROVIDER_CLASS", "value": "restricted"}]
    assert (
        restricted_violations({"containers": [{"name": "strimzi", "securityContext": values["securityContext"]}]}) == []
    )


def test_the_dependencies_agree_with_each_other(dependencies):
    namespaces = {one["metadata"]["name"]: one["metadata"]["labels"] for one in of_kind(dependencies, "Namespace")}
    for labels in namespaces.values():
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for one in dependencies:
        of_kafka = one["kind"].startswith("Kafka")  # a namespace that is deleted takes its topics along
        wanted = "kafka" if of_kafka else "clickstream"
        assert wanted in namespaces
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == wanted
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in dependencies if "template" in one.get("spec", {})
    ]
    for service in of_kind(dependencies, "Service"):
        if service["metadata"]["name"] != "shop-tracking-api-node-port":  # the operator's pods
            assert service["spec"]["selector"] in labels
    for _, pod in pods(dependencies):
        volumes = {volume["name"] for volume in pod.get("volumes", [])} | {"data"}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
    pool, kafka = one_of_kind(dependencies, "KafkaNodePool"), one_of_kind(dependencies, "Kafka")
    assert pool["apiVersion"] == kafka["apiVersion"] == "kafka.strimzi.io/v1"
    assert pool["metadata"]["labels"]["strimzi.io/cluster"] == kafka["metadata"]["name"]


def test_grafanas_sidecars_look_for_the_labels_that_pipelines_put(dependencies):
    fields = yaml.safe_load((MANIFESTS / "crds" / "clickstreampipelines.clickstream.dev.yaml").read_text())
    spec = fields["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    dashboards = spec["dashboards"]["properties"]
    expected = dashboards["labels"]["default"] | dashboards["datasources"]["properties"]["labels"]["default"]
    containers = one_of_kind(dependencies, "Deployment")["spec"]["template"]["spec"]["containers"]
    environments = [{one["name"]: one.get("value") for one in box["env"]} for box in containers]
    assert {env["LABEL"]: env["LABEL_VALUE"] for env in environments if "LABEL" in env} == expected
    assert [env["FOLDER_ANNOTATION"] for env in environments if "FOLDER_ANNOTATION" in env] == ["grafana_folder"]


def test_grafana_and_its_sidecar_have_the_administrator_from_one_secret(dependencies):
    keys = one_of_kind([one for one in of_kind(dependencies, "Secret") if "grafana" in str(one)], "Secret")[
        "stringData"
    ]
    containers = one_of_kind(dependencies, "Deployment")["spec"]["template"]["spec"]["containers"]
    taken = {
        box["name"]: {
            one["name"]: one["valueFrom"]["secretKeyRef"]["key"] for one in box["env"] if "secretKeyRef" in str(one)
        }
        for box in containers
    }
    assert taken == {
        "grafana": {"GF_SECURITY_ADMIN_USER": "username", "GF_SECURITY_ADMIN_PASSWORD": "password"},
        "dashboards": {},
        "datasources": {"REQ_USERNAME": "username", "REQ_PASSWORD": "password"},
    }
    assert keys.keys() == {"username", "password"}
    assert not any("envFrom" in box for box in containers)
