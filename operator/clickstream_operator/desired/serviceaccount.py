"""The account that the pods run under: without rights and without a token, since they never talk to Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator

from clickstream_operator import naming
from clickstream_operator.desired.child_object import ChildObject
from clickstream_operator.desired.context import Context


def service_account(context: Context) -> Iterator[ChildObject]:
    name, annotations = naming.service_account(context.pipeline.name), context.spec.service_account.annotations
    manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": context.metadata(name, naming.CONFIGURATION, annotations=annotations),
        "automountServiceAccountToken": False,
    }
    yield ChildObject(manifest, naming.CONFIGURATION)
