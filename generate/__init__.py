"""Writes what the repository holds twice: the chart's CRD, schema and README, manifests/install.yaml and docs/pipeline-reference.md.

Each has one source: the CRD in manifests/crds, or the chart's values.yaml. `make generated` writes them, and a test proves that
they are current.

Deliberately absent: dashboards, which grafana/ makes, and anything that is decided. What is generated says what its source says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "charts" / "clickstream"
CRD: Final = ROOT / "manifests" / "crds" / "clickstreampipelines.clickstream.dev.yaml"
