"""The committed dashboards without a Grafana: their own queries, run against the real stores and drawn on a read-only page.

One definition, two renderers: this package reads what Grafana reads (grafana/dashboards/*.json), replaces variables as
Grafana does and asks the stores what Grafana would ask. The truth tests of the dashboards run panels through it, too.
Deliberately absent: editing, users, any panel type or option that our dashboards do not use.
"""
