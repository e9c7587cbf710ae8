"""The control plane: a ClickstreamPipeline in, everything that it needs out.

`desired` is what should exist, as a pure function; `reconcile` makes it so; `status` says how it stands. Only
`handlers` knows kopf, and only `cluster` knows the Kubernetes client.
"""
