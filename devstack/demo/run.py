"""The demo from beginning to end: servers, pipeline, visitors, live view, drain, check, report, and nothing left over.

Why it exists: this is the order of things. Deliberately absent: how each is done; every other module here does one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from rich.text import Text

from clickstream.contracts.pipeline import dump_pipeline
from clickstream.simulator.ledger import LedgerWriter
from devstack import Stack
from devstack.demo.audit import audit
from devstack.demo.children import Child, ChildDiedError, Family, end_leftovers
from devstack.demo.dashboards import show_dashboards
from devstack.demo.document import create_topics, demo_pipeline, load_catalogue
from devstack.demo.drain import Lag, records_on, wait_for
from devstack.demo.home import Home
from devstack.demo.interrupts import Interrupts
from devstack.demo.ledger_tail import LedgerTail
from devstack.demo.links import addresses, links
from devstack.demo.observer import Observer
from devstack.demo.prober import SAMPLES_PER_S, Prober
from devstack.demo.processes import PRODUCTS, SINKS, set_up_stores, start_pipeline, start_shop, start_visitors
from devstack.demo.report import json_line, verdict_panel
from devstack.demo.screen import Screen
from devstack.demo.settings import DemoSettings
from devstack.demo.snapshot import Snapshot
from devstack.demo.steps import say, step
from devstack.demo.verdict import Verdict
from devstack.demo.warm_up import wait_until_calm, warm_up
from devstack.errors import DevstackError
from devstack.ports import LOOPBACK

WARM_UP_S: Final = 10.0
_SHOW_S: Final = 0.5
_INTERRUPTED: Final = 130
_LAST_ANSWERS_S: Final = 45.0
"""The simulator waits for its last answers at most 30 s."""
_LAST_SAMPLES_S: Final = 5.0


class Demo:
    """One run. After `prepare`, `watch` and `settle`, `judge` gives the exit status; `clean_up` always comes last."""

    def __init__(self, settings: DemoSettings, interrupts: Interrupts) -> None:
        self._settings, self._interrupts = settings, interrupts
        self._home = Home(settings.home)
        self._family = Family(self._home)
        self._stack: Stack | None = None
        self._summary: dict[str, Any] = {}

    def prepare(self) -> None:
        """Servers, topics, stores, processes. Raises DevstackError."""
        settings, home = self._settings, self._home
        home.refuse_strangers()
        if ended := end_leftovers(home):
            say(f"ended {ended} processes that an earlier demo left in {home.folder}")
        home.renew()
        with step("Kafka, Elasticsearch and PostgreSQL") as tell:
            self._stack = Stack.up(home=home.servers, wipe=True, progress=lambda name, word: tell(f"{name}: {word}"))
            stack = self._stack
            tell("")
        self._pipeline = pipeline = demo_pipeline(
            settings.name,
            settings.session_gap,
            stack.kafka.bootstrap_servers,
            stack.elasticsearch.url,
            stack.postgres.dsn,
        )
        home.pipeline.write_bytes(dump_pipeline(pipeline))
        with step("topics, catalogue, index templates and tables") as tell:
            create_topics(pipeline)
            tell(f"{load_catalogue(pipeline, PRODUCTS)} products")
            set_up_stores(home)
        with step("tracking API, enricher, both sinks and the shop"):
            self._children = start_pipeline(self._family, home, lambda: False)
            self._api = f"http://{LOOPBACK}:{self._children['tracking-api'].port}"
            self._shop = start_shop(self._family, pipeline, self._api, lambda: False)
        self._dashboards: str | None = None
        if settings.dashboards:
            with step("dashboards") as tell:
                self._dashboards = show_dashboards(self._family, home, pipeline, settings.grafana_home, self._children)
                tell(f"in {'a preview' if settings.grafana_home is None else 'Grafana'}: {self._dashboards}")
        if settings.warm_up:
            with step("warming Elasticsearch up") as tell:
                warm_up(stack.elasticsearch.url, pipeline.names, tell)
                wait_until_calm(stack.elasticsearch.pid, tell)

    def watch(self) -> None:
        """Let the visitors in and show what happens, until they are done or Ctrl-C. Raises DevstackError."""
        settings, pipeline, stack = self._settings, self._pipeline, self._stack
        assert stack is not None
        ports = {name: child.port for name, child in self._children.items()}
        shop = f"http://{LOOPBACK}:{self._shop.port}"
        say(addresses(pipeline, self._api, shop, self._dashboards, ports))
        self._links = links(pipeline, self._api, shop, self._dashboards)
        self._tail = LedgerTail(self._home.ledger, min(1.0, SAMPLES_PER_S / settings.rate))
        self._prober = Prober(
            self._tail, stack.elasticsearch.url, stack.postgres.dsn, pipeline.names, int(WARM_UP_S * 1_000)
        )
        observer = Observer(pipeline, stack.elasticsearch.url, stack.postgres.dsn, ports)
        self._interrupts.orderly = True
        simulator = start_visitors(self._family, self._home, settings, pipeline, self._api)
        began = time.monotonic()
        self._prober.start()
        observer.start()
        try:
            with Screen() as screen:
                while simulator.popen.poll() is None and not self._interrupts.stop_wanted:
                    self._family.raise_if_any_is_dead(but=simulator)
                    screen.show(self._snapshot("running", began, observer))
                    time.sleep(_SHOW_S)
                screen.show(self._snapshot("stopping", began, observer))
        finally:
            observer.stop()
        self._end_visitors(simulator)

    def settle(self) -> None:
        """Close the doors, wait until the last event is through, and stop the pipeline: the stores are at rest then."""
        for child in (self._shop, self._children["tracking-api"]):
            self._family.end(child)
        lag = Lag(self._pipeline)
        deadline = time.monotonic() + self._settings.drain_seconds
        with step("waiting for the last clicks") as tell:
            done = self._drain(lag.enricher, deadline, lambda left: tell(f"enricher: {left:,} records left"))
            self._family.end(self._children["enricher"])
            for sink in SINKS:
                left_to_store = partial(lag.sink, sink)
                done &= self._drain(left_to_store, deadline, lambda left: tell(f"{sink}: {left:,} records left"))  # noqa: B023
            seen_by = min(deadline, time.monotonic() + _LAST_SAMPLES_S)
            self._drain(lambda: self._prober.waiting, seen_by, lambda left: tell(f"{left} samples left"))
            self._prober.stop()
            for sink in SINKS:
                self._family.end(self._children[sink])
            tell("" if done else "not all of it came through in time")

    def judge(self) -> int:
        """Check, report, and the exit status."""
        if self._settings.before_check:
            self._run_hook()
        if not self._home.ledger.exists():  # stopped before the simulator had begun
            LedgerWriter(self._home.ledger).close()
        with step("checking every event and every session in both stores") as tell:
            verdict = audit(self._pipeline, self._home.ledger, tell)
            tell(f"{verdict.elasticsearch + verdict.postgres:,} clicks, {verdict.sessions:,} sessions")
        latencies = self._prober.latencies
        p50, p95 = latencies.percentile_ms(50), latencies.percentile_ms(95)
        say(verdict_panel(verdict, self._summary, p50, p95))
        dead_letters = records_on(self._pipeline, self._pipeline.names.dead_letters)
        self._last_line = json_line(self._summary, verdict, dead_letters, p50, p95)
        return 0 if verdict.ok else 1

    def last_line(self, error: str | None) -> str:
        """The JSON object; without a check it says why."""
        if error is None:
            return self._last_line
        return json.dumps(json.loads(json_line(self._summary, Verdict(), 0, None, None)) | {"error": error})

    def clean_up(self) -> None:
        """End everything that was started; delete everything that was written, unless it is to be kept."""
        self._family.end_all()
        if self._stack is not None:
            with step("stopping the servers"):
                self._stack.down(wipe=not self._settings.keep)
        if self._settings.keep:
            say(f"kept: {self._home.folder} (`devstack --home {self._home.servers} up` starts its servers again)")
        else:
            self._home.remove()

    def _drain(self, left: Callable[[], int], deadline: float, told: Callable[[int], object]) -> bool:
        def give_up() -> bool:
            self._family.raise_if_any_is_dead()
            return self._interrupts.impatient or time.monotonic() > deadline

        return wait_for(left, give_up, told)

    def _end_visitors(self, simulator: Child) -> None:
        """Let it wait for its last answers (the second Ctrl-C is one for it, too), and read its summary."""
        with step("waiting for the last answers"):
            if simulator.popen.poll() is None:
                simulator.popen.terminate()
            deadline = time.monotonic() + _LAST_ANSWERS_S
            while simulator.popen.poll() is None and time.monotonic() < deadline and not self._interrupts.impatient:
                time.sleep(0.05)
            status = self._family.end(simulator)
        assert simulator.popen.stdout is not None
        said = simulator.popen.stdout.read().splitlines()
        if said:
            self._summary = json.loads(said[-1])
        if status != 0 and not (self._interrupts.stop_wanted and status == -signal.SIGTERM):
            msg = f"the simulator ended with status {status}:\n{simulator.last_words()}"
            raise ChildDiedError(msg)

    def _snapshot(self, phase: str, began: float, observer: Observer) -> Snapshot:
        counts, latencies, settings = self._tail.counts, self._prober.latencies, self._settings
        return Snapshot(
            phase=phase,
            elapsed_s=time.monotonic() - began,
            seconds=settings.seconds,
            rate=settings.rate,
            speed=settings.speed,
            seed=settings.seed,
            sent=counts.sent,
            accepted=counts.accepted,
            rejected=counts.rejected,
            unknown=counts.unknown,
            stages=observer.stages(),
            p50_ms=latencies.percentile_ms(50),
            p95_ms=latencies.percentile_ms(95),
            samples=latencies.count,
            elasticsearch=observer.elasticsearch,
            postgres=observer.postgres,
            links=self._links,
        )

    def _run_hook(self) -> None:
        """DEMO_BEFORE_CHECK: whoever doubts the check changes a row here. Raises DevstackError when it fails."""
        assert self._stack is not None
        env = {
            "DEMO_PIPELINE": str(self._home.pipeline),
            "DEMO_LEDGER": str(self._home.ledger),
            "DEMO_ELASTICSEARCH": self._stack.elasticsearch.url,
            "DEMO_POSTGRES": self._stack.postgres.dsn,
        }
        with step("DEMO_BEFORE_CHECK"):
            command = list(self._settings.before_check)
            done = subprocess.run(command, env={**os.environ, **env}, stdout=sys.stderr, check=False)  # noqa: S603 - the user's own
        if done.returncode != 0:
            msg = f"DEMO_BEFORE_CHECK ended with status {done.returncode}: {' '.join(command)}"
            raise DevstackError(msg)


def run(settings: DemoSettings) -> int:
    """The whole demo; returns the exit status. The JSON object is the last thing on standard output."""
    interrupts = Interrupts()
    interrupts.listen()
    demo = Demo(settings, interrupts)
    error: str | None = None
    try:
        demo.prepare()
        demo.watch()
        demo.settle()
        status = demo.judge()
    except KeyboardInterrupt:
        error, status = "interrupted", _INTERRUPTED
    except DevstackError as trouble:
        error, status = str(trouble).partition("\n")[0], 1
        say(Text(f"demo: {trouble}", style="red"))
    finally:
        interrupts.deaf = True
        demo.clean_up()
    sys.stdout.write(demo.last_line(error) + "\n")
    sys.stdout.flush()
    return status
