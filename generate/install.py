"""manifests/install.yaml: the chart with its default values, for `kubectl apply` where nobody wants Helm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from generate import CHART

NAMESPACE: Final = "clickstream-system"
_HEAD: Final = """\
# The clickstream operator for the whole cluster: charts/clickstream with its default values (`make generated`). A \
release has
# a file of this name with published images; a checkout's names images that are built by hand.
#   kubectl apply --server-side -f manifests/install.yaml
"""
_NAMESPACE: Final = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}


def helm(*arguments: str) -> str:
    """Standard output of the locked helm. Raises subprocess.CalledProcessError, with `stderr`, when it fails."""
    command = [str(Path(sys.executable).parent / "helm"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own arguments


def install_manifest(chart: Path = CHART) -> str:
    """A rendered chart in a namespace with the restricted Pod Security Standard, without Helm's own labels."""
    rendered = helm("template", "clickstream", str(chart), "--namespace", NAMESPACE, "--no-hooks")
    resources = [_plain(one) for one in yaml.safe_load_all(rendered) if one]
    return _HEAD + yaml.safe_dump_all([_NAMESPACE, *resources], sort_keys=False, width=120)


def _plain(resource: dict[str, Any]) -> dict[str, Any]:
    metadata = resource["metadata"]
    metadata.pop("annotations", None)
    for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
        metadata["labels"].pop(label, None)
    return resource
