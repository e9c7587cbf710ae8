"""What a process logs: one JSON object a line, and no line for each request of a client library."""

from __future__ import annotations

import json
import logging

import pytest

from clickstream.contracts.logs import set_up_logs


@pytest.fixture(autouse=True)
def logs_as_they_were():
    root, chatty = logging.getLogger(), logging.getLogger("elastic_transport")
    before = root.handlers[:], root.level, chatty.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    chatty.setLevel(before[2])


def test_a_record_is_one_json_object_with_its_fields_and_its_error(capsys):
    set_up_logs("sink", "INFO", "json")
    try:
        int("first line\nsecond line")
    except ValueError:
        logging.getLogger("x").exception("went %s", "wrong", extra={"fields": {"partition": 3}})
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("Z")
    assert "invalid literal" in entry.pop("error")
    assert entry == {"level": "ERROR", "process": "sink", "logger": "x", "message": "went wrong", "partition": 3}


@pytest.mark.parametrize(
    ("level", "told"), [("DEBUG", ["request", "trouble"]), ("INFO", ["trouble"]), ("ERROR", [])], ids=str
)
def test_of_a_client_library_only_warnings_are_of_interest(level, told, capsys):
    set_up_logs("sink", level, "text")
    library = logging.getLogger("elastic_transport.transport")
    library.info("request")
    library.warning("trouble")
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()] == told
