"""The dashboards as code: `python -m clickstream_dashboards DIR` writes the JSON of grafana/dashboards.

One module a dashboard, one function a panel, one house style. Nothing in the JSON belongs to one pipeline: it has
variables, and `clickstream.contracts.dashboards` fills them in.
"""
