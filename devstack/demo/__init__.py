"""`make demo`: the whole pipeline on this machine, watched live, and checked event by event at the end.

    python -m devstack.demo                 until Ctrl-C; DEMO_SECONDS=60 ends by itself
    python -m devstack.demo check           the check alone, of a demo that was kept (DEMO_KEEP=1) and whose servers run

Real Kafka, Elasticsearch and PostgreSQL (`devstack`), the pipeline's own processes, the example shop and the simulated
visitors are started here and ended here; nothing else is ever touched. The check (`check`) is a pure function of the
simulator's ledger and of what is read back from both stores.

Deliberately absent: anything that the pipeline needs in production. The demo only starts processes and looks at them.
"""
