"""The golden cases of the operator: a pipeline and the facts about its surroundings in, every child out.

A case is a folder of tests/golden: `pipeline.yaml`, `facts.yaml` where they are not the usual ones, and `expected.yaml`,
which `python -m support.golden` (make golden) writes anew. Dashboards are told by uid, title and panels only: their
content has tests of its own.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from clickstream_operator.desired import build, build_drop
from clickstream_operator.desired.child import Child
from clickstream_operator.facts import Facts, Images
from clickstream_operator.mounts import all_keys, datasource_keys
from clickstream_operator.spec import PipelineResource, read_resource

FOLDER = Path(__file__).parents[1] / "golden"
DELETING = "deleting"


def cases() -> list[str]:
    """The names of all cases."""
    return sorted(path.parent.name for path in FOLDER.glob("*/pipeline.yaml"))


def pipeline_of(case: str) -> PipelineResource:
    """The case's pipeline."""
    return read_resource(yaml.safe_load((FOLDER / case / "pipeline.yaml").read_text()))


def facts_of(case: str, pipeline: PipelineResource) -> Facts:
    """All Secrets are there and all topics ready, unless the case says otherwise."""
    path = FOLDER / case / "facts.yaml"
    told = yaml.safe_load(path.read_text()) if path.exists() else {}
    missing = set(told.get("missingSecrets", []))
    spec = pipeline.spec()
    return Facts(
        images=Images("clickstream-apps:test"),
        secrets={
            key: None if "/".join(key) in missing else f"hash-of-{key.secret}-{key.key}" for key in all_keys(spec)
        },
        credentials={
            key: "postgresql://reader:let%20me%20in@pg:5432/clicks?sslmode=require"
            if key.key == "uri"
            else f"<{key.key}>"
            for key in datasource_keys(spec)
        },
        strimzi=told.get("strimzi", True),
        topics_ready=told.get("topicsReady", True),
    )


def children_of(case: str) -> list[Child]:
    """What the operator would want."""
    pipeline = pipeline_of(case)
    return (build_drop if case == DELETING else build)(pipeline, facts_of(case, pipeline))


def rendered(case: str) -> str:
    """The children as `expected.yaml` has them."""
    return yaml.safe_dump_all([_shown(child) for child in children_of(case)], sort_keys=False, width=140)


def _shown(child: Child) -> dict[str, Any]:
    manifest = json.loads(json.dumps(child.manifest))
    if child.component == "dashboards" and manifest["kind"] == "ConfigMap":
        manifest["data"] = {name: _dashboard(text) for name, text in manifest["data"].items()}
    elif manifest["kind"] == "ConfigMap":
        manifest["data"] = {name: json.loads(text) for name, text in manifest["data"].items()}
    elif manifest["kind"] == "Secret":
        manifest["data"] = {name: json.loads(base64.b64decode(text)) for name, text in manifest["data"].items()}
    if child.hold is not None:
        manifest["# held back"] = f"{child.hold.reason}: {child.hold.message}"
    return manifest


def _dashboard(text: str) -> dict[str, Any]:
    dashboard = json.loads(text)
    return {name: dashboard[name] for name in ("uid", "title")}


def main() -> int:
    """Write every `expected.yaml` anew."""
    for case in cases():
        (FOLDER / case / "expected.yaml").write_text(rendered(case))
        sys.stdout.write(f"{case}: {len(children_of(case))} children\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
