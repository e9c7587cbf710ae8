"""The end of a log, and what comes after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack import logs


@pytest.mark.parametrize(
    ("lines", "expected"), [(0, ""), (1, "three\n"), (2, "two\nthree\n"), (9, "one\ntwo\nthree\n")]
)
def test_tail(tmp_path: Path, lines: int, expected: str) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntwo\nthree\n")
    assert logs.tail(log, lines) == expected


def test_tail_of_a_long_log_reads_backwards(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number} {'x' * 100}\n" for number in range(5000)))
    found = logs.tail(log, 1500).splitlines()
    assert len(found) == 1500
    assert found[0].startswith("line 3500 ")


def test_tail_does_not_go_back_beyond_a_mark(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\nnew\n")
    assert logs.tail(log, 9, since=4) == "new\n"
    assert logs.tail(tmp_path / "none", 9) == ""


def test_follow_shows_what_is_appended_and_survives_a_wipe(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntwo\n")
    following = logs.follow(log, 1)
    assert next(following) == "two\n"
    with log.open("a") as more:
        more.write("three\n")
    assert next(following) == "three\n"
    log.write_text("new\n")
    assert next(following) == "new\n"
