"""Passes over a generated pipeline in a cluster in memory, and what must not come of them."""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

import pytest

from clickstream.runtime.logs import JsonFormatter
from clickstream_operator import naming
from clickstream_operator.failures import describe, trace
from clickstream_operator.inputs import Images
from clickstream_operator.mounts import all_keys
from clickstream_operator.reconcile import Reconciler
from clickstream_operator.spec import InvalidSpecError, parse_spec
from support.generated_pipelines import Generator, leaks
from support.memory_cluster import MemoryCluster

Json = dict[str, Any]


def troubles(pipeline: Json, made: Generator, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Two passes as it is, one while it is deleted; what they did that they must not, empty where all is well."""
    caplog.clear()
    cluster = MemoryCluster(copy.deepcopy(pipeline))
    try:
        for key in all_keys(parse_spec(pipeline["spec"])):
            cluster.secrets.setdefault(key.secret, {})[key.key] = made.secret()
    except InvalidSpecError:
        pass  # told by the pass
    found: list[str] = []
    reconciler = Reconciler(cluster, Images("apps:1"), 15.0)  # type: ignore[arg-type]
    itself = naming.KIND, "web", "shop"
    with caplog.at_level(logging.DEBUG):
        for change in ({}, {}, {"deletionTimestamp": "now", "finalizers": [naming.FINALIZER]}):
            cluster.objects[itself]["metadata"] |= change
            result = reconciler.reconcile("web", "shop")
            found += [f"{describe(error)}: {trace(error)}" for error in result.errors]
            told = [str(result.transitions), json.dumps(cluster.objects.get(itself, {}).get("status"))]
            found += ["status or Event tells a Secret" for text in told if leaks(text)]
    formatter = JsonFormatter("operator")
    found += [f"the log tells a Secret: {line}" for line in map(formatter.format, caplog.records) if leaks(line)]
    for (kind, _, name), child in cluster.objects.items():
        if name != naming.datasources("shop") and leaks(json.dumps(child, ensure_ascii=False)):
            found.append(f"{kind} {name} holds a Secret's characters")
    return found
