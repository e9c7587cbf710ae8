"""Simulated shop visitors: `clickstream simulate` sends clicks to a tracking API and keeps a ledger of the answers.

What the visitors do (`visits`, `spoiled`, `traffic`) is a pure function of the seed; when it is sent is an open-loop
schedule (`sender`), which never waits for an answer. The ledger (`ledger`) is what a check of the stores starts from.
"""
