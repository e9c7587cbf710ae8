"""Every child of a dozen pipelines, as committed in tests/golden; `make golden` writes them anew."""

from __future__ import annotations

import copy

import msgspec
import pytest
import yaml

from clickstream_operator import naming
from clickstream_operator.desired import build
from clickstream_operator.desired.child_object import Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.inputs import USER
from support.golden import FOLDER, cases, children_of, inputs_of, pipeline_of, rendered

PODS = [
    pytest.param(case, child.manifest, id=f"{case}:{child.key[0]}/{child.key[2]}")
    for case in cases()
    for child in children_of(case)
    if child.key[0] in {"Deployment", "Job"}
]


@pytest.mark.parametrize("case", cases())
def test_the_children_are_the_committed_ones(case):
    assert rendered(case) == (FOLDER / case / "expected.yaml").read_text(), (
        "if that is meant: make golden, and read the diff"
    )


def test_there_are_enough_cases():
    assert len(cases()) >= 8


@pytest.mark.parametrize("case", cases())
def test_building_twice_gives_the_same_and_shares_nothing(case):
    first, second = children_of(case), children_of(case)
    assert first == second
    for child in first:
        before = copy.deepcopy(second)
        _scribble(child.manifest)
        assert second == before


@pytest.mark.parametrize("case", cases())
def test_names_are_unique_and_fit_and_labels_tell_the_pipeline(case):
    children = children_of(case)
    assert len({child.key for child in children}) == len(children)
    pipeline = pipeline_of(case)
    for child in children:
        meta = child.manifest["metadata"]
        assert len(meta["name"]) <= 253
        assert meta["labels"].items() >= naming.owned_by(pipeline.namespace, pipeline.name).items()
        assert all(len(value) <= 63 for value in meta["labels"].values())
        owners = [owner["uid"] for owner in meta.get("ownerReferences", [])]
        assert owners == ([] if child.key.kind == "KafkaTopic" else [pipeline.uid])


def test_the_longest_names_still_fit():
    longest = msgspec.structs.replace(pipeline_of("minimal"), name="x" * 40)
    for child in build(Context.of(longest, longest.spec(), inputs_of("minimal"))):
        limit = 253 if child.key[0] in {"KafkaTopic", "ConfigMap", "Secret"} else 63
        assert len(child.key[2]) <= limit, child.key


@pytest.mark.parametrize(("case", "manifest"), PODS)
def test_pods_keep_to_the_restricted_standard(case, manifest):
    pod = manifest["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    if case == "openshift":  # whose admission refuses any that is not of the namespace's own range
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
    else:
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == USER
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} <= {
        "configMap", "emptyDir", "projected", "persistentVolumeClaim",
    }  # fmt: skip
    for container in pod["containers"]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= container["resources"].keys()
        assert not any("secret" in str(each).lower() for each in container["env"]), "Secrets are files"


@pytest.mark.parametrize("case", cases())
def test_replicas_are_sent_only_to_stop_and_where_the_user_gives_them(case):
    given = {"shop-sink-postgres": 3} if case == "scalers" else {}
    for child in children_of(case):
        if child.key[0] == "Deployment":
            stopped = case == "suspended" and "tracking-api" not in child.key[2]
            assert child.manifest["spec"].get("replicas") == (0 if stopped else given.get(child.key.name))


@pytest.mark.parametrize("case", cases())
def test_a_selector_is_no_more_than_what_tells_the_pods_apart(case):
    for child in children_of(case):
        if child.key[0] == "Deployment":
            selector = child.manifest["spec"]["selector"]["matchLabels"]
            assert set(selector) == {f"app.kubernetes.io/{part}" for part in ("name", "instance", "component")}


def test_the_dashboards_name_the_steps_of_the_pipelines_own_funnels():
    """The golden files leave their panels out."""
    (board,) = [child.manifest for child in children_of("full") if child.key[2] == "shop-dashboard-funnels"]
    assert '"text": "3. Checkout"' in next(iter(board["data"].values()))


def test_expected_files_hold_no_secret():
    for case in cases():
        for manifest in yaml.safe_load_all((FOLDER / case / "expected.yaml").read_text()):
            if manifest["kind"] != "Secret":
                assert "let me in" not in str(manifest)


def _scribble(manifest: Manifest) -> None:
    for value in manifest.values():
        if isinstance(value, dict):
            _scribble(value)
            value["scribble"] = True
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    _scribble(item)
