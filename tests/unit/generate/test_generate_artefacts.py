"""Generated files are current, and the reference and the values' reader miss nothing."""

from __future__ import annotations

import pytest
import yaml

from generate import CRD, ROOT
from generate.artefacts import ARTEFACTS
from generate.values import read_values


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda artefact: artefact.path.name)
def test_generating_anew_changes_nothing(artefact):
    assert artefact.path.read_text() == artefact.make(), "run `make generated`"


def test_the_reference_has_every_field():
    page = (ROOT / "docs" / "pipeline-reference.md").read_text()
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    def names(node):
        for name, field in node.get("properties", {}).items():
            yield name
            yield from names(field.get("items", field))

    for name in names(schema["properties"]["spec"]):
        assert f"`{name}`" in page or f"{{{name}" in page or f", {name}" in page, name


def test_install_yaml_is_one_whole_installation():
    resources = list(yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text()))
    kinds = [one["kind"] for one in resources]
    assert kinds[0] == "Namespace"
    assert resources[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {"CustomResourceDefinition", "Deployment", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"} <= set(
        kinds
    )
    assert "Pod" not in kinds  # helm's test is no part of it
    assert "helm" not in yaml.safe_dump_all(resources).lower()


def test_a_value_without_a_description_is_named(tmp_path):
    (tmp_path / "values.yaml").write_text("a:\n  # -- Described.\n  b: 1\n  # Only a comment.\n  c: 2\n")
    with pytest.raises(ValueError, match=r"a\.c has no description"):
        read_values(tmp_path / "values.yaml")


def test_a_description_may_have_lines_and_a_narrower_schema(tmp_path):
    (tmp_path / "values.yaml").write_text('a:\n  # -- One\n  # two.\n  # @schema {"minimum": 1}\n  b: 1\n')
    (value,) = read_values(tmp_path / "values.yaml")
    assert value.key == "a.b"
    assert value.description == "One two."
    assert value.schema == {"type": "integer", "minimum": 1, "description": "One two."}
