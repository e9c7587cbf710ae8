"""Brokers that go away under a question about a consumer group, and come back, end no process."""

from __future__ import annotations

import subprocess
import sys

ASK_AND_OUTLIVE = """
import json, sys, time
from clickstream.contracts.kafka_rights import Right
from clickstream.runtime import kafka_rights

# The client outlives its question, as when brokers come back while it is being closed.
kept, make = [], kafka_rights.AdminClient
kafka_rights.AdminClient = lambda config: kept.append(make(config)) or kept[-1]
right = Right("group", "some-group", "Read")
print(kafka_rights.missing({"bootstrap.servers": sys.argv[1], "log_level": 0}, [right]) == ((), (right,)), flush=True)
sys.stdin.readline()
kept[0].list_topics(timeout=60)  # the client that asked has found its brokers, and soon the coordinator
for _ in range(20):
    if (answer := kafka_rights.missing({"bootstrap.servers": sys.argv[1]}, [right])) == ((), ()):
        break
    time.sleep(1)
print(answer, flush=True)
"""


def test_a_question_about_a_group_outlives_its_brokers(stack):
    """librdkafka aborts when such a request times out before its coordinator is found (#4605)."""
    servers = stack.kafka.bootstrap_servers
    stack.kafka.stop()
    try:
        asking = subprocess.Popen(
            [sys.executable, "-c", ASK_AND_OUTLIVE, servers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert asking.stdout is not None
        assert asking.stdout.readline() == "True\n", "the rights are unknown while no broker answers"
    finally:
        stack.kafka.start()
    out, err = asking.communicate("\n", timeout=240)
    assert (asking.returncode, out) == (0, "((), ())\n"), err
