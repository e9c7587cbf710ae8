"""The autoscalers follow the load up and down, and nobody who clicks notices."""

from __future__ import annotations

from e2e.stories.conftest import minimal, modest
from e2e.stories.platform import none_failed
from e2e.stories.timeline import watched

ONE = {"autoscaling": {"maxReplicas": 1}}
REQUESTS = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}


def test_load_adds_replicas_its_end_takes_them_away_and_no_click_is_lost(world, ledger):
    """The utilization that is aimed at is the examples'; bounds, requests and windows are those of a small node."""
    usual = REQUESTS | {"requests": {"cpu": "200m", "memory": "384Mi"}}
    elasticsearch, postgres = (minimal("waves")[1]["spec"]["sinks"][store] for store in ("elasticsearch", "postgres"))
    world.apply(*modest(
        "waves",
        sinks={"elasticsearch": elasticsearch | ONE, "postgres": postgres | ONE},
        trackingApi={"resources": REQUESTS, "autoscaling": {"minReplicas": 1, "maxReplicas": 4, "scaleDownWindow": "15s"}},
        enricher={"resources": usual, "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "scaleDownWindow": "15s"}},
    ))  # fmt: skip
    world.until_ready("waves")

    def replicas(component: str) -> int:
        deployment = world.get("deployment", f"waves-{component}")
        assert deployment is not None
        return int(deployment["status"].get("readyReplicas", 0))

    world.until("the autoscalers know what is used", lambda: all(
        each["status"].get("currentMetrics") for each in world.all("hpa", "clickstream.dev/pipeline=waves")
    ))  # fmt: skip
    assert (replicas("tracking-api"), replicas("enricher")) == (1, 1)
    pods = ("visitors-waves-few", "visitors-waves-many")
    steady = {"batch": 5, "spoiled": 0, "seconds": 600}
    with watched(world, "waves", pods) as timeline, world.visitors("waves", "-few", rate=20, **steady) as few:
        timeline.mark("20 clicks/s")
        world.until("the picture has a before", lambda: len(timeline.moments) >= 5)
        with world.visitors("waves", "-many", rate=500, batch=1, spoiled=0, seconds=75) as many:
            timeline.mark("+ 500 clicks/s, one a request")
            world.until("the tracking API has three replicas", lambda: replicas("tracking-api") >= 3, 90)
            world.until("the enricher has two replicas", lambda: replicas("enricher") == 2, 90)
            crowd = many.counted(ledger)
            timeline.mark("20 clicks/s")
        world.until("the tracking API has one replica", lambda: replicas("tracking-api") == 1, 240)
        world.until("the enricher has one replica", lambda: replicas("enricher") == 1, 240)
        seen = len(timeline.moments)
        world.until("the picture has an after", lambda: len(timeline.moments) >= seen + 5)
        few.stop()
        rest = few.counted(ledger)
    none_failed(crowd)
    none_failed(rest)
    assert crowd["achieved_rate"] > 450
    world.balanced("waves", ledger, crowd["accepted"] + rest["accepted"])
