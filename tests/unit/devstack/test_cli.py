"""Exit codes and what goes to which stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from devstack import ports
from devstack.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "KAFKA", "ELASTICSEARCH", "POSTGRES", "ES_HEAP", "KAFKA_HEAP"):
        monkeypatch.delenv(f"DEVSTACK_{name}", raising=False)


def run(home: Path, *arguments: str) -> int:
    return main(["--home", str(home), *arguments])


@pytest.mark.parametrize("arguments", [[], ["fly"], ["up", "redis"], ["logs", "redis"], ["status", "--xml"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_help_names_every_command_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in ("up", "down", "status", "logs", "env"))
    assert all(f"DEVSTACK_{name}" in text for name in ("HOME", "CACHE", "KAFKA", "ELASTICSEARCH", "POSTGRES"))


def test_status_of_an_empty_home_is_1_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    assert run(home, "status", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert {name: each["state"] for name, each in found.items()} == {
        "kafka": "absent",
        "elasticsearch": "absent",
        "postgres": "absent",
    }
    assert not home.exists()


def test_down_of_an_empty_home_is_0(tmp_path: Path) -> None:
    assert run(tmp_path / "home", "down") == 0


@pytest.mark.parametrize("arguments", [["env"], ["logs", "kafka"]])
def test_asking_before_the_first_up_is_1_with_one_clear_line(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "home", *arguments) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("devstack: ")
    assert "Traceback" not in found.err


def test_env_is_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEVSTACK_POSTGRES", f"postgresql://a:it's@127.0.0.1:{ports.free_ports(1)[0]}/db")
    assert run(tmp_path / "home", "env") == 0
    out = capsys.readouterr().out
    assert out.startswith("export POSTGRES_DSN='postgresql://a:it'")
    assert out.count("\n") == 1


def test_up_with_a_dead_external_server_is_1_and_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEVSTACK_ELASTICSEARCH", f"http://127.0.0.1:{ports.free_ports(1)[0]}")
    assert run(tmp_path / "home", "up", "elasticsearch") == 1
    assert "DEVSTACK_ELASTICSEARCH does not work" in capsys.readouterr().err
