"""The pages name what exists: files, values of the chart, reasons, conditions and commands of make."""

from __future__ import annotations

import re

import pytest

from clickstream_operator import status
from generate import CHART, ROOT
from generate.values import read_values

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "manifests").rglob("*.md"), CHART / "README.md"]
)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        file, _, heading = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / file) if file else page
        assert there.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_targets_of_make_exist(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", page.read_text(), re.MULTILINE)) <= targets


def test_install_names_values_that_the_chart_has():
    known = {value.key for value in read_values(CHART / "values.yaml")}
    text = (ROOT / "docs" / "install.md").read_text()
    named = set(re.findall(r"--set '?([A-Za-z.]+)=", text)) | set(
        re.findall(r"`((?:metrics|crds|rbac)\.[A-Za-z.]+)", text)
    )
    assert named
    assert named <= known


def test_every_condition_is_explained():
    named = set(re.findall(r"^\| `(\w+Ready)` \|", OPERATIONS, re.MULTILINE))
    assert named == set(status.PARTS)


def test_every_reason_that_is_explained_is_given_by_the_operator():
    table = OPERATIONS.partition("| reason |")[2].partition("\n\n")[0]
    own, _, kubernetes = table.partition("| others")
    source = "".join(path.read_text() for path in (ROOT / "operator" / "clickstream_operator").rglob("*.py"))
    source += kubernetes
    reasons = re.findall(r"`([A-Z]\w+)`", own)
    assert len(reasons) > 10
    for reason in reasons:
        assert f'"{reason}"' in source, reason
