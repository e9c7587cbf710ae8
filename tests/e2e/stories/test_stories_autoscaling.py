"""The autoscalers follow the load up and down, and nobody who clicks notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from clickstream.contracts.names import Names
from e2e.stories.conftest import minimal, modest
from e2e.stories.platform import SPACE, Platform, none_failed
from e2e.stories.timeline import watched

ONE = {"autoscaling": {"maxReplicas": 1}}
REQUESTS = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
SINK = "sink-postgres"
SINK_WINDOW_SECONDS = 150
"""Longer than it takes the operator to see that a sink is behind: a minute, and then its next look."""


@contextmanager
def stalled(world: Platform, name: str) -> Iterator[None]:
    """PostgreSQL takes no clicks of a pipeline, as when somebody works on the table."""
    with world.stores() as stores, psycopg.connect(stores.postgres, connect_timeout=10) as somebody:
        somebody.execute(f"LOCK TABLE {Names(SPACE, name).schema}.clicks IN EXCLUSIVE MODE".encode())
        yield
        somebody.rollback()


@pytest.mark.long
def test_load_adds_replicas_its_end_takes_them_away_and_no_click_is_lost(world, ledger):
    """The utilization that is aimed at is the examples'; bounds, requests and windows are those of a small node.

    When the load is over PostgreSQL takes no clicks for a while. Its sink idles, and keeps its replicas all the same.
    """
    usual = REQUESTS | {"requests": {"cpu": "200m", "memory": "384Mi"}}
    elasticsearch, postgres = (minimal("waves")[1]["spec"]["sinks"][store] for store in ("elasticsearch", "postgres"))
    world.apply(*modest(
        "waves",
        sinks={
            "elasticsearch": elasticsearch | ONE,
            "postgres": postgres | {
                "resources": REQUESTS | {"requests": {"cpu": "40m", "memory": "128Mi"}},
                "autoscaling": {"maxReplicas": 2, "scaleDownWindow": f"{SINK_WINDOW_SECONDS}s"},
            },
        },
        trackingApi={"resources": REQUESTS, "autoscaling": {"minReplicas": 1, "maxReplicas": 4,
                                                            "scaleDownWindow": "15s"}},
        enricher={"resources": usual, "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "scaleDownWindow": "15s"}},
    ))  # fmt: skip
    world.until_ready("waves")

    def replicas(component: str) -> int:
        deployment = world.get("deployment", f"waves-{component}")
        assert deployment is not None
        return int(deployment["status"].get("readyReplicas", 0))

    def autoscaler() -> tuple[str, int]:
        """Of the sink: whether it may take replicas away, and the processor use that it knows, in %."""
        hpa = world.get("hpa", f"waves-{SINK}")
        assert hpa is not None
        (metric,) = hpa["status"]["currentMetrics"]
        policy = hpa["spec"]["behavior"]["scaleDown"]["selectPolicy"]
        return policy, metric["resource"]["current"]["averageUtilization"]

    world.until("the autoscalers know what is used", lambda: all(
        each["status"].get("currentMetrics") for each in world.all("hpa", "clickstream.dev/pipeline=waves")
    ))  # fmt: skip
    assert [replicas(each) for each in ("tracking-api", "enricher", SINK)] == [1, 1, 1]
    pods = ("visitors-waves-few", "visitors-waves-many")
    steady = {"batch": 5, "spoiled": 0, "seconds": 600}
    with watched(world, "waves", pods) as timeline, world.visitors("waves", "-few", rate=20, **steady) as few:
        timeline.mark("20 clicks/s")
        world.until("the picture has a before", lambda: len(timeline.moments) >= 5)
        with world.visitors("waves", "-many", rate=500, batch=1, spoiled=0, seconds=75) as many:
            timeline.mark("+ 500 clicks/s, one a request")
            world.until("the tracking API has three replicas", lambda: replicas("tracking-api") >= 3, 90)
            world.until("the enricher has two replicas", lambda: replicas("enricher") == 2, 90)
            world.until("the sink has two replicas", lambda: replicas(SINK) == 2, 90)
            crowd = many.counted(ledger)
            timeline.mark("20 clicks/s")
        with stalled(world, "waves"):
            began = time.monotonic()
            world.until("the sink is to keep its replicas", lambda: autoscaler()[0] == "Disabled", 150)
            world.until("the tracking API has one replica", lambda: replicas("tracking-api") == 1, 240)
            world.until("the enricher has one replica", lambda: replicas("enricher") == 1, 240)
            over = SINK_WINDOW_SECONDS + 30
            world.until("its window is over", lambda: time.monotonic() - began > over, over + 10)
            world.until("by processor use alone one would do", lambda: autoscaler()[1] < 35, 90)
            assert replicas(SINK) == 2
            status = world.get("csp", "waves")["status"]
            assert SINK in {each["component"] for each in status["backlogs"]}
            assert status["timeToDataLoss"]
        world.until("the sink has caught up, and is scaled as before", lambda: autoscaler()[0] == "Max", 120)
        seen = len(timeline.moments)
        world.until("the picture has an after", lambda: len(timeline.moments) >= seen + 5)
        few.stop()
        rest = few.counted(ledger)
    none_failed(crowd)
    none_failed(rest)
    assert crowd["achieved_rate"] > 450
    world.balanced("waves", ledger, crowd["accepted"] + rest["accepted"])
