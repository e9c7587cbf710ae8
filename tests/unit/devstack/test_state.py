"""The state file survives, is read whole or not at all, and says so when it is spoilt."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from devstack.errors import StateError
from devstack.process import ProcessId
from devstack.state import Record, StateFile

RECORD = Record({"broker": 4001, "controller": 4002}, ProcessId(7, "boot/99"), "127.0.0.1:4001")


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    StateFile(tmp_path).write("kafka", RECORD)
    assert StateFile(tmp_path).read("kafka") == RECORD


def test_an_unknown_service_is_none_and_a_forgotten_one_too(tmp_path: Path) -> None:
    state = StateFile(tmp_path)
    assert state.read("kafka") is None
    state.write("kafka", RECORD)
    state.write("kafka", None)
    assert state.read("kafka") is None


def test_stopping_keeps_the_ports() -> None:
    stopped = RECORD.stopped()
    assert stopped.process is None
    assert stopped.ports == RECORD.ports


def test_threads_do_not_lose_one_anothers_records(tmp_path: Path) -> None:
    state = StateFile(tmp_path)
    threads = [threading.Thread(target=state.write, args=(f"server-{number}", RECORD)) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(state.read(f"server-{number}") == RECORD for number in range(20))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 99, "services": {}}', '{"version": 1}', '{"version": 1, "services": {"kafka": {}}}'],
)
def test_a_spoilt_file_is_named_in_the_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(StateError, match=r"state\.json cannot be used"):
        StateFile(tmp_path).read("kafka")


def test_a_second_command_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    order: list[str] = []
    waiting, state = threading.Event(), StateFile(tmp_path)

    def second() -> None:
        with StateFile(tmp_path).exclusive(waiting.set):
            order.append("second")

    with state.exclusive():
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
