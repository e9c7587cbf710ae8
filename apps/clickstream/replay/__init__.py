"""`clickstream replay`: raw clicks of a time range through today's enrichment, into both stores, counted once."""
