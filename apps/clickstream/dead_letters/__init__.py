"""`clickstream dead-letters`: what was refused, told by stage, code, time and source, and sent again once it is repaired."""
