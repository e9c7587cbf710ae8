"""A pipeline with a mistake in it turns the harness red, one without stays green: else a green run would prove
nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from faults.fault import Fault
from faults.kinds import ALL
from faults.mutants import MUTANTS
from faults.report import report
from faults.run import Result, run
from faults.servers import Servers
from faults.settings import Settings, Size
from faults.timeline import Timeline
from faults.world import World

pytestmark = pytest.mark.timeout(600)

SMALL = Size(
    rate=150, clicks=2_500, faults=0, gap=6, grace=9, give_up=12, again_after=600, calm=0.5, longest=5, drain=15
)
DAY = 86_400


def midnight(world: World, seconds: float) -> None:
    """The enricher dies after its output, and goes on the next day."""
    world.parts["enricher"].replicas[0].launcher = ("-m", "faults.mutants", "enricher/day-from-now", str(DAY))
    NAMED["enricher is killed after its output"].run(world, seconds)


def without_poison(world: World, seconds: float) -> None:
    """Nothing but traffic."""
    time.sleep(seconds)


NAMED = {fault.name: fault for fault in ALL}
MIDNIGHT = Fault("midnight passes", "clocks", midnight)
CALM = Fault("nothing", "none", without_poison)

# mutant, what turns it red, and as what it shows
CASES: dict[str, tuple[list[str | Fault], set[str]]] = {
    "tracking-api/acks-0": (["tracking-api→kafka is silent, then cut"], {"lost"}),
    "sink-postgres/commit-first": (["sink-postgres is killed while sink-postgres→postgres is silent"], {"lost"}),
    "sink-elasticsearch/random-id": (
        ["sink-elasticsearch is killed after its store has taken clicks"],
        {"duplicated"},
    ),
    "enricher/day-from-now": ([MIDNIGHT], {"duplicated"}),
    "enricher/no-replay-guard": (["enricher is killed between two writes"], {"session recomputed"}),
    "enricher/skip-backward": (["raw-clicks is created anew"], {"lost"}),
    "enricher/unbounded-matcher": ([CALM], {"trouble"}),
}

ALL_OF_THEM: list[str | Fault] = [
    "enricher is killed after its output",
    *dict.fromkeys(fault for chosen, _ in CASES.values() for fault in chosen if fault is not MIDNIGHT),
]


def outcome(servers: Servers, folder: Path, number: int, mutant: str | None) -> Result:
    """One run, with links of its own to servers that all share."""
    name = "sound" if mutant is None else mutant.replace("/", "-")
    # The repeats of the simulator are recognized by what one mutant is without; its replays alone must show it.
    repeated = 0.0 if mutant == "enricher/no-replay-guard" else 0.01
    poison = mutant in {None, "enricher/unbounded-matcher"}
    settings = Settings(SMALL, 7, folder, mutant=mutant, repeated=repeated, poison=poison)
    names: list[str | Fault] = ALL_OF_THEM if mutant is None else CASES[mutant][0]
    chosen = [NAMED[fault] if isinstance(fault, str) else fault for fault in names]
    (folder / name).mkdir(parents=True)
    return run(servers, settings, Timeline(folder / name / "timeline"), chosen, f"run-{name}", servers.links[number])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str | None, Future[Result]]]:
    """Every run, three at a time: they mostly wait, for sessions of consumer groups to expire above all."""
    folder = tmp_path_factory.mktemp("faults")
    runs: list[str | None] = [None, *sorted(MUTANTS)]
    servers = Servers(folder / "servers", runs=len(runs))
    pool = ThreadPoolExecutor(3)
    try:
        yield {mutant: pool.submit(outcome, servers, folder, number, mutant) for number, mutant in enumerate(runs)}
    finally:
        pool.shutdown(cancel_futures=True)
        servers.close()


def test_every_mutant_has_a_case():
    assert set(CASES) == set(MUTANTS)


def test_without_a_mistake_the_same_faults_leave_nothing_wrong(results):
    result = results[None].result()
    assert result.ok, report(result)
    assert result.poison > 0


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_mistake_is_found(results, mutant):
    result = results[mutant].result()
    assert not result.ok, report(result)
    found = set(result.findings.verdict.kinds) | ({"trouble"} if result.trouble else set())
    assert CASES[mutant][1] <= found, report(result)
