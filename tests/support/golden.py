"""The golden cases of the operator: a pipeline and what is looked up for it in, every child out.

A case is a folder of tests/golden: `pipeline.yaml`, `inputs.yaml` where they are not the usual ones, and
`expected.yaml`, which `python -m support.golden` (make golden) writes anew. Dashboards are listed by uid, title and
panels only: their content has tests of its own.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from clickstream_operator.desired import DROP, PIPELINE, build
from clickstream_operator.desired.child_object import ChildObject
from clickstream_operator.desired.context import Context
from clickstream_operator.inputs import USER, Images, Inputs
from clickstream_operator.mounts import all_keys, datasource_keys
from clickstream_operator.spec import PipelineResource, read_resource

FOLDER = Path(__file__).parents[1] / "golden"
DELETING = "deleting"


def cases() -> list[str]:
    """The names of all cases."""
    return sorted(path.parent.name for path in FOLDER.glob("*/pipeline.yaml"))


def pipeline_of(case: str) -> PipelineResource:
    return read_resource(yaml.safe_load((FOLDER / case / "pipeline.yaml").read_text()))


def inputs_of(case: str) -> Inputs:
    """All Secrets are there, unless the case says otherwise."""
    said, spec = _said(case), pipeline_of(case).spec()
    missing = set(said.get("missingSecrets", []))
    return Inputs(
        images=Images(
            "clickstream-apps:test",
            pull_secrets=tuple(said.get("pullSecrets", ())),
            run_as_user=said.get("runAsUser", USER),
        ),
        secrets={
            key: None if "/".join(key) in missing else f"hash-of-{key.secret}-{key.key}" for key in all_keys(spec)
        },
        credentials={
            key: "postgresql://reader:let%20me%20in$@pg-0:5432,pg-1:5432/clicks?sslmode=require"
            if key.key == "uri"
            else f"<{key.key}>"
            for key in datasource_keys(spec)
        },
        strimzi=said.get("strimzi", True),
        gateway=said.get("gateway", True),
    )


def context_of(case: str) -> Context:
    """What the factories are given."""
    pipeline = pipeline_of(case)
    return Context.of(pipeline, pipeline.spec(), inputs_of(case))


def children_of(case: str) -> tuple[ChildObject, ...]:
    """What the operator would want."""
    return build(context_of(case), DROP if case == DELETING else PIPELINE)


def rendered(case: str) -> str:
    """The children as `expected.yaml` has them. All topics are ready, unless the case says otherwise."""
    ready = _said(case).get("topicsReady", True)
    return yaml.safe_dump_all(
        [_shown(child, topics_ready=ready) for child in children_of(case)], sort_keys=False, width=140
    )


def _said(case: str) -> dict[str, Any]:
    path = FOLDER / case / "inputs.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def _shown(child: ChildObject, *, topics_ready: bool) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(json.dumps(child.manifest))
    if child.component == "dashboards" and manifest["kind"] == "ConfigMap":
        manifest["data"] = {name: _dashboard(text) for name, text in manifest["data"].items()}
    elif manifest["kind"] == "ConfigMap":
        manifest["data"] = {name: json.loads(text) for name, text in manifest["data"].items()}
    elif manifest["kind"] == "Secret":
        manifest["data"] = {name: json.loads(base64.b64decode(text)) for name, text in manifest["data"].items()}
    blocker = child.blocker(topics_ready=topics_ready)
    if blocker is not None:
        manifest["# held back"] = f"{blocker.reason}: {blocker.message}"
    return manifest


def _dashboard(text: str) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(text)
    return {name: dashboard[name] for name in ("uid", "title")}


def main() -> int:
    """Write every `expected.yaml` anew."""
    for case in cases():
        (FOLDER / case / "expected.yaml").write_text(rendered(case))
        sys.stdout.write(f"{case}: {len(children_of(case))} children\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
