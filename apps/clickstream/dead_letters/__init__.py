"""`clickstream dead-letters`: rejected records, listed by stage, code, time and source, repaired and sent again."""
