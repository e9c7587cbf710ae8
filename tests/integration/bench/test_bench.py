"""The benchmarks run: each on two thousand events, on the servers of this run. Their figures are not looked at."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

EVENTS = 2_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bench", "--events", str(EVENTS), "--rounds", "1"), "enricher"),
        (("bench.panels", str(EVENTS)), f"{EVENTS:,} clicks stored"),
        (("bench.recovery", "--hours", "0.006", "--partitions", "3"), "ready_seconds"),
    ],
)
def test_it_measures(stack, arguments, said):
    servers = {
        "DEVSTACK_KAFKA": stack.kafka.bootstrap_servers,
        "DEVSTACK_ELASTICSEARCH": stack.elasticsearch.url,
        "DEVSTACK_POSTGRES": stack.postgres.dsn,
    }
    done = subprocess.run(
        [sys.executable, "-m", *arguments], env=os.environ | servers, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout + done.stderr
