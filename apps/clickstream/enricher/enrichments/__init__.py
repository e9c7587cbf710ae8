"""What can be found out about a click by looking at it alone: one file an enrichment, each a function that fills a `Draft`.

An enrichment reads the draft's click and what enrichments before it found, and sets fields of its own; the order is
`flow.py`'s. Each is a pure function of the click, the pipeline document and read-only tables, and keeps what it computed
before in a bounded `Memo`. None raises for anything that a click may hold. Deliberately absent: Faust, Kafka, any clock.
"""
