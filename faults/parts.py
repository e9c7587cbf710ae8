"""The processes under test, kept as Kubernetes keeps pods: probed, restarted, scaled, terminated with a grace period.

Periods and thresholds of the probes are those that the operator sets. A process that exits by itself, or that its
liveness probe kills, is an `Incident`: whether the current fault excuses it is judged elsewhere.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.metrics import parse_metrics, values
from devstack.child import Child
from devstack.ports import LOOPBACK
from faults.timeline import Timeline

READY_EVERY: Final = 1.0
LIVE_EVERY: Final = 10.0
LIVE_FAILURES: Final = 3
STARTUP_SECONDS: Final = 120.0
PROBE_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 30.0
"""Between SIGTERM and SIGKILL."""
_RESTART_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 0.1

ENVIRONMENT: Final = {
    "CLICKSTREAM_OPS_HOST": LOOPBACK,
    "CLICKSTREAM_OPS_PORT": "0",
    "CLICKSTREAM_HTTP_HOST": LOOPBACK,
    "CLICKSTREAM_HTTP_PORT": "0",
    "CLICKSTREAM_DRAIN_SECONDS": "3",
    "CLICKSTREAM_LOG_FORMAT": "json",
}


@dataclass(frozen=True, slots=True)
class Incident:
    """A process that exited by itself, with its exit status, or one killed by its liveness probe (status None)."""

    part: str
    replica: str
    status: int | None
    at: float
    last_words: str


class Replica(Child):
    """One process. `launcher` replaces `-m clickstream.cli` by another module that runs it, with arguments."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, launcher: Sequence[str]) -> None:
        self.launcher = tuple(launcher)
        port_file = folder / f"{name}.port"
        given = [argument.replace("{port_file}", str(port_file)) for argument in arguments]
        super().__init__(name, [sys.executable, *launcher, *given], folder / f"{name}.log", port_file, ENVIRONMENT)

    def start(self) -> None:
        """The next container of the same pod."""
        self.ready = self.started = self.expected = False
        self.failures = 0
        self.looked_at = self.lived_at = self.began_at = time.monotonic()
        super().start()

    def ask(self, path: str) -> int:
        """The status of a GET; 0 without an answer."""
        return self.get(path, PROBE_SECONDS)[0]

    def total(self, metric: str) -> float:
        """The sum over all series of a metric; 0 without an answer."""
        return sum(values(parse_metrics(self.get("/metrics", PROBE_SECONDS)[1]), metric))

    def kill(self) -> None:
        """SIGKILL it; the kubelet starts it again."""
        self.expected = True
        self.ready = False
        self.send(signal.SIGKILL)

    def end(self) -> int:
        """Shut it down as a kubelet does; the exit status."""
        self.expected = True
        self.ready = False
        return self.stop(GRACE_SECONDS)


class Part:
    """A deployment: replicas of one command. `started_path` is what its startup probe asks for."""

    def __init__(
        self, name: str, arguments: Sequence[str], started_path: str, folder: Path, launcher: Sequence[str]
    ) -> None:
        self.name = name
        self.started_path = started_path
        self.launcher = tuple(launcher)
        self.replicas: list[Replica] = []
        self._arguments = tuple(arguments)
        self._folder = folder
        self._made = 0

    def add(self, launcher: Sequence[str] | None = None) -> Replica:
        """Start one more replica."""
        self._made += 1
        name = f"{self.name}-{self._made}"
        replica = Replica(name, self._arguments, self._folder, self.launcher if launcher is None else launcher)
        self.replicas.append(replica)
        return replica

    def remove(self, replica: Replica) -> int:
        """Shut one down in order; the exit status."""
        self.replicas.remove(replica)
        return replica.end()

    def ready(self) -> list[Replica]:
        """The ready replicas."""
        return [replica for replica in list(self.replicas) if replica.ready]

    def all_ready(self) -> bool:
        """Whether there is a replica, and every one is ready."""
        return bool(self.replicas) and all(replica.ready for replica in list(self.replicas))


class Kubelet:
    """The thread that probes and restarts. It appends to `incidents`; `stop` ends it, and all processes."""

    def __init__(self, parts: Mapping[str, Part], timeline: Timeline) -> None:
        self.incidents: list[Incident] = []
        self._parts = parts
        self._timeline = timeline
        self._stopped = threading.Event()
        self._probers: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """Probe no more, and end every process in order; the exit status of each."""
        self._stopped.set()
        self._thread.join(30)
        statuses: dict[str, int] = {}

        def end(replica: Replica) -> None:
            statuses[replica.name] = replica.end()

        threads = [threading.Thread(target=end, args=(r,)) for part in self._parts.values() for r in part.replicas]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    def _run(self) -> None:
        while not self._stopped.wait(_TURN_SECONDS):
            for part in self._parts.values():
                for replica in list(part.replicas):
                    self._look(part, replica)

    def _look(self, part: Part, replica: Replica) -> None:
        status = replica.popen.poll()
        if status is not None:
            if not replica.expected:
                self._note(part, replica, status)
                time.sleep(_RESTART_SECONDS)
            if replica in part.replicas and not self._stopped.is_set():
                replica.start()
            return
        prober = self._probers.get(replica.name)
        now = time.monotonic()
        if now - replica.looked_at < READY_EVERY or (prober is not None and prober.is_alive()):
            return
        replica.looked_at = now
        # A stopped process delays a probe for seconds, and the others must not wait for it.
        prober = self._probers[replica.name] = threading.Thread(target=self._probe, args=(part, replica), daemon=True)
        prober.start()

    def _probe(self, part: Part, replica: Replica) -> None:
        popen = replica.popen
        if not replica.started:
            replica.started = replica.ask(part.started_path) == 200
            if not replica.started and time.monotonic() - replica.began_at > STARTUP_SECONDS:
                self._kill(part, replica, popen)
            return
        replica.ready = replica.ask("/readyz") == 200
        if time.monotonic() - replica.lived_at < LIVE_EVERY:
            return
        replica.lived_at = time.monotonic()
        replica.failures = 0 if replica.ask("/healthz") == 200 else replica.failures + 1
        if replica.failures >= LIVE_FAILURES:
            self._kill(part, replica, popen)

    def _kill(self, part: Part, replica: Replica, popen: subprocess.Popen[bytes]) -> None:
        if replica.popen is popen and popen.poll() is None and not replica.expected:
            self._note(part, replica, None)
            replica.end()

    def _note(self, part: Part, replica: Replica, status: int | None) -> None:
        self.incidents.append(Incident(part.name, replica.name, status, time.monotonic(), replica.last_words(12)))
        what = "was killed by its liveness probe" if status is None else f"ended with status {status}"
        self._timeline.say(f"{replica.name} {what}")


def wait_until(what: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds; False after the timeout."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
