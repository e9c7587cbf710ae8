"""The control plane: a ClickstreamPipeline in, everything that it needs out.

`reconcile` is one pass from top to bottom; `desired` is what should exist, as a pure function.
"""
