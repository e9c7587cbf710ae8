"""`clickstream replay`: what is wrong with its arguments is said before anything is asked of Kafka."""

from __future__ import annotations

import json

import pytest

from clickstream.replay.main import main


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps({"namespace": "a", "name": "b", "kafka": {"bootstrapServers": "127.0.0.1:1"}}))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "yesterday"], "RFC 3339"),
        (["--from", "2 days"], "not a duration"),
        (["--from", "1h", "--to", "2h"], "--from must be before --to"),
        (["--from", "1h", "--lead", "a day"], "not a duration"),
    ],
)
def test_arguments_that_make_no_range(document, arguments, says, capsys):
    assert main(["--pipeline", document, *arguments]) == 2
    assert says in capsys.readouterr().err


def test_brokers_that_do_not_answer(document, capsys, monkeypatch):
    monkeypatch.setattr("clickstream.replay.main._BROKERS_SECONDS", 1.0)
    assert main(["--pipeline", document, "--from", "1h"]) == 3
    assert "clickstream replay: " in capsys.readouterr().err
