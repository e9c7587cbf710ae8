"""A Kubernetes for the end-to-end tests, built from Go modules, on a machine without a container engine.

`ApiServer` is a control plane without nodes, for the operator's tests; it needs no root. `Node` is a complete cluster.
Where there is an engine, `Kind` takes the place of `Node`; `choice` selects one.
"""

from cluster.apiserver import ApiServer
from cluster.kind import Kind
from cluster.node import Node

__all__ = ["ApiServer", "Kind", "Node"]
