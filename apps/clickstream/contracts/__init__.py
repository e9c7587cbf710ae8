"""What the processes agree on: records, names, topics, the pipeline document, Kafka settings and telemetry.

`tracking_api`, `enricher` and `sinks` import this package and never each other; the operator
imports only its pure modules (`names`, `topics`, `pipeline`, `durations`).

Deliberately absent: any decision. A module here says how something is written down, not when it is written.
"""
