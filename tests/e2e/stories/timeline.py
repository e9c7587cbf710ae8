"""What an autoscaler does over time, as a table and as a picture.

"It scales" is a claim about time: how soon, how far, what the visitors felt meanwhile, and back again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kubernetes import client, config

from clickstream_operator import naming
from cluster.node import AUTOSCALER_FLAGS
from e2e.stories.platform import ROOT, SPACE, Platform

EVERY_SECONDS = 3.0
PROGRESS = re.compile(r"\(([\d,]+)/s\).* p95 ([\d,]+|-) ms")
LAG = re.compile(r"^clickstream_consumer_lag_records\{.*\} (\S+)$", re.MULTILINE)
WIDTH, HEIGHT, LEFT, TOP, GAP = 860, 104, 60, 52, 30


@dataclass(frozen=True, slots=True)
class Moment:
    """One row. Processor use is that of all pods, as a share of their requests; p95: until the answer, in ms."""

    seconds: float
    api_replicas: int
    api_cpu_percent: int | None
    enricher_replicas: int
    enricher_cpu_percent: int | None
    clicks_per_second: float
    p95_ms: float | None
    lag_records: float | None


@dataclass
class Timeline:
    """Moments in order, and marks: (seconds, what was done then)."""

    moments: list[Moment] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def mark(self, what: str) -> None:
        """Note that something was done now."""
        self.marks.append((time.monotonic() - self.began, what))

    def most(self, member: str) -> float:
        """The greatest value that a member had."""
        return max((value for each in self.moments if (value := getattr(each, member)) is not None), default=0.0)

    def table(self) -> str:
        """Markdown."""
        names = [each.name for each in fields(Moment)]
        rows = [names, ["---:"] * len(names)]
        rows += [["–" if (v := getattr(each, n)) is None else f"{v:,.0f}" for n in names] for each in self.moments]
        marks = [f"- {seconds:,.0f} s: {what}" for seconds, what in self.marks]
        return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", *marks]) + "\n"

    def picture(self, title: str) -> str:
        """An SVG with one panel a quantity."""
        panels = [
            ("replicas", [("api_replicas", "#4c78a8"), ("enricher_replicas", "#f58518")]),
            ("CPU, % of requests", [("api_cpu_percent", "#4c78a8"), ("enricher_cpu_percent", "#f58518")]),
            ("clicks/s sent", [("clicks_per_second", "#54a24b")]),
            ("p95 answer, ms", [("p95_ms", "#b279a2")]),
            ("lag, records", [("lag_records", "#e45756")]),
        ]
        end = max(1.0, self.moments[-1].seconds)
        height = TOP + len(panels) * (HEIGHT + GAP) + 24
        wide = LEFT + WIDTH + 20
        out = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {height}" font-family="sans-serif" '
                'font-size="12">'
            ),
            f'<rect width="{wide}" height="{height}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="20" font-size="14" fill="#222">{title}</text>',
            (
                f'<text x="{wide - 20}" y="20" text-anchor="end"><tspan fill="#4c78a8">■ tracking API  </tspan><tspan '
                'fill="#f58518">■ enricher</tspan></text>'
            ),
        ]
        bottom = TOP + len(panels) * (HEIGHT + GAP) - GAP
        for number, (name, lines) in enumerate(panels):
            top = TOP + number * (HEIGHT + GAP)
            most = max(1.0, *(self.most(member) for member, _ in lines))
            out += [
                f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="#fafafa" stroke="#ddd"/>',
                f'<text x="{LEFT - 8}" y="{top + 12}" text-anchor="end" fill="#555">{most:,.0f}</text>',
                f'<text x="{LEFT - 8}" y="{top + HEIGHT}" text-anchor="end" fill="#555">0</text>',
                f'<text x="{LEFT}" y="{top - 6}" fill="#222">{name}</text>',
            ]
            for member, colour in lines:
                step = member.endswith("replicas")
                points: list[tuple[float, float]] = []
                for each in self.moments:
                    if (value := getattr(each, member)) is not None:
                        x, y = LEFT + each.seconds / end * WIDTH, top + HEIGHT - value / most * (HEIGHT - 6)
                        points += [(x, points[-1][1])] if step and points else []
                        points.append((x, y))
                text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                out.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for number, (seconds, what) in enumerate(self.marks):
            x = LEFT + seconds / end * WIDTH
            out += [
                f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#999" stroke-dasharray="3 3"/>',
                f'<text x="{x + 4:.1f}" y="{TOP + HEIGHT - 8 - 15 * (number % 2)}" fill="#555">{what}</text>',
            ]
        for share in range(6):
            x = LEFT + share / 5 * WIDTH
            out.append(
                f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{share / 5 * end:,.0f} s</text>'
            )
        return "\n".join([*out, "</svg>"]) + "\n"

    def write(self, folder: Path, name: str, title: str) -> None:
        """Write name.svg and name.md."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(self.picture(title), encoding="utf-8")
        (folder / f"{name}.md").write_text(f"# {title}\n\n{self.table()}", encoding="utf-8")


