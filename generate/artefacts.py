"""The list of generated files, in build order: install.yaml is rendered from the chart's other files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from generate import CHART, ROOT
from generate.chart import crd_template, readme, schema
from generate.install import install_manifest
from generate.reference import reference


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file and the function that gives its text."""

    path: Path
    make: Callable[[], str]


ARTEFACTS: Final = (
    Artefact(CHART / "templates" / "crd.yaml", crd_template),
    Artefact(CHART / "values.schema.json", schema),
    Artefact(CHART / "README.md", readme),
    Artefact(ROOT / "manifests" / "install.yaml", install_manifest),
    Artefact(ROOT / "docs" / "pipeline-reference.md", reference),
)
