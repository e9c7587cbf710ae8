"""The sinks: clicks and sessions from Kafka into Elasticsearch (live search) and PostgreSQL (history), and their setup.

`loop` is the one consume loop, `sink` the protocol of a store; `elasticsearch/` and `postgres/` each hold all that is
specific to one store. Both are fed by the same loop with the same records, so that what holds for one (nothing lost,
nothing twice, an old session never over a newer one) is tested for both alike.
"""
