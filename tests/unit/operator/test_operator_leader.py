"""One operator works at a time: whoever cannot renew the Lease ends before another may begin."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from clickstream_operator import leader
from clickstream_operator.cluster import ClusterError
from clickstream_operator.leader import Leadership, LeaseName
from support.waiting import until

NAME = LeaseName("system", "operator")


class Leases:
    """The API server's part: one Lease, with optimistic locking. `away`: it answers nobody of these."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.lock = threading.Lock()

    def to(self, candidate: str) -> Connection:
        return Connection(self, candidate)


class Connection:
    """One candidate's."""

    def __init__(self, leases: Leases, candidate: str) -> None:
        self.leases, self.candidate = leases, candidate
        self.away = False

    def get(self, *_: str) -> dict[str, Any] | None:
        self._look()
        with self.leases.lock:
            return copy.deepcopy(self.leases.lease)

    def create(self, manifest: dict[str, Any]) -> None:
        self._look()
        with self.leases.lock:
            if self.leases.lease is not None:
                raise ClusterError(409, "exists")
            self.leases.lease = manifest | {"metadata": manifest["metadata"] | {"resourceVersion": "1"}}

    def merge(self, kind: str, namespace: str, name: str, patch: dict[str, Any]) -> None:
        assert (kind, namespace, name) == ("Lease", *NAME)
        self._look()
        with self.leases.lock:
            assert self.leases.lease is not None
            version = self.leases.lease["metadata"]["resourceVersion"]
            if patch["metadata"]["resourceVersion"] != version:
                raise ClusterError(409, "changed")
            spec = {key: value for key, value in patch["spec"].items() if value is not None}
            self.leases.lease["spec"] = spec
            self.leases.lease["metadata"]["resourceVersion"] = str(int(version) + 1)

    def _look(self) -> None:
        if self.away:
            raise ClusterError(0, "the API server cannot be reached")


class Candidate:
    def __init__(self, leases: Leases, name: str) -> None:
        self.connection = leases.to(name)
        self.name = name
        self.leads, self.lost, self.stopping = threading.Event(), threading.Event(), threading.Event()
        self.leadership = Leadership(self.connection, NAME, name, self.lost.set)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        if self.leadership.acquire(self.stopping):
            self.leads.set()

    def end(self) -> None:
        self.stopping.set()
        self.thread.join()
        self.leadership.release()


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> Leases:
    monkeypatch.setattr(leader, "LEASE_SECONDS", 3)
    monkeypatch.setattr(leader, "RENEW_SECONDS", 1.0)
    monkeypatch.setattr(leader, "RETRY_SECONDS", 0.02)
    return Leases()


@pytest.fixture
def pair(leases: Leases) -> Iterator[tuple[Candidate, Candidate]]:
    first = Candidate(leases, "first")
    assert first.leads.wait(5)
    second = Candidate(leases, "second")
    yield first, second
    first.end()
    second.end()


def test_of_many_candidates_one_leads_at_a_time_and_the_next_begins_at_once_when_it_ends(leases):
    candidates = [Candidate(leases, f"c{number}") for number in range(6)]
    waiting = list(candidates)
    while waiting:
        until(lambda: any(each.leads.is_set() for each in waiting), "one leads", 2)
        (now,) = [each for each in waiting if each.leads.is_set()]
        assert leases.lease["spec"]["holderIdentity"] == now.name
        assert not now.lost.is_set()
        waiting.remove(now)
        now.end()
    assert leases.lease["spec"]["leaseTransitions"] == 5
    assert "holderIdentity" not in leases.lease["spec"]


def test_a_leader_that_is_cut_off_ends_before_the_other_begins(pair):
    first, second = pair
    first.connection.away = True
    assert first.lost.wait(5)
    assert not second.leads.is_set(), "the Lease holds for longer than the leader trusts it"
    assert second.leads.wait(5)


def test_a_leader_survives_an_outage_that_is_shorter(pair):
    first, second = pair
    for _ in range(3):
        first.connection.away = True
        assert not first.lost.wait(0.4)
        first.connection.away = False
        assert not first.lost.wait(0.4)
    assert not second.leads.is_set()


def test_a_leader_whose_renewal_hangs_ends_all_the_same(pair, monkeypatch):
    first, _ = pair
    hanging = threading.Event()
    monkeypatch.setattr(first.connection, "get", lambda *_: hanging.wait(10) and None)
    assert first.lost.wait(5)
    hanging.set()


def test_who_waits_ends_when_it_is_told_to(pair):
    _, second = pair
    second.stopping.set()
    second.thread.join(5)
    assert not second.thread.is_alive()
    assert not second.leads.is_set()
