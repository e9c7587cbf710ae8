"""Writes the repository's generated files: the chart's CRD, schema and README, the manifest and the reference.

Each has one source: the CRD in manifests/crds, or the chart's values.yaml. `make generated` writes them, and a test
proves that they are current. Dashboards are grafana/'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "charts" / "clickstream"
CRD: Final = ROOT / "manifests" / "crds" / "clickstreampipelines.clickstream.dev.yaml"
