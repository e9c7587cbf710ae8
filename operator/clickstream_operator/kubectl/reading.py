"""Collecting a snapshot: the pipeline and its children, then each running pod's /metrics, through the API server.

What the user may not read is missing on the screen, with a note; only the pipeline itself must be readable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote

from clickstream_operator import naming
from clickstream_operator.figures import COMPONENTS, Figures, flow_of, has_figures, read_figures
from clickstream_operator.kubectl.api import Api, ApiError
from clickstream_operator.kubectl.snapshot import (
    Component,
    Snapshot,
    autoscaler_of,
    component_of,
    events_of,
    parts_of,
)

Manifest = dict[str, Any]

_PAGE: Final = "500"
_PODS: Final = 100
"""Pods that are asked for their metrics, at most."""


def take(api: Api, namespace: str, name: str, interval: float) -> Snapshot:
    """The pipeline now; `interval` s lie between the two looks that rates come from. Raises ApiError."""
    where = f"namespaces/{quote(namespace, safe='')}"
    pipeline = api.get(f"/apis/{naming.GROUP}/{naming.VERSION}/{where}/{naming.PLURAL}/{quote(name, safe='')}")
    notes: list[str] = []
    labels = {"labelSelector": naming.selector_text({naming.PIPELINE_LABEL: name}), "limit": _PAGE}

    def listed(what: str, path: str, query: Mapping[str, str]) -> list[Manifest]:
        try:
            return list(api.get(path, query).get("items") or [])
        except ApiError as error:
            notes.append(f"{what}: {error}")
            return []

    deployments = listed("Deployments", f"/apis/apps/v1/{where}/deployments", labels)
    scalers = listed("autoscalers", f"/apis/autoscaling/v2/{where}/horizontalpodautoscalers", labels)
    pods = listed("pods", f"/api/v1/{where}/pods", labels)
    jobs = listed("Jobs", f"/apis/batch/v1/{where}/jobs", labels)
    events = listed("Events", f"/api/v1/{where}/events", {"limit": "2000"})
    children = {each["metadata"]["name"] for each in (*deployments, *scalers, *pods, *jobs)}
    components = _components(api, deployments, list(filter(has_figures, pods)), interval, notes)
    status = pipeline.get("status") or {}
    parts = parts_of(pipeline)
    return Snapshot(
        namespace,
        name,
        ready=any(part.type == "Ready" and part.status == "True" for part in parts),
        suspended=bool(pipeline["spec"].get("suspend")),
        current=status.get("observedGeneration") == pipeline["metadata"].get("generation"),
        topics=str(status.get("topics") or ""),
        url=str(status.get("trackingUrl") or ""),
        time_to_data_loss=str(status.get("timeToDataLoss") or ""),
        parts=parts,
        components=tuple(sorted(components, key=_place)),
        autoscalers=tuple(sorted(map(autoscaler_of, scalers), key=lambda each: each.name)),
        events=events_of(events, name, children),
        notes=tuple(notes),
    )


def _components(
    api: Api, deployments: Iterable[Manifest], pods: list[Manifest], interval: float, notes: list[str]
) -> list[Component]:
    if len(pods) > _PODS:
        notes.append(f"figures are of {_PODS} of {len(pods)} pods")
    asked = pods[:_PODS]
    first = _look(api, asked)
    if interval > 0 and any(isinstance(each, Figures) for each in first.values()):
        time.sleep(interval)
        second = _look(api, asked)
    else:
        second = first
    if refused := next((each for each in second.values() if isinstance(each, ApiError) and each.status == 403), None):
        notes.append(f"lag, rates and dead letters need the right to get pods/proxy: {refused}")
    made = []
    for deployment in deployments:
        component = _label(deployment)
        names = [pod["metadata"]["name"] for pod in asked if _label(pod) == component]
        now = {name: found for name in names if isinstance(found := second[name], Figures)}
        before = [found if isinstance(found := first[name], Figures) else None for name in now]
        told = [_why(found) if not isinstance(found := second[name], Figures) else None for name in names]
        made.append(component_of(deployment, told, flow_of(before, now.values())))
    return made


def _look(api: Api, pods: list[Manifest]) -> dict[str, Figures | Exception]:
    """By pod's name: its figures, or why there are none."""
    if not pods:
        return {}
    ask: Callable[[Manifest], Figures | Exception] = lambda pod: _figures(api, pod)  # noqa: E731 - typed for `map`
    with ThreadPoolExecutor(min(16, len(pods))) as pool:
        return {pod["metadata"]["name"]: found for pod, found in zip(pods, pool.map(ask, pods), strict=True)}


def _figures(api: Api, pod: Manifest) -> Figures | Exception:
    meta = pod["metadata"]
    place = f"{quote(meta['namespace'], safe='')}/pods/{quote(meta['name'], safe='')}"
    first: ApiError | None = None
    for port in _ports(pod):
        try:
            text = api.text(f"/api/v1/namespaces/{place}:{port}/proxy/metrics")
            return read_figures(_label(pod), text, time.monotonic())
        except ValueError as error:
            return error
        except ApiError as error:
            if error.status == 403:
                return error
            first = first or error
    assert first is not None
    return first


def _ports(pod: Manifest) -> list[int]:
    """Where its /metrics may be: on the port named for it; an older image of the tracking API has them on the other."""
    ports = [port for each in pod["spec"]["containers"] for port in each.get("ports") or []]
    ports.sort(key=lambda port: port.get("name") != "ops")
    return [int(port["containerPort"]) for port in ports] or [naming.OPS_PORT]


def _why(found: Figures | Exception) -> str:
    if isinstance(found, ApiError):
        return "not allowed" if found.status == 403 else str(found)
    return "its answer is no Prometheus text"


def _label(manifest: Manifest) -> str:
    return naming.component_of(manifest["metadata"].get("labels"))


def _place(component: Component) -> int:
    return COMPONENTS.index(component.name) if component.name in COMPONENTS else len(COMPONENTS)
