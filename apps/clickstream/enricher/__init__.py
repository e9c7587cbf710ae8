"""The enricher: raw clicks in; enriched clicks, sessions and dead letters out. Faust moves the data (chunks.py)."""
