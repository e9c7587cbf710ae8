"""Every override has one name."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack.errors import DevstackError
from devstack.settings import Settings


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert settings.home == tmp_path / ".devstack"
    assert settings.cache == Path("~/.cache/clickstream-devstack").expanduser()
    assert settings.external == {}
    assert settings.elasticsearch_heap == "768m"


def test_an_explicit_home_wins_over_the_variable(tmp_path: Path) -> None:
    environment = {"DEVSTACK_HOME": str(tmp_path / "variable")}
    assert Settings.from_environment(environment).home == tmp_path / "variable"
    assert Settings.from_environment(environment, home=tmp_path / "explicit").home == tmp_path / "explicit"


def test_the_cache_follows_its_own_variable_then_xdg(tmp_path: Path) -> None:
    xdg = {"XDG_CACHE_HOME": str(tmp_path)}
    assert Settings.from_environment(xdg).cache == tmp_path / "clickstream-devstack"
    assert Settings.from_environment({**xdg, "DEVSTACK_CACHE": str(tmp_path / "mine")}).cache == tmp_path / "mine"


def test_external_servers_are_those_that_are_named() -> None:
    settings = Settings.from_environment({"DEVSTACK_KAFKA": "kafka:9092", "DEVSTACK_POSTGRES": "  "})
    assert settings.external == {"kafka": "kafka:9092"}


@pytest.mark.parametrize("value", ["lots", "768", "0m", "-1g", "1g -XX:+Evil"])
def test_a_heap_that_java_would_refuse_is_refused_at_once(value: str) -> None:
    with pytest.raises(DevstackError, match="DEVSTACK_ES_HEAP"):
        Settings.from_environment({"DEVSTACK_ES_HEAP": value})