@contextmanager
def watched(world: Platform, pipeline: str, visitors: tuple[str, ...]) -> Iterator[Timeline]:
    """Look every few seconds until the block ends, then write and print; `visitors` are names of pods that may come and
    go."""
    timeline, done = Timeline(), threading.Event()
    api = config.new_client_from_config(str(world.kubeconfig))

    def look() -> None:
        while not done.wait(EVERY_SECONDS):
            timeline.moments.append(_moment(api, pipeline, visitors, time.monotonic() - timeline.began))

    thread = threading.Thread(target=look, name="timeline")
    thread.start()
    try:
        yield timeline
    finally:
        done.set()
        thread.join(30)
        api.close()
        timeline.write(ROOT / ".e2e", "autoscaling", "Autoscaling of a pipeline on one node of two cores")
        print(timeline.table())
        print("flags of the controller manager that differ from Kubernetes' own:", *AUTOSCALER_FLAGS)


def _moment(api: client.ApiClient, pipeline: str, visitors: tuple[str, ...], seconds: float) -> Moment:
    core = client.CoreV1Api(api)
    scalers = client.AutoscalingV2Api(api).list_namespaced_horizontal_pod_autoscaler(SPACE).items
    seen: dict[str, tuple[int, int | None]] = {}
    for component in (naming.TRACKING_API, naming.ENRICHER):
        scaler = next(each for each in scalers if each.metadata.name == naming.workload(pipeline, component))
        usage = [
            each.resource.current.average_utilization for each in scaler.status.current_metrics or () if each.resource
        ]
        replicas = scaler.status.current_replicas or 0
        seen[component] = (replicas, usage[0] * replicas if usage and usage[0] is not None else None)
    labels = f"app.kubernetes.io/instance={pipeline},app.kubernetes.io/component={naming.ENRICHER}"
    pods = core.list_namespaced_pod(SPACE, label_selector=labels).items
    told = [each for pod in pods if (each := _metrics(core, pod.metadata.name)) is not None]
    lags = [float(value) for text in told for value in LAG.findall(text)]
    rates, waits = [], []
    for name in visitors:
        if found := PROGRESS.search(_last_line(core, name)):
            rates.append(float(found[1].replace(",", "")))
            waits += [float(found[2].replace(",", ""))] if found[2] != "-" else []
    (api_replicas, api_cpu), (enricher_replicas, enricher_cpu) = seen[naming.TRACKING_API], seen[naming.ENRICHER]
    return Moment(
        *(seconds, api_replicas, api_cpu, enricher_replicas, enricher_cpu, sum(rates)),
        *(max(waits, default=None), sum(lags) if lags else None),
    )


def _metrics(core: client.CoreV1Api, pod: str) -> str | None:
    """What a consumer tells Prometheus; None while it cannot."""
    try:
        found: Any = core.connect_get_namespaced_pod_proxy_with_path(
            f"{pod}:{naming.OPS_PORT}", SPACE, "metrics", _request_timeout=5, _preload_content=False
        )
        return str(found.data.decode())
    except (client.ApiException, OSError):
        return None


def _last_line(core: client.CoreV1Api, pod: str) -> str:
    try:
        return str(
            core.read_namespaced_pod_log(pod, SPACE, container="visitors", tail_lines=1, _request_timeout=5) or ""
        )
    except (client.ApiException, OSError):
        return ""
