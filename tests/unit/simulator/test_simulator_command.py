"""`clickstream simulate` as a command."""

import json

import pytest

from clickstream.simulator.main import main
from clickstream.simulator.settings import read_settings

URL = ["--url", "http://127.0.0.1:9/"]


def test_defaults_are_modest_and_the_key_may_come_from_the_environment():
    settings = read_settings(URL, {"CLICKSTREAM_WRITE_KEY": "k"})
    assert (settings.rate, settings.batch, settings.seconds, settings.seed) == (100.0, 20, None, None)
    assert settings.target.url == "http://127.0.0.1:9"
    assert settings.target.write_key == "k"


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        URL,
        [*URL, "--key", "k", "--rate", "0"],
        [*URL, "--key", "k", "--rate", "fast"],
        [*URL, "--key", "k", "--batch", "501"],
        [*URL, "--key", "k", "--single-share", "2"],
    ],
)
def test_wrong_usage_ends_with_status_2(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        read_settings(wrong, {})
    assert ended.value.code == 2
    assert "simulate" in capsys.readouterr().err


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as ended:
        read_settings(["--help"], {})
    assert ended.value.code == 0
    assert "--give-up-after" in capsys.readouterr().out


def test_a_missing_catalogue_is_a_clear_error(tmp_path, capsys):
    assert main([*URL, "--key", "k", "--products", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_nothing_delivered_is_a_failure_that_says_why(capsys):
    arguments = ["--url", "http://127.0.0.1:1", "--key", "k", "--events", "3", "--give-up-after", "0", "--quiet"]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert "nothing was delivered to http://127.0.0.1:1: " in err
    assert "ClientConnectorError" in err
    assert json.loads(out)["unknown"] == 3
