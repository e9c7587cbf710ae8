"""The dashboards as code: `python -m clickstream_dashboards DIR` writes the JSON that is committed in grafana/dashboards.

One module a dashboard, one function a panel, one house style. Deliberately absent: anything of one pipeline; the JSON
has variables for that, and `clickstream.contracts.dashboards` fills them in.
"""
