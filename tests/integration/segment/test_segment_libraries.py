"""The libraries, unchanged but for their host, through an API that is killed while they send."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clickstream.contracts.clicks import PAGE_VIEW
from support.processes import wait_for
from support.segment import PROGRAMS, SNIPPETS_KEY, snippet
from support.system import System
from support.waiting import until

ROUNDS = 20
KINDS = ("track", "page", "screen", "identify", "group", "alias")


class Program:
    """A program that uses a library; what it says goes to a file."""

    def __init__(self, command: list[str], folder: Path, name: str, env: dict[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._output = self.log.open("w")
        self.popen = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=self._output, stderr=subprocess.STDOUT,
            env=os.environ | env,
        )  # fmt: skip

    def says(self, word: str) -> bool:
        ended = self.popen.poll()
        assert word in self.output or ended is None, f"{self.name} ended with {ended}:\n{self.output}"
        return word in self.output

    @property
    def output(self) -> str:
        return self.log.read_text()

    def go_on(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(b"on\n")
        self.popen.stdin.flush()

    def succeeds(self, seconds: float = 120) -> None:
        assert self.popen.wait(seconds) == 0, f"{self.name}:\n{self.output}"

    def close(self) -> None:
        self.popen.kill()
        self.popen.communicate()
        self._output.close()


@pytest.fixture
def start(tmp_path: Path, python_libraries: Path, node_libraries: Path) -> Iterator[Callable[..., Program]]:
    """Starts a program by a file's name: Python's with its libraries on the path, Node's where its modules are."""
    programs: list[Program] = []

    def started(name: str, program: Path, *arguments: str) -> Program:
        python = program.suffix == ".py"
        command = [sys.executable if python else "node", str(program), *arguments]
        folder = tmp_path if python else node_libraries
        programs.append(Program(command, folder, name, {"PYTHONPATH": str(python_libraries)}))
        return programs[-1]

    yield started
    for program in programs:
        program.close()


def clicks_of(system: System, *sources: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return tuple(
        [click for click in clicks if click["source"] in sources]
        for clicks in (system.stores.clicks_es(), system.stores.clicks_pg())
    )


def test_each_message_is_stored_once_although_the_api_was_killed_meanwhile(
    system: System, start: Callable[..., Program], node_libraries: Path
) -> None:
    python, node = PROGRAMS / "messages.py", node_libraries / "messages.mjs"
    programs = {
        source: start(source, program, name, system.url, f"key-of-{source}", str(ROUNDS))
        for source, program, name in (
            ("segment", python, "segment"),
            ("rudderstack", python, "rudderstack"),
            ("segment-node", node, "segment"),
            ("rudder-node", node, "rudder"),
        )
    }
    until(lambda: all(each.says("half") for each in programs.values()), "half of the messages", 60)
    with system.without_api():
        for each in programs.values():
            each.go_on()
        until(lambda: all(each.says("all") for each in programs.values()), "all messages", 60)
    for each in programs.values():
        each.succeeds()

    expected = len(programs) * ROUNDS * len(KINDS)
    wait_for(
        lambda: min(map(len, clicks_of(system, *programs))) >= expected, f"{expected} clicks", *system.processes[1:]
    )
    for stored in clicks_of(system, *programs):
        ids = Counter((click["source"], click["event_id"]) for click in stored)
        assert max(ids.values()) == 1
        assert Counter(source for source, _ in ids) == dict.fromkeys(programs, ROUNDS * len(KINDS))
        for click in stored:
            mapped_as_the_table_says(click)
    assert not system.stores.sql("SELECT 1 FROM {s}.clicks WHERE storage_day < '1970-01-01'")
    users = system.stores.sql("SELECT user_id, traits FROM {s}.users")
    assert {row["user_id"]: row["traits"] for row in users} == {f"user-{n}": {"plan": "pro"} for n in range(5)}
    [group] = system.stores.sql("SELECT group_id, traits FROM {s}.groups")
    assert (group["group_id"], list(group["traits"])) == ("group-1", ["seats"])
    assert len(system.stores.sql("SELECT user_id FROM {s}.group_members")) == 5
    edges = system.stores.sql("SELECT DISTINCT from_id, kind FROM {s}.identity_edges ORDER BY kind")
    assert [tuple(edge.values()) for edge in edges] == [("visitor", "alias"), ("visitor", "visitor")]


def mapped_as_the_table_says(click: dict[str, Any]) -> None:
    kind, number = click["event_id"].split("-")[-2:]
    url = f"https://shop.example/p/{number}"
    properties = click["properties"]
    assert click["user_id"] == f"user-{int(number) % 5}"
    assert click["type"] == {"track": "Order Completed", "page": PAGE_VIEW, "screen": PAGE_VIEW}.get(kind, kind)
    assert click["page"] == {"track": url, "page": url, "screen": "Cart"}.get(kind, "(not set)")
    assert click["client_session_id"] == ("visitor" if kind == "screen" else click["user_id"])
    assert click["ip"] == ("198.51.100.0" if kind == "track" else None)
    match kind:
        case "track":
            assert (properties["total"], properties["products"]) == (int(number), '[{"sku":"x"}]')
        case "page" | "screen":
            assert (properties["name"], properties["category"]) in {("Index", "docs"), ("Cart", "app")}
        case "identify":
            assert properties["plan"] == "pro"
        case "group":
            assert (properties["group_id"], properties["seats"]) == ("group-1", int(number))
        case "alias":
            assert properties["previous_id"] == "visitor"


def test_the_snippets_of_the_document_send_what_they_say(
    system: System, start: Callable[..., Program], node_libraries: Path, tmp_path: Path
) -> None:
    libraries = {
        "segment.analytics": tmp_path / "segment_snippet.py",
        "rudderstack.analytics": tmp_path / "rudder_snippet.py",
        "@segment/analytics-node": node_libraries / "segment_snippet.mjs",
        "@rudderstack/rudder-sdk-node": node_libraries / "rudder_snippet.mjs",
        "@jitsu/js": node_libraries / "jitsu_snippet.mjs",
    }
    for library, program in libraries.items():
        program.write_text(snippet(library, system.url, SNIPPETS_KEY))
        start(program.stem, program).succeeds()
    expected = {("u-17", "Order Completed"): len(libraries), ("u-17", "identify"): 1}

    def counted() -> list[Counter[tuple[str, str]]]:
        return [Counter((each["user_id"], each["type"]) for each in stored) for stored in clicks_of(system, "snippets")]

    wait_for(lambda: counted() == [expected, expected], f"{expected}", *system.processes[1:])
    for stored in clicks_of(system, "snippets"):
        assert {click["properties"]["total"] for click in stored if click["type"] == "Order Completed"} == {68.5}
