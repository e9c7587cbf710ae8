"""The wheel and the images hold what their process needs, and nothing of the other's."""

from __future__ import annotations

import ast
import importlib.resources
import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile

import pytest

from generate import CRD, ROOT

DOCKERFILES = sorted((ROOT / "images").glob("*.Dockerfile"))
DATA = "clickstream_operator/data"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_the_resource_definition_and_the_dashboards(wheel):
    assert wheel.read(f"{DATA}/{CRD.name}") == CRD.read_bytes()
    for dashboard in (ROOT / "grafana" / "dashboards").glob("*.json"):
        assert wheel.read(f"{DATA}/dashboards/{dashboard.name}") == dashboard.read_bytes()


def test_a_checkout_finds_them_at_the_same_place():
    data = importlib.resources.files("clickstream_operator") / "data"
    assert (data / CRD.name).read_bytes() == CRD.read_bytes()
    names = {path.name for path in (ROOT / "grafana" / "dashboards").glob("*.json")}
    assert names
    assert names <= {dashboard.name for dashboard in (data / "dashboards").iterdir()}


def test_the_wheel_holds_no_tests_and_no_tools(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "clickstream",
        "clickstream_operator",
        "devstack",
    }


def locked(name):
    pins = re.split(r"\n(?=[a-z])", (ROOT / "requirements" / name).read_text())
    assert all("--hash=sha256:" in pin for pin in pins)
    return {pin.partition("==")[0] for pin in pins}


def test_neither_image_has_the_others_dependencies():
    apps, operator = locked("apps.txt"), locked("operator.txt")
    assert {"fastapi", "faust-streaming", "confluent-kafka", "elasticsearch", "psycopg"} <= apps
    assert {"kopf", "kubernetes", "msgspec"} <= operator
    assert not apps & {"kopf", "kubernetes", "pytest", "ruff"}
    assert not operator & {
        "fastapi",
        "faust-streaming",
        "confluent-kafka",
        "elasticsearch",
        "psycopg",
        "pytest",
        "ruff",
    }


def test_the_contracts_that_the_operator_reads_need_msgspec_only():
    program = """
        import sys, json
        from clickstream.contracts import durations, names, pipeline, topics
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))))
    """
    paths = {"PYTHONPATH": str(ROOT / "apps"), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    found = json.loads(subprocess.run(command, env=paths, capture_output=True, text=True, check=True).stdout)
    # msgspec takes typing_extensions where it is there.
    foreign = {name for name in found if not name.startswith("_")} - {"sitecustomize", "typing_extensions"}
    assert foreign == {"clickstream", "msgspec"}


@pytest.mark.parametrize("script", ["apps/shop/server.py", "images/live.py"])
def test_what_runs_beside_the_packages_needs_nothing_that_is_installed(script):
    tree = ast.parse((ROOT / script).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_there_is_an_image_of_each():
    assert [path.name for path in DOCKERFILES] == ["apps.Dockerfile", "operator.Dockerfile"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_is_built_of_a_base_that_can_be_chosen(path):
    text = path.read_text()
    assert "\nARG BASE=python:3.12-slim\n" in text
    stages = dict(re.findall(r"^FROM (\S+) AS (\w+)$", text, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}", "runtime"}
    assert stages


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_nobody_in_particular_and_builds_nothing(path):
    text = path.read_text()
    runtime = text.partition(" AS runtime\n")[2].partition("\nFROM ")[0]
    assert "USER 10001:10001" in runtime
    assert "RUN" not in runtime  # no package manager, no compiler, no cache
    countries = (
        ["COPY --from=geoip /geoip/country.mmdb /opt/geoip/country.mmdb"] if path.stem.startswith("apps") else []
    )
    assert re.findall(r"^COPY .*", runtime, re.MULTILINE) == [
        *countries,
        "COPY --from=environment /opt/clickstream /opt/clickstream",
    ]
    assert f'ENTRYPOINT ["clickstream{"-operator" if path.stem.startswith("operator") else ""}"]' in runtime
    assert text.rstrip().endswith("\nFROM runtime")
    for install in re.findall(r"^RUN .*(?<!dist/\*\.whl)$", text, re.MULTILINE):
        assert "pip install" not in install or "--require-hashes" in install


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_what_an_image_copies_exists_and_is_let_through(path):
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    assert patterns[1] == "*"
    admitted = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", path.read_text(), re.MULTILINE):
        *sources, _target = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists()
            assert any(source == one or source.startswith(f"{one}/") for one in admitted), source
