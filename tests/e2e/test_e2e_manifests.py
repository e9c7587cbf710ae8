"""Every manifest against the schemas that the API server itself publishes, strictly; and kind's own code reads its
configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from clickstream_operator.cluster import OPTIONAL
from cluster import ApiServer
from cluster.build import binary
from cluster.kind import CONFIG
from cluster.node import AUTOSCALER_FLAGS
from e2e.dependencies.strimzi import definitions
from generate import CHART, ROOT
from support.golden import FOLDER, cases, children_of
from support.objects import until_established

VALUES = [
    (),
    ("--set", "watchNamespaces={web,shop}", "--set", "kafkaNamespaces={kafka}"),
]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a JSON schema for each kind that the API server serves, CRDs included; unknown fields are
    refused."""
    folder = tmp_path_factory.mktemp("schemas")
    with ApiServer.start(tmp_path_factory.mktemp("api")) as api:
        api.kubectl("apply", "-f", ROOT / "manifests" / "crds")
        for definition in definitions().glob("*.json"):
            api.kubectl("apply", "--server-side", "-f", definition)
        until_established(api.kubectl)
        # A schema is published a moment after its definition is established.
        for _ in range(300):
            published = json.loads(api.kubectl("get", "--raw", "/openapi/v2"))["definitions"]
            if (
                "dev.clickstream.v1alpha1.ClickstreamPipeline" in published
                and "io.strimzi.kafka.v1.KafkaTopic" in published
            ):
                break
    (folder / "_definitions.json").write_text(
        json.dumps({"definitions": {n: _strict(s) for n, s in published.items()}})
    )
    for name, schema in published.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            group = kind["group"].split(".")[0]
            file = "-".join(part for part in (kind["kind"], group, kind["version"]) if part).lower()
            (folder / f"{file}.json").write_text(json.dumps({"$ref": f"_definitions.json#/definitions/{name}"}))
    return folder


def _strict(schema: Any) -> Any:
    """The schema with unknown fields refused, and with what OpenAPI 2 cannot say of numbers that may be text."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref", "")
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    if reference.endswith(("util.intstr.IntOrString", "api.resource.Quantity")):
        return {"type": ["number", "string"]}
    properties = {name: _strict(value) for name, value in schema.get("properties", {}).items()}
    made = {name: _strict(value) for name, value in schema.items() if name != "properties"}
    if properties:
        made["properties"] = properties
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


def conform(schemas: Path, text: str) -> str:
    where = f"{schemas}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    done = subprocess.run(
        [binary("kubeconform"), "-strict", "-summary", "-schema-location", where],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def helm(*arguments: str | Path) -> str:
    command = [Path(sys.executable).parent / "helm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_chart_passes_helms_lint():
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)


@pytest.mark.parametrize("values", VALUES, ids=["cluster", "namespaces"])
def test_what_the_chart_renders_conforms(schemas, values):
    assert "Invalid: 0, Errors: 0, Skipped: 0" in conform(schemas, helm("template", "clickstream", CHART, *values))


@pytest.mark.parametrize("case", cases())
def test_what_the_operator_makes_conforms(schemas, case):
    """HTTPRoutes and ScaledObjects are not checked: their schemas come with the Gateway API and with KEDA."""
    checked = [child.manifest for child in children_of(case) if child.key.kind not in OPTIONAL]
    told = conform(schemas, yaml.safe_dump_all(checked))
    assert f"Summary: {len(checked)} resources" in told


@pytest.mark.parametrize("file", ["examples/minimal.yaml", "examples/full.yaml", "install.yaml"])
def test_the_manifests_conform(schemas, file):
    assert "Invalid: 0, Errors: 0, Skipped: 0" in conform(schemas, (ROOT / "manifests" / file).read_text())


def test_an_unknown_field_does_not_conform(schemas):
    pipeline = yaml.safe_load((FOLDER / "minimal" / "pipeline.yaml").read_text())
    pipeline["spec"]["kafak"] = {}
    with pytest.raises(AssertionError, match="kafak"):
        conform(schemas, yaml.safe_dump(pipeline))


@pytest.mark.parametrize("file", [ROOT / "kind-config.yaml", CONFIG], ids=["laptop", "e2e"])
def test_kinds_own_code_reads_our_kind_configuration(file):
    done = subprocess.run([binary("kindconfig"), file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_both_clusters_have_the_same_autoscaler():
    (node,) = yaml.safe_load(CONFIG.read_text())["nodes"]
    (patch,) = map(yaml.safe_load, node["kubeadmConfigPatches"])
    flags = patch["controllerManager"]["extraArgs"].items()
    assert tuple(f"--{name}={value}" for name, value in flags) == AUTOSCALER_FLAGS
