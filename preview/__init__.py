"""The committed dashboards without a Grafana: their own queries, run on the real stores, drawn on a read-only page.

One definition, two renderers: this package reads what Grafana reads (grafana/dashboards/*.json), replaces variables as
Grafana does and sends the queries that Grafana would send. It knows only the panel types and options that these
dashboards use. The dashboards' tests run panels through it, too.
"""
