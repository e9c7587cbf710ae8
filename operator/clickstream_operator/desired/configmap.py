"""The pipeline document as a ConfigMap, which every process reads at its start."""

from __future__ import annotations

import json
from collections.abc import Iterator

from clickstream_operator import document, naming
from clickstream_operator.desired.child_object import ChildObject
from clickstream_operator.desired.context import Context


def pipeline_document(context: Context) -> Iterator[ChildObject]:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": context.metadata(naming.document(context.pipeline.name), naming.CONFIGURATION),
        "data": {document.FILE: json.dumps(context.document, indent=2, ensure_ascii=False) + "\n"},
    }
    yield ChildObject(manifest, naming.CONFIGURATION)
