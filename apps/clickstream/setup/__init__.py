"""`clickstream setup` and `clickstream check`: create or delete what a pipeline needs, recompute what is stored."""
