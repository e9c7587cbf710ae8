"""What users may say of pods, against the whole children in tests/golden/pods: what stands where both say something."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clickstream.runtime.settings import SettingsError
from clickstream_operator import naming
from clickstream_operator.defaults import spec_schema
from clickstream_operator.desired import build
from clickstream_operator.desired.child_object import Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.inputs import USER
from clickstream_operator.quantities import less, same
from clickstream_operator.settings import read_settings
from support.golden import children_of, inputs_of, pipeline_of

COMPONENTS = ("trackingApi", "enricher", "sinks.elasticsearch", "sinks.postgres", "jobs")


def templates(**spec: Any) -> dict[str, Manifest]:
    """Pod templates by name of their Deployment or Job; members of the golden case's spec replaced."""
    pipeline = pipeline_of("pods")
    changed = msgspec.structs.replace(pipeline, raw_spec=pipeline.raw_spec | spec)
    children = build(Context.of(changed, changed.spec(), inputs_of("pods")))
    return {
        each.key.name: each.manifest["spec"]["template"] for each in children if each.key.kind in {"Deployment", "Job"}
    }


def variables(template: Manifest) -> dict[str, str | None]:
    (container,) = template["spec"]["containers"]
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names))
    return {each["name"]: each.get("value") for each in container["env"]}


def test_what_identifies_a_pod_is_ours_whatever_a_stored_resource_says():
    """The rules refuse it; a resource that was stored under older ones may say it all the same."""
    labels = dict.fromkeys(naming.labels("web", "shop", "enricher"), "theirs") | {"team": "web"}
    metadata = {"labels": labels, "annotations": {naming.CHECKSUM_ANNOTATION: "theirs"}}
    before, after = templates(), templates(enricher={"podTemplate": {"metadata": metadata}})
    was, found = before["shop-enricher"]["metadata"], after["shop-enricher"]["metadata"]
    assert found["labels"] == was["labels"] | {"team": "web"}
    assert found["annotations"] == was["annotations"]


def test_variables_of_the_operator_stand_whatever_a_stored_resource_says():
    ours = variables(templates()["shop-enricher"])
    theirs = [{"name": name, "value": "theirs"} for name in (*ours, "MINE")]
    assert variables(templates(enricher={"podTemplate": {"env": theirs}})["shop-enricher"]) == ours | {"MINE": "theirs"}


def test_the_rules_refuse_every_variable_that_the_operator_sets():
    template = spec_schema()["properties"]["enricher"]["properties"]["podTemplate"]
    rules = " ".join(rule["rule"] for rule in template["properties"]["env"]["items"]["x-kubernetes-validations"])
    telemetry = {"otlpEndpoint": "http://collector:4318"}
    bare = {name: {} for name in ("trackingApi", "enricher", "jobs")} | {"telemetry": telemetry}
    names = {name for template in templates(**bare).values() for name in variables(template)}
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in names
    assert {name for name in names if f"'{name}'" not in rules} == set()


def test_the_rules_refuse_every_volume_of_the_operator():
    template = spec_schema()["properties"]["jobs"]["properties"]["podTemplate"]
    rule, _ = template["properties"]["volumes"]["items"]["x-kubernetes-validations"]
    volumes = {volume["name"] for child in children_of("full") for volume in _pod(child.manifest).get("volumes", [])}
    assert volumes == {"pipeline", "secrets", "tmp", "geoip"}
    assert all(f"'{name}'" in rule["rule"] for name in volumes)


def _pod(manifest: Manifest) -> Manifest:
    found: Manifest = manifest.get("spec", {}).get("template", {}).get("spec", {})
    return found


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, {"requests": {"cpu": "250m", "memory": "384Mi"}}),
        ({"limits": {"memory": "4Gi"}}, {"requests": {"cpu": "250m", "memory": "384Mi"}, "limits": {"memory": "4Gi"}}),
        (
            {"limits": {"cpu": "0.1", "memory": "128Mi"}},
            {"requests": {"cpu": "0.1", "memory": "128Mi"}, "limits": {"cpu": "0.1", "memory": "128Mi"}},
        ),
        ({"requests": {"cpu": 1}, "limits": {"cpu": 2}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}),
        ({"requests": {}}, {}),
        (
            {"limits": {"cpu": "lots"}},
            {"requests": {"cpu": "250m", "memory": "384Mi"}, "limits": {"cpu": "lots"}},
        ),
    ],
)
def test_who_gives_limits_alone_keeps_the_requests(resources, expected):
    (container,) = templates(enricher={"resources": resources})["shop-enricher"]["spec"]["containers"]
    assert container["resources"] == expected


