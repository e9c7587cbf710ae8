"""Numbers on command lines: what is out of its bounds is usage that is wrong, in every command, and goes no further."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

import bench.__main__ as bench_command
import bench.recovery as recovery_command
import faults.__main__ as faults_command
import preview.__main__ as preview_command
from clickstream import cli
from clickstream.runtime.arguments import number
from demo.settings import read_settings as demo_settings

COMMANDS = [
    "clickstream check --settle",
    "clickstream dead-letters list --limit",
    "clickstream dead-letters replay --limit",
    "clickstream dead-letters replay --rate",
    "clickstream replay --from 1h --rate",
    "clickstream setup topics --timeout",
    "clickstream simulate --url http://x --key k --rate",
    "clickstream simulate --url http://x --key k --events",
    "clickstream simulate --url http://x --key k --seconds",
    "clickstream tracking-api --port",
    "demo --seconds",
    "demo --rate",
    "demo --batch",
    "demo --speed",
    "demo --drain",
    "faults --clicks",
    "faults --faults",
    "bench --events",
    "bench --rounds",
    "recovery --hours",
    "recovery --rate",
    "recovery --partitions",
    "preview --pipeline none --port",
]
ZERO_IS_MEANT = ("--settle", "--timeout", "--port")
WRONG = ["0", "1e-400", "-1", "nan", "inf", "1e400", "-inf", "many", ""]
WRONG_NUMBERS = [
    (command, wrong) for command in COMMANDS for wrong in (WRONG[2:] if command.endswith(ZERO_IS_MEANT) else WRONG)
]


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = command.split()
    if program in {"bench", "recovery"}:  # they read sys.argv
        monkeypatch.setattr("sys.argv", [program, *arguments])
        {"bench": bench_command, "recovery": recovery_command}[program].main()
        return
    mains: dict[str, Callable[[list[str]], Any]] = {
        "clickstream": cli.main,
        "demo": demo_settings,
        "faults": faults_command.main,
        "preview": preview_command.main,
    }
    mains[program](arguments)


@pytest.mark.parametrize(("command", "wrong"), WRONG_NUMBERS)
def test_a_number_that_is_none_or_out_of_its_bounds_ends_every_command_with_status_2(
    command: str, wrong: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    option = command.rsplit(maxsplit=1)[-1]
    with pytest.raises(SystemExit) as ended:
        run(f"{command}={wrong}", monkeypatch)
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: {wrong!r} is not " in said


@pytest.mark.parametrize("wrong", ["abc", "1", "1:", ":1", "1:2:3", "-1:2", "1:x", "0:" + "9" * 5_000])
@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_dead_letters_id_that_is_none_is_told_apart_from_one_that_is_not_there(
    command: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["dead-letters", command, "--", wrong])
    assert ended.value.code == 2
    assert "is not partition:offset" in capsys.readouterr().err


def test_the_bounds_themselves_are_allowed_and_said() -> None:
    read = number(float, 0.5, 2_000.0)
    assert (read("0.5"), read("2e3")) == (0.5, 2_000.0)
    with pytest.raises(argparse.ArgumentTypeError, match=r"from 0\.5 to 2,000"):
        read("2000.1")
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        number(int, 1, 5)("1.5")
