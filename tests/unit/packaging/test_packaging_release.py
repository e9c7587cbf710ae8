"""What a release publishes names what it publishes, and nobody's name is written down for it."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tomllib

import pytest
import yaml

from generate import CHART, ROOT
from generate.install import helm
from generate.release import main, published_chart
from support.resources import one_of_kind

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
RELEASE = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text())
REGISTRY, SOURCE = "registry.example/Some-One", "https://git.example/Some-One/clickstream"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The folder of a release, and the chart unpacked."""
    folder = tmp_path_factory.mktemp("release")
    arguments = ["--registry", REGISTRY, "--source", SOURCE, "--tag", f"v{VERSION}", str(folder)]
    assert main(arguments) == 0
    assert {path.name for path in folder.iterdir()} == {f"clickstream-{VERSION}.tgz", "install.yaml"}
    with tarfile.open(folder / f"clickstream-{VERSION}.tgz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return folder


def images(resources):
    (container,) = one_of_kind(resources, "Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    return [container["image"], environment["OPERATOR_APPS_IMAGE"]]


def test_the_chart_and_the_manifest_of_a_release_name_its_images(released):
    # A registry takes lower case only.
    wanted = [f"registry.example/some-one/clickstream-{part}:{VERSION}" for part in ("operator", "apps")]
    rendered = helm("template", "clickstream", str(released / f"clickstream-{VERSION}.tgz"))
    assert images([one for one in yaml.safe_load_all(rendered) if one]) == wanted
    manifest = (released / "install.yaml").read_text()
    assert images([one for one in yaml.safe_load_all(manifest) if one]) == wanted


def test_the_chart_of_a_release_has_what_catalogues_show(released):
    folder = released / "unpacked" / "clickstream"
    chart = yaml.safe_load((folder / "Chart.yaml").read_text())
    assert chart["home"] == SOURCE
    assert chart["sources"] == [SOURCE]
    assert chart["maintainers"][0]["url"] == SOURCE
    assert chart["icon"] == f"{SOURCE}/raw/v{VERSION}/charts/clickstream/icon.svg"
    assert (folder / "icon.svg").read_bytes() == (CHART / "icon.svg").read_bytes()
    annotations = {name.partition("/")[2]: text for name, text in chart["annotations"].items()}
    listed = yaml.safe_load(annotations["images"])
    assert {one["image"].rpartition(":")[0] for one in listed} == {
        "registry.example/some-one/clickstream-operator",
        "registry.example/some-one/clickstream-apps",
    }
    (build,) = (step for step in RELEASE["jobs"]["images"]["steps"] if "build-push-action" in step.get("uses", ""))
    assert all(one["platforms"] == build["with"]["platforms"].split(",") for one in listed)
    for link in yaml.safe_load(annotations["links"]):
        assert (ROOT / link["url"].removeprefix(f"{SOURCE}/blob/v{VERSION}/")).exists()
    (defined,) = yaml.safe_load(annotations["crds"])
    (example,) = yaml.safe_load(annotations["crdsExamples"])
    assert example["kind"] == defined["kind"]
    readme = (folder / "README.md").read_text()
    assert "oci://registry.example/some-one/charts/clickstream" in readme
    assert "OWNER" not in readme
    assert "](../" not in readme


def test_a_tag_that_is_not_the_charts_version_publishes_nothing(tmp_path, capsys):
    arguments = ["--registry", REGISTRY, "--source", SOURCE, "--tag", "v99.0.0", str(tmp_path / "dist")]
    assert main(arguments) == 1
    assert "v99.0.0 is not v and the version of charts/clickstream/Chart.yaml" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_a_chart_that_has_lost_its_place_for_an_image_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr("generate.release._IMAGES", {"image": "another-name"})
    with pytest.raises(ValueError, match=r"another-name.* stands 0 times"):
        published_chart(tmp_path / "clickstream", "registry.example", SOURCE)


def test_the_version_is_the_same_everywhere():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    dockerfiles = {path.read_text() for path in (ROOT / "images").glob("*.Dockerfile")}
    assert chart["appVersion"] == chart["version"] == project
    assert {re.search(r"^ARG VERSION=(.+)$", text, re.MULTILINE)[1] for text in dockerfiles} == {project}


def test_a_checkout_names_no_owner():
    """Whoever forks it publishes it under a name of their own."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.split("\0"):
        path = ROOT / name
        if path.suffix in {".md", ".yaml", ".yml", ".py", ".tpl", ".txt"} and path.is_file():
            for owner in re.findall(r"ghcr\.io/([\w${}.-]+)", path.read_text()):
                assert owner == "OWNER" or owner.startswith("${"), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_a_commit_and_workflows_may_only_read(path):
    text = path.read_text()
    for used in re.findall(r"uses: (\S+)", text):
        assert used.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), used
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_a_release_is_tested_first_and_signed():
    jobs = RELEASE["jobs"]
    assert jobs["tested"] == {"uses": "./.github/workflows/ci.yaml"}
    assert set(jobs["images"]["needs"]) == {"tested", "chart"}
    assert "images" in jobs["publish"]["needs"]
    (build,) = (step["with"] for step in jobs["images"]["steps"] if "build-push-action" in step.get("uses", ""))
    assert build["sbom"] is True
    assert build["provenance"] == "mode=max"
    for job, signed in (("images", '"$IMAGE@$DIGEST"'), ("publish", '"$CHARTS/clickstream@')):
        assert jobs[job]["permissions"]["id-token"] == "write"
        assert any(f"cosign sign --yes {signed}" in step.get("run", "") for step in jobs[job]["steps"])
    writers = {name for name, job in jobs.items() if "write" in str(job.get("permissions"))}
    assert writers == {"images", "publish"}


def test_make_release_is_this_command():
    command = ["make", "--silent", "release", "REGISTRY=registry.example/x", f"SOURCE={SOURCE}", "TAG=v99.0.0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "v99.0.0 is not v and the version" in done.stderr
