"""Changes of a running pipeline under load: no request fails, no click is lost or doubled."""

from __future__ import annotations

import datetime as dt
import json
import urllib.error
import urllib.request

from e2e.pipelines.surroundings import secret
from e2e.stories.conftest import modest
from e2e.stories.platform import KEY, NEXT_APPS, SPACE, Json, none_failed

DATABASE = "postgresql://clickstream:clickstream@postgres:5432/clickstream"


def status(address: str, key: str) -> int:
    """What the tracking API answers to a click with this key."""
    now = dt.datetime.now(dt.UTC).isoformat()
    event = {"event_id": key, "timestamp": now, "user_id": "u", "session_id": "s", "page": "/"}
    request = urllib.request.Request(
        f"http://{address}/v1/events",
        json.dumps(event).encode(),
        {"Content-Type": "application/json", "X-Write-Key": key},
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_image_gap_funnel_and_secrets_change_under_load(world, ledger):
    def templates() -> Json:
        found = world.all("deployment", "clickstream.dev/pipeline=changing")
        return {each["metadata"]["name"].removeprefix("changing-"): each["spec"]["template"] for each in found}

    def rolled(*components: str) -> None:
        """Wait until these have another template than before, and the pipeline is ready with it."""
        world.until(f"{components} change", lambda: all(templates()[each] != before[each] for each in components))
        # A Secret's change is none of the pipeline's, whose readiness may be of a moment before.
        for each in components:
            world.ours("rollout", "status", f"deployment/changing-{each}", "--timeout=300s")
        world.until_ready("changing")

    def answers() -> tuple[int, int]:
        """What the backend's two keys get; a pod that is ending may still be the one that answers."""
        with world.reach("changing-tracking-api", 80) as address:
            return status(address, "one"), status(address, "two")

    sources = [
        {"name": "web", "writeKeySecretRef": {"name": "changing-keys", "key": "web"}, "allowedOrigins": ["*"]},
        {"name": "backend", "writeKeySecretRef": {"name": "changing-keys", "key": "backend"}, "allowedOrigins": []},
    ]
    sinks = modest("changing")[1]["spec"]["sinks"]
    sinks["postgres"]["connectionSecretRef"] = {"name": "changing-postgres"}
    spec: Json = {"sources": sources, "sinks": sinks}

    def secrets(backend: str, uri: str) -> list[Json]:
        keys = secret("changing-keys", SPACE, {"web": KEY, "backend": backend})
        return [keys, secret("changing-postgres", SPACE, {"uri": uri})]

    world.apply(*secrets("one", DATABASE))
    world.apply(modest("changing", **spec)[1])
    world.until_ready("changing")
    with world.visitors("changing", rate=500, batch=10, spoiled=0, seconds=600) as visitors:
        before = templates()
        spec["image"] = NEXT_APPS
        world.apply(modest("changing", **spec)[1])
        rolled("tracking-api", "enricher", "sink-elasticsearch", "sink-postgres")
        assert {each["spec"]["containers"][0]["image"] for each in templates().values()} == {NEXT_APPS}

        before = templates()
        steps = [{"name": "Homepage", "page": "/"}, {"name": "Product", "page": "/products/*"}]
        spec |= {"enricher": {"sessionGap": "20m"}, "funnels": [{"name": "interest", "steps": steps}]}
        world.apply(modest("changing", **spec)[1])
        rolled("enricher", "tracking-api")

        before = templates()
        assert answers() == (202, 403)
        world.apply(*secrets("two", f"{DATABASE}?application_name=changed"))
        rolled("tracking-api", "sink-postgres")
        world.until("the new key is taken, and the old one is not", lambda: answers() == (403, 202), 30)
        visitors.stop()
        counted = visitors.counted(ledger)
    none_failed(counted)
    with ledger.open("a") as file:
        file.writelines(f"S 0 {key}\nA {key}\n" for key in ("one", "two"))
    world.balanced("changing", ledger, counted["accepted"] + 2)
