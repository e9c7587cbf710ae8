"""The demo from beginning to end: servers, pipeline, visitors, live view, drain, check, report, clean-up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from rich.text import Text

from clickstream.contracts.pipeline import Pipeline, dump_pipeline
from clickstream.simulator.latencies import Latencies
from clickstream.simulator.ledger import LedgerWriter
from demo.check import audit
from demo.children import Family, end_leftovers
from demo.countries import country_database
from demo.document import create_topics, demo_pipeline, load_catalogue
from demo.drain import Lag, records_on, wait_for
from demo.interrupts import Interrupts
from demo.latency import SAMPLES_PER_S, Counts, LedgerTail, Prober
from demo.observer import Observer
from demo.processes import PRODUCTS, SINKS, set_up_stores, show_dashboards, start_pipeline, start_shop, start_visitors
from demo.screen import Screen, addresses, links, say, step
from demo.settings import DemoSettings, Home
from demo.verdict import failed_line, json_line, verdict_panel
from demo.view import Snapshot
from demo.warm_up import wait_until_calm, warm_up
from devstack import Stack
from devstack.child import Child, ChildDiedError
from devstack.errors import DevstackError
from devstack.ports import LOOPBACK

WARM_UP_S: Final = 10.0
_SHOW_S: Final = 0.5
_INTERRUPTED: Final = 130
_LAST_ANSWERS_S: Final = 45.0
"""The simulator waits for its last answers at most 30 s."""
_LAST_SAMPLES_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """What has been started: the servers, the pipeline's processes by name, the shop, the dashboards' address."""

    stack: Stack
    pipeline: Pipeline
    processes: Mapping[str, Child]
    shop: Child
    dashboards: str | None

    @property
    def api_url(self) -> str:
        return f"http://{LOOPBACK}:{self.processes['tracking-api'].port}"

    @property
    def shop_url(self) -> str:
        return f"http://{LOOPBACK}:{self.shop.port}"

    @property
    def ports(self) -> dict[str, int]:
        """The port of each process's metrics."""
        return {name: child.ops_port for name, child in self.processes.items()}


