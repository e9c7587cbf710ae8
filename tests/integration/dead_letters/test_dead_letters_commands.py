"""What was refused at every stage: counted, shown, repaired, sent again, and stored once however often it is sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer

from clickstream.contracts.pipeline import Pipeline
from support.processes import clickstream, wait_for
from support.system import System
from support.topics import count


@pytest.fixture(scope="module")
def system(new_pipeline: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    started = System(new_pipeline(), tmp_path_factory.mktemp("system"))
    yield started
    started.close()


def run(system: System, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        clickstream("dead-letters", *arguments, "--pipeline", str(system.document)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def listed(system: System, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(system, "list", "--json", *arguments).splitlines()]


def replayed(system: System, *arguments: str, status: int = 0) -> dict[str, Any]:
    return json.loads(run(system, "replay", *arguments, status=status).splitlines()[-1])


def event(event_id: str, **members: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"event_id": event_id, "timestamp": now, "user_id": "u", "session_id": "s", "page": "/p"} | members


def letters(system: System) -> int:
    return count(system.pipeline.kafka.bootstrap_servers, system.pipeline.names.dead_letters)


def test_what_each_stage_refused_is_repaired_and_stored_once(system: System) -> None:
    names = system.pipeline.names
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    # At the door: one event of a batch with a time that is none, and a single one without a user.
    status, _ = system.post(
        "/v1/events/batch",
        {"events": [event("good"), event("no-offset", timestamp=now.replace("T", " ").removesuffix("+00:00"))]},
    )
    assert status == 202
    assert system.post("/v1/events", event("no-user", user_id=None))[0] == 422
    # Beyond it: a raw record with a number for a page, an enriched one of a day that is none, and what is no JSON.
    producer = Producer({"bootstrap.servers": system.pipeline.kafka.bootstrap_servers})
    ms = int(datetime.now(UTC).timestamp() * 1_000)
    raw = {"event_id": "raw", "timestamp": ms, "user_id": "u", "session_id": "s", "page": 7, "received_at": ms}
    producer.produce(names.raw_clicks, json.dumps(raw).encode(), b"u", headers=[("trace", b"x")])
    producer.produce(names.raw_clicks, b"\x00no json", b"u")
    enriched = raw | {
        "event_id": "enriched", "page": "/", "page_path": "/", "page_category": "home", "event_time": ms,
        "client_session_id": "s", "storage_day": "someday", "source": "web",
    }  # fmt: skip
    producer.produce(names.enriched_clicks, json.dumps(enriched).encode(), b"u")
    assert producer.flush(10) == 0
    wait_for(lambda: letters(system) == 6, "all letters are there", *system.processes)  # both sinks refuse the last one
    system.wait_stored(1)

    found = {(each["stage"], each["code"]): each for each in listed(system)}
    assert set(found) == {
        ("collect", "bad_timestamp"),
        ("collect", "missing_field"),
        ("enrich", "invalid_click"),
        ("enrich", "malformed_json"),
        ("sink-elasticsearch", "invalid_record"),
        ("sink-postgres", "invalid_record"),
    }
    assert found["collect", "bad_timestamp"]["source"] == "web"
    assert "bad_timestamp" in run(system, "stats")
    assert len(listed(system, "--stage", "enrich", "--since", "1h")) == 2
    assert listed(system, "--until", "1h") == []
    shown = run(system, "show", found["enrich", "invalid_click"]["id"])
    assert names.raw_clicks in shown
    assert "header trace" in shown
    assert '"page": 7' in shown
    run(system, "show", "0:999", status=1)

    # As they are, none of them would be taken: nothing is sent, and each says why.
    assert replayed(system, status=1) == {
        "dry_run": False, "letters": 6, "sent": 0, "records": 0, "not_sent": 6, "repeated": 0,
    }  # fmt: skip
    assert letters(system) == 6

    time_patch = '.timestamp |= (sub(" "; "T") + "+00:00")'
    difference = run(system, "replay", "--code", "bad_timestamp", "--patch", time_patch, "--dry-run")
    assert "\n+" in difference
    assert system.stores.counts() == (1, 1)
    for _ in range(2):  # twice adds once
        assert replayed(system, "--code", "bad_timestamp", "--patch", time_patch)["sent"] == 1
        assert replayed(system, "--code", "missing_field", "--patch", '.user_id = "somebody"')["sent"] == 1
        assert replayed(system, "--code", "invalid_click", "--patch", '.page = "/seven"')["sent"] == 1
        day = datetime.now(UTC).date().isoformat()
        for stage in ("sink-elasticsearch", "sink-postgres"):
            assert replayed(system, "--stage", stage, "--patch", f'.storage_day = "{day}"')["sent"] == 1
    system.wait_stored(5)
    wait_for(lambda: system.enricher.metric("clickstream_consumer_lag_records") == 0, "no lag", *system.processes)
    system.wait_stored(5)
    assert letters(system) == 6, "nothing came back"
    rows = system.stores.sql("SELECT event_id, source, user_id, page FROM {s}.clicks ORDER BY event_id")
    assert [(row["event_id"], row["source"], row["user_id"], row["page"]) for row in rows] == [
        ("enriched", "web", "u", "/"),
        ("good", "web", "u", "/p"),
        ("no-offset", "web", "u", "/p"),
        ("no-user", "web", "somebody", "/p"),
        ("raw", "", "u", "/seven"),
    ]


def test_what_comes_back_is_not_sent_a_third_time_unless_it_is_changed_or_asked_for(system: System) -> None:
    names, ms = system.pipeline.names, int(datetime.now(UTC).timestamp() * 1_000)
    producer = Producer({"bootstrap.servers": system.pipeline.kafka.bootstrap_servers})
    day = datetime.now(UTC).date().isoformat()
    for event_id in ("nul-1", "nul-2"):
        click = {
            "event_id": event_id, "timestamp": ms, "event_time": ms, "received_at": ms, "storage_day": day,
            "user_id": "u", "client_session_id": "s", "page": "/", "page_path": "/", "page_category": "home",
            "title": "a\u0000b", "source": "web",
        }  # fmt: skip
        producer.produce(names.enriched_clicks, json.dumps(click).encode(), b"u")
    assert producer.flush(10) == 0
    nul = ("--stage", "sink-postgres", "--topic", names.enriched_clicks, "--since", "5m")
    code = _refused_with(system, *nul)
    of_them = (*nul, "--code", code)

    def there(number: int) -> None:
        wait_for(lambda: len(listed(system, *of_them)) == number, f"{number} letters", *system.processes)

    there(2)
    figures = {"dry_run": False, "letters": 2, "sent": 2, "records": 2, "not_sent": 0, "repeated": 0}
    assert replayed(system, *of_them) == figures
    there(4)
    for _ in range(2):
        named = figures | {"letters": 4, "sent": 0, "records": 0, "not_sent": 2, "repeated": 2}
        assert replayed(system, *of_them, status=1) == named
    # The first letters are out of the range, or one is named by its id: it came back all the same.
    newest = listed(system, *of_them)[-1]["id"]
    assert replayed(system, newest, status=1)["sent"] == 0
    assert replayed(system, newest, "--patch", ".", status=1)["sent"] == 0
    assert replayed(system, *of_them, "--again") == figures | {"letters": 4, "repeated": 2}
    there(6)
    stored = system.stores.counts()[1]
    assert replayed(system, *of_them, "--patch", '.title = "ab"') == figures | {"letters": 6, "repeated": 4}
    wait_for(lambda: system.stores.counts()[1] == stored + 2, "both are stored", *system.processes)
    there(6)


def _refused_with(system: System, *arguments: str) -> str:
    """The code of the newest letter that matches, once there is one."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found.extend(each for each in listed(system, *arguments) if each["code"] != "invalid_record")
        return bool(found)

    wait_for(there, "the letter is there", *system.processes)
    return str(found[-1]["code"])


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        (".page |", "--patch"),
        ("empty", "0 values"),
        (".page, .title", "2 values"),
        (".page.title", "does not apply"),
        ("repeat(1)", "2 values"),
        ("def f: f; f", "takes more than 5 s"),
    ],
)
def test_a_patch_that_cannot_be_applied_is_told(system: System, patch: str, says: str) -> None:
    system.post("/v1/events", event("patched", user_id=None))
    wait_for(lambda: bool(listed(system, "--code", "missing_field")), "the letter is there", *system.processes)
    done = subprocess.run(
        clickstream("dead-letters", "replay", "--code", "missing_field", "--patch", patch, "--pipeline",
                    str(system.document)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert "Traceback" not in done.stderr
