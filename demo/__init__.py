"""`make demo`: the whole pipeline on this machine, watched live, and checked event by event at the end.

    python -m demo                 until Ctrl-C; DEMO_SECONDS=60 ends by itself
    python -m demo check           the check alone, of a demo that was kept (DEMO_KEEP=1) and whose servers run

Real Kafka, Elasticsearch and PostgreSQL (`devstack`), the pipeline's own processes, the example shop and the simulated
visitors are started and ended here; nothing else is touched. The check (`check`) is a pure function of the simulator's
ledger and of what is read back from both stores.
"""
