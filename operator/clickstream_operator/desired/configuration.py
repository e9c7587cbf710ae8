"""The pipeline document as a ConfigMap, and the account that the pods run under."""

from __future__ import annotations

import json
from typing import Any

from clickstream_operator import document as documents
from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.spec import PipelineResource


def document_config_map(pipeline: PipelineResource, document: dict[str, Any]) -> Manifest:
    """What every process reads at its start."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(pipeline, naming.document(pipeline.name), "configuration"),
        "data": {documents.FILE: json.dumps(document, indent=2, ensure_ascii=False) + "\n"},
    }


def service_account(pipeline: PipelineResource) -> Manifest:
    """An account without rights and without a token: the processes never talk to Kubernetes."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(pipeline, naming.service_account(pipeline.name), "configuration"),
        "automountServiceAccountToken": False,
    }
