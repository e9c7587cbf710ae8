"""A Kubernetes of the project's own for its end-to-end tests, out of Go modules, on a machine without a container engine.

`ApiServer` is a control plane without nodes, for the operator's tests; it needs no root. `Node` is a complete cluster.
Where there is an engine, `Kind` takes the place of `Node`; `choice` says which it is.
"""

from e2e.cluster.apiserver import ApiServer
from e2e.cluster.kind import Kind
from e2e.cluster.node import Node

__all__ = ["ApiServer", "Kind", "Node"]