@pytest.mark.parametrize(("one", "other"), [("1000m", 1), ("1024Mi", "1Gi"), ("0.5", "500m"), (0, "0")])
def test_amounts_are_compared_and_not_their_spelling(one, other):
    assert same(one, other)
    assert not less(one, other)


def test_less_is_less_and_what_is_no_amount_is_not():
    assert less("100m", 1)
    assert less("1000Mi", "1Gi")
    assert not less("1Gi", "1000Mi")
    assert not less(None, "1")
    assert not less("lots", "1")
    assert not same("lots", "1")


@pytest.mark.parametrize("where", COMPONENTS)
def test_every_component_takes_a_template_and_a_level(where):
    template = {"podTemplate": {"metadata": {"labels": {"mark": where}}}, "logLevel": "ERROR"}
    spec = pipeline_of("pods").raw_spec
    outer, _, inner = where.partition(".")
    changed = {outer: spec[outer] | ({inner: spec[outer][inner] | template} if inner else template)}
    marked = {name: found for name, found in templates(**changed).items() if found["metadata"]["labels"].get("mark")}
    assert len(marked) == (3 if where == "jobs" else 1)
    assert all(("-setup-" in name) == (where == "jobs") for name in marked)
    assert {variables(found)["CLICKSTREAM_LOG_LEVEL"] for found in marked.values()} == {"ERROR"}


def test_what_holds_for_all_pods_holds_for_jobs_too():
    spec = pipeline_of("pods").raw_spec
    bare = {"jobs": {}, "trackingApi": {}, "enricher": {}, "sinks": {"elasticsearch": {"url": "http://es"}}}
    for name, template in templates(**bare).items():
        pod = template["spec"]
        assert pod["nodeSelector"] == spec["scheduling"]["nodeSelector"], name
        assert pod["tolerations"] == spec["scheduling"]["tolerations"]
        assert pod["priorityClassName"] == "shared"
        assert pod["imagePullSecrets"] == [{"name": "of-the-operator"}, {"name": "of-the-pipeline"}]
        assert pod["securityContext"]["runAsUser"] == USER


@pytest.mark.parametrize(
    ("given", "expected"), [({}, USER), ({"OPERATOR_RUN_AS_USER": ""}, None), ({"OPERATOR_RUN_AS_USER": "7"}, 7)]
)
def test_the_user_of_the_pods_is_a_setting(given, expected):
    assert read_settings({"OPERATOR_APPS_IMAGE": "apps"} | given).images.run_as_user == expected


@pytest.mark.parametrize("value", ["0", "-1", "root"])
def test_a_user_that_is_none_or_root_is_refused(value):
    with pytest.raises(SettingsError, match="OPERATOR_RUN_AS_USER"):
        read_settings({"OPERATOR_APPS_IMAGE": "apps", "OPERATOR_RUN_AS_USER": value})


def test_the_kubelet_asks_where_clicks_are_taken():
    """An older image, which spec.image may name, has nothing on the tracking API's ops port."""
    (container,) = templates()["shop-tracking-api"]["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")]
    assert probes == ["http"] * 3


def test_the_public_paths_are_those_for_everybody():
    (ingress,) = [each.manifest for each in children_of("full") if each.key.kind == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/v1", "/api/s", "/tracker.js"]
    (route,) = [each.manifest for each in children_of("pods") if each.key.kind == naming.HTTP_ROUTE]
    assert [each["path"]["value"] for each in route["spec"]["rules"][0]["matches"]] == ["/v1", "/api/s", "/tracker.js"]
    (service,) = [each.manifest for each in children_of("full") if each.key.kind == "Service"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
