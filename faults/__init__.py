"""`make faults`: traffic through the whole data plane while everything around it fails, and a check of every click."""