class Demo:
    """One run: `prepare`, `watch`, `settle`, `judge`; `clean_up` always comes last."""

    def __init__(self, settings: DemoSettings, interrupts: Interrupts) -> None:
        self._settings, self._interrupts = settings, interrupts
        self._home = Home(settings.home)
        self._family = Family(self._home)
        self._stack: Stack | None = None
        self.summary: dict[str, Any] = {}

    def prepare(self) -> Running:
        """Servers, topics, stores, processes. Raises DevstackError."""
        settings, home = self._settings, self._home
        home.refuse_strangers()
        if ended := end_leftovers(home):
            say(f"ended {ended} processes that an earlier demo left in {home.folder}")
        home.renew()
        with step("Kafka, Elasticsearch and PostgreSQL") as tell:
            stack = Stack.up(home=home.servers, wipe=True, progress=lambda name, word: tell(f"{name}: {word}"))
            self._stack = stack
            tell("")
        with step("country database") as tell:
            geoip, told = country_database()
            tell(told)
        pipeline = demo_pipeline(
            settings.name,
            settings.session_gap,
            stack.kafka.bootstrap_servers,
            stack.elasticsearch.url,
            stack.postgres.dsn,
            geoip,
        )
        home.pipeline.write_bytes(dump_pipeline(pipeline))
        with step("topics, catalogue, index templates and tables") as tell:
            create_topics(pipeline)
            tell(f"{load_catalogue(pipeline, PRODUCTS)} products")
            set_up_stores(home)
        with step("tracking API, enricher, both sinks and the shop"):
            processes = start_pipeline(self._family, home)
            api_url = f"http://{LOOPBACK}:{processes['tracking-api'].port}"
            shop = start_shop(self._family, pipeline, api_url)
        dashboards: str | None = None
        if settings.dashboards:
            with step("dashboards") as tell:
                dashboards = show_dashboards(self._family, home, pipeline, settings.grafana_home, processes)
                tell(f"in {'a preview' if settings.grafana_home is None else 'Grafana'}: {dashboards}")
        if settings.warm_up:
            with step("warming Elasticsearch up") as tell:
                warm_up(stack.elasticsearch.url, pipeline.names, tell)
                wait_until_calm(stack.elasticsearch.pid, tell)
        return Running(stack, pipeline, processes, shop, dashboards)

    def watch(self, running: Running) -> Prober:
        """Start the visitors and show the live view, until they are done or Ctrl-C. Raises DevstackError."""
        settings, pipeline, stack = self._settings, running.pipeline, running.stack
        where = pipeline, running.api_url, running.shop_url, running.dashboards
        say(addresses(*where, running.ports))
        tail = LedgerTail(self._home.ledger, min(1.0, SAMPLES_PER_S / settings.rate))
        stores = stack.elasticsearch.url, stack.postgres.dsn
        prober = Prober(tail, *stores, pipeline.names, int(WARM_UP_S * 1_000))
        observer = Observer(pipeline, *stores, running.ports)
        self._interrupts.orderly = True
        simulator = start_visitors(self._family, self._home, settings, pipeline, running.api_url)
        shown = partial(self._snapshot, tail.counts, prober.latencies, observer, links(*where), time.monotonic())
        prober.start()
        observer.start()
        try:
            with Screen() as screen:
                while simulator.popen.poll() is None and not self._interrupts.stop_wanted:
                    self._family.raise_if_any_is_dead(but=simulator)
                    screen.show(shown("running"))
                    time.sleep(_SHOW_S)
                screen.show(shown("stopping"))
        finally:
            observer.stop()
        self._end_visitors(simulator)
        return prober

    def settle(self, running: Running, prober: Prober) -> None:
        """Stop the shop, wait until the last event is stored, and stop the pipeline: then the stores are at rest."""
        for child in (running.shop, running.processes["tracking-api"]):
            self._family.end(child)
        lag = Lag(running.pipeline)
        deadline = time.monotonic() + self._settings.drain_seconds
        with step("waiting for the last clicks") as tell:
            done = self._drain(lag.enricher, deadline, lambda left: tell(f"enricher: {left:,} records left"))
            self._family.end(running.processes["enricher"])
            for sink in SINKS:
                left_to_store = partial(lag.sink, sink)
                done &= self._drain(left_to_store, deadline, lambda left: tell(f"{sink}: {left:,} records left"))  # noqa: B023
            seen_by = min(deadline, time.monotonic() + _LAST_SAMPLES_S)
            self._drain(lambda: prober.waiting, seen_by, lambda left: tell(f"{left} samples left"))
            prober.stop()
            for sink in SINKS:
                self._family.end(running.processes[sink])
            tell("" if done else "not all of it came through in time")

    def judge(self, running: Running, prober: Prober) -> tuple[int, str]:
        """Check and report; gives the exit status and the JSON object."""
        if self._settings.before_check:
            self._run_hook(running.stack)
        if not self._home.ledger.exists():  # stopped before the simulator had begun
            LedgerWriter(self._home.ledger).close()
        with step("checking every event and every session in both stores") as tell:
            verdict = audit(running.pipeline, self._home.ledger, tell)
            tell(f"{verdict.elasticsearch + verdict.postgres:,} clicks, {verdict.sessions:,} sessions")
        p50, p95 = prober.latencies.percentile_ms(50), prober.latencies.percentile_ms(95)
        say(verdict_panel(verdict, self.summary, p50, p95))
        dead_letters = records_on(running.pipeline, running.pipeline.names.dead_letters)
        return 0 if verdict.ok else 1, json_line(self.summary, verdict, dead_letters, p50, p95)

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
        """Wait for the simulator's last answers (the second Ctrl-C reaches it, too), and read its summary."""
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
            self.summary = json.loads(said[-1])
        if status != 0 and not (self._interrupts.stop_wanted and status == -signal.SIGTERM):
            msg = f"the simulator ended with status {status}:\n{simulator.last_words()}"
            raise ChildDiedError(msg)

    def _snapshot(
        self,
        counts: Counts,
        latencies: Latencies,
        observer: Observer,
        shown: tuple[tuple[str, str], ...],
        began: float,
        phase: str,
    ) -> Snapshot:
        settings = self._settings
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
            links=shown,
        )

    def _run_hook(self, stack: Stack) -> None:
        """DEMO_BEFORE_CHECK: a command that changes a row, say, to see the check fail.

        Raises DevstackError when it fails.
        """
        env = {
            "DEMO_PIPELINE": str(self._home.pipeline),
            "DEMO_LEDGER": str(self._home.ledger),
            "DEMO_ELASTICSEARCH": stack.elasticsearch.url,
            "DEMO_POSTGRES": stack.postgres.dsn,
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
    error, line = "", ""
    try:
        running = demo.prepare()
        prober = demo.watch(running)
        demo.settle(running, prober)
        status, line = demo.judge(running, prober)
    except KeyboardInterrupt:
        error, status = "interrupted", _INTERRUPTED
    except DevstackError as trouble:
        error, status = str(trouble).partition("\n")[0].removesuffix(":"), 1
        say(Text(f"demo: {trouble}\nNOT CHECKED: it ended before the clicks were looked up", style="red"))
    finally:
        interrupts.deaf = True
        demo.clean_up()
    if error:  # there was no check
        line = failed_line(error)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return status
