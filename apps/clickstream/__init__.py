"""The clickstream data plane: collection, enrichment, sessions, sinks and the traffic simulator."""
