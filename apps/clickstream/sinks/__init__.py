"""The sinks: clicks and sessions from Kafka into Elasticsearch (live search) and PostgreSQL (history), and their setup.

`loop` is the one consume loop, `sink` the protocol that a store has to meet; `elasticsearch/` and `postgres/` each
hold all that is known about one store. Both stores are fed by the same loop with the same records, so that what holds
for one (nothing lost, nothing twice, an old session never over a newer one) is tested for both alike.

Deliberately absent: any enrichment. What a click or a session means was decided before it came here.
"""
