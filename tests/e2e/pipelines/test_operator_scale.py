"""What many pipelines at rest cost, how soon drift is repaired, and a second operator that stands by.

`OPERATOR_SCALE=300 OPERATOR_SCALE_RESYNC=15 OPERATOR_SCALE_LOOK=300 pytest … -k many -s`: figures for docs/sizing.md.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from clickstream_operator.at_rest import FULL_PASS_SECONDS
from devstack.child import Child
from e2e.pipelines.surroundings import ACCOUNT, SYSTEM, USER, Surroundings, pipeline

PIPELINES = int(os.environ.get("OPERATOR_SCALE", "8"))
RESYNC_SECONDS = int(os.environ.get("OPERATOR_SCALE_RESYNC", "1"))
LOOK_SECONDS = int(os.environ.get("OPERATOR_SCALE_LOOK", "10"))
READS_A_PASS = 3
CPU_A_PASS = 0.005
REPAIR_SECONDS = 5
READING = {"get", "list"}
LEASE = f"{SYSTEM}/{ACCOUNT}"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def requests(cluster: Surroundings, begin: int) -> Counter[str]:
    """Calls of the operator by verb and resource, from a byte of the audit log on; watches left out."""
    return Counter(
        f"{each['verb']} {each.get('objectRef', {}).get('resource', each['requestURI'])}"
        for each in cluster.api.audited(begin)
        if each["user"]["username"] == USER and each["verb"] != "watch"
    )


@pytest.fixture(autouse=True)
def ended(control_plane: Surroundings) -> Iterator[None]:
    """No operator is left to the next test."""
    yield
    control_plane.stop_operator(signal.SIGKILL)


@pytest.mark.long
def test_many_pipelines_at_rest_cost_next_to_nothing(control_plane, web):
    names = [f"p{number}" for number in range(PIPELINES)]
    control_plane.start_operator(OPERATOR_RESYNC_SECONDS=str(RESYNC_SECONDS))
    began = time.monotonic()
    control_plane.apply(*(pipeline(name, web) for name in names))

    def ready() -> bool:
        found = control_plane.all("csp", namespace=web)
        conditions = [
            {each["type"]: each["status"] for each in one["status"].get("conditions", [])}
            for one in found
            if "status" in one
        ]
        return sum(each.get("Ready") == "True" for each in conditions) == PIPELINES

    control_plane.until("all pipelines are ready", ready, 120 + 3 * PIPELINES)
    took = time.monotonic() - began
    pid = control_plane.process.popen.pid

    def look() -> tuple[Counter[str], float]:
        begin, before = control_plane.api.audit_log.stat().st_size, cpu_seconds(pid)
        time.sleep(LOOK_SECONDS)  # what is measured is what happens in this time
        return requests(control_plane, begin), cpu_seconds(pid) - before

    def at_rest(calls: Counter[str]) -> bool:
        """Nothing is written, and hardly anything is read as a whole before its five minutes are over."""
        whole = calls["list deployments"]
        return {
            each.split()[0] for each in calls
        } <= READING and whole <= 2 * PIPELINES * LOOK_SECONDS / FULL_PASS_SECONDS

    control_plane.until("they are at rest", lambda: at_rest(look()[0]), 600 + 2 * LOOK_SECONDS)
    calls, cpu = look()
    passes = PIPELINES * LOOK_SECONDS / RESYNC_SECONDS
    print(
        f"\n{PIPELINES} pipelines ready in {took:.0f} s; at rest, every {RESYNC_SECONDS} s: "
        f"{sum(calls.values()) / passes:.2f} reads and {1_000 * cpu / passes:.2f} ms of processor time a pass, "
        f"{cpu / LOOK_SECONDS:.3f} cores"
    )
    assert at_rest(calls), calls
    assert sum(calls.values()) / passes <= READS_A_PASS
    assert cpu / passes <= CPU_A_PASS

    for kind, name in (("deployment", "p0-enricher"), ("configmap", "p1-pipeline"), ("networkpolicy", "p2-enricher")):
        uid = control_plane.get(kind, name, web)["metadata"]["uid"]
        control_plane.delete(kind, name, web)

        def back(kind: str = kind, name: str = name, uid: str = uid) -> bool:
            there = control_plane.get(kind, name, web)
            return there is not None and there["metadata"]["uid"] != uid

        control_plane.until(f"{kind} {name} is back", back, REPAIR_SECONDS)
    assert control_plane.stop_operator() == 0
    control_plane.kubectl("delete", "csp", "--all", "-n", web, "--wait=false")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_operator_that_stands_by_takes_over(control_plane, web, how, tmp_path):
    control_plane.start_operator(OPERATOR_LEASE=LEASE)
    control_plane.apply(pipeline(namespace=web))
    control_plane.until_ready("shop", web)
    holder = control_plane.get("lease", ACCOUNT, SYSTEM)["spec"]["holderIdentity"]

    first = control_plane.process
    control_plane.process = None
    control_plane.start_operator(OPERATOR_LEASE=LEASE)
    second = control_plane.process
    assert isinstance(first, Child)
    control_plane.until("the second says that it waits", lambda: f"held by {holder}" in control_plane.log())
    begin = control_plane.writes()
    first.send(how)
    first.popen.wait(20)
    gone = time.monotonic()
    control_plane.delete("deployment", "shop-enricher", web)
    control_plane.until("it is back", lambda: control_plane.get("deployment", "shop-enricher", web), 40)
    took = time.monotonic() - gone
    assert took < (10 if how == signal.SIGTERM else 30)
    assert control_plane.get("lease", ACCOUNT, SYSTEM)["spec"]["holderIdentity"] != holder
    assert len(control_plane.writes()) > len(begin)
    control_plane.process = second
    assert control_plane.stop_operator() == 0
    assert "holderIdentity" not in control_plane.get("lease", ACCOUNT, SYSTEM)["spec"], "it is free at once"
