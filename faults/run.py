"""One run: traffic, faults one after the other, calm, the check."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from faults.crowd import Crowd
from faults.errors import HarnessError
from faults.fault import Fault
from faults.parts import Incident
from faults.poison import Poisoner
from faults.servers import Links, Servers
from faults.settings import Settings
from faults.timeline import Timeline
from faults.verdict import Findings, judge
from faults.world import World

WARM_UP_SECONDS: Final = 5.0
RECOVERED_SECONDS: Final = 90.0
AGAIN: Final = 500
"""Clicks that are sent again, long after they were accepted."""


@dataclass(frozen=True, slots=True)
class Done:
    """A completed fault: its duration, and the time until everything had caught up (None: not in time), in seconds."""

    fault: Fault
    began: float
    took: float
    recovered: float | None


@dataclass(slots=True)
class Result:
    """What a run found. `trouble`: incidents that no fault excuses, exit statuses other than 0, and the like."""

    findings: Findings
    summary: dict[str, Any]
    done: list[Done]
    poison: int
    answers: dict[int, int]
    slowest_answer: float
    again: int
    seconds: float
    trouble: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return self.findings.verdict.ok and not self.trouble

    def figures(self) -> dict[str, Any]:
        """The figures, for JSON."""
        verdict = self.findings.verdict
        return {
            "ok": self.ok,
            "sent": self.summary["sent"],
            "accepted": self.findings.accepted,
            "again": self.again,
            "faults": len(self.done),
            "poison": self.poison,
            "lost": verdict.lost,
            "doubled": verdict.duplicated,
            "phantom": verdict.phantom,
            "sessions": verdict.sessions,
            "skipped": self.findings.skipped,
            "differences": dict(verdict.kinds),
            "trouble": len(self.trouble),
            "seconds": round(self.seconds, 1),
        }


def run(
    servers: Servers,
    settings: Settings,
    timeline: Timeline,
    faults: Sequence[Fault],
    name: str,
    links: Links | None = None,
) -> Result:
    """Run it. Raises HarnessError, DevstackError; no process is left in any case."""
    world = World(servers, settings, timeline, name, links)
    crowd = Crowd(world)
    poisoner = Poisoner(world) if settings.poison else None
    sender = _Again(world, crowd)
    try:
        done = _disturb(world, faults)
        crowd.wait_until_sent(settings.size.clicks)
        summary = crowd.finish()
        again = sender.finish()
        if poisoner is not None:
            poisoner.stop()
        trouble = _settle(world)
        statuses = world.close()
        trouble += [f"{each} ended with status {status}" for each, status in sorted(statuses.items()) if status != 0]
        trouble += _unexcused(world.kubelet.incidents, done)
        timeline.say("checking every click and every session")
        findings = judge(world, crowd, poisoner)
    finally:
        world.calm.clear()
        crowd.end()
        sender.end()
        world.close()
    return Result(
        findings,
        summary,
        done,
        0 if poisoner is None else poisoner.records,
        {} if poisoner is None else dict(poisoner.answers),
        0.0 if poisoner is None else poisoner.slowest,
        again,
        timeline.seconds,
        trouble,
    )


def _disturb(world: World, faults: Sequence[Fault]) -> list[Done]:
    size, timeline = world.settings.size, world.timeline
    done: list[Done] = []
    world.calm.set()
    time.sleep(WARM_UP_SECONDS)
    for number, fault in enumerate(faults, 1):
        timeline.say(f"[{number}/{len(faults)}] {fault.name}")
        world.calm.clear()
        began = time.monotonic()
        fault.run(world, world.rng.uniform(size.longest / 3, size.longest))
        took = time.monotonic() - began
        # Caught up: no more in flight than what comes in two seconds.
        caught_up = world.caught_up(RECOVERED_SECONDS, int(size.rate * 2))
        recovered = time.monotonic() - began - took if caught_up else None
        done.append(Done(fault, began, took, recovered))
        told = f"not caught up in time: {world.behind()}" if recovered is None else f"{recovered:.1f} s to catch up"
        timeline.say(f"    {took:.1f} s, then {told}")
        world.calm.set()
        time.sleep(size.calm)
    return done


def _settle(world: World) -> list[str]:
    """Wait until everything is processed; nothing is sent any more."""
    world.timeline.say("waiting for the last clicks")
    try:
        world.wait_ready()
    except HarnessError as error:  # no fault is active: the platform failed
        return [str(error)]
    drain = world.settings.size.drain
    if not world.caught_up(drain):
        return [f"these records are left after {drain:.0f} s: {world.behind()}"]
    return []


def _unexcused(incidents: Sequence[Incident], done: Sequence[Done]) -> list[str]:
    """Processes that ended although no fault excuses it: each is a bug."""
    found = []
    for incident in incidents:
        excuses = [
            each
            for each in done
            if each.began <= incident.at <= each.began + each.took + RECOVERED_SECONDS
            and incident.part in each.fault.ends
        ]
        if not excuses:
            how = "was killed by its liveness probe" if incident.status is None else f"ended with {incident.status}"
            found.append(f"{incident.replica} {how}; it last said:\n{incident.last_words}")
    return found


class _Again:
    """A thread that sends old clicks again, when sessions have forgotten their ids."""

    def __init__(self, world: World, crowd: Crowd) -> None:
        self._world, self._crowd = world, crowd
        self._over = threading.Event()
        self._accepted = 0
        self._thread = threading.Thread(target=self._run, name="again", daemon=True)
        self._thread.start()

    def finish(self) -> int:
        """Send again, and return how many were accepted."""
        self.end()
        self._accepted += self._crowd.again(AGAIN, self._world.settings.size.again_after)
        return self._accepted

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._over.wait(self._world.settings.size.again_after):
            self._accepted += self._crowd.again(AGAIN, self._world.settings.size.again_after)
