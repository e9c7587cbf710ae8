"""What a process logs: one JSON object a line, and no line for each request of a client library."""

from __future__ import annotations

import json
import logging

import pytest

from clickstream.runtime.logs import Repetitions, set_up_logs


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


def test_a_client_that_finds_no_broker_says_so_once_in_ten_seconds(capsys, monkeypatch):
    set_up_logs("sink", "INFO", "text")
    now = [1_000_000.0]
    monkeypatch.setattr(logging.time, "time", lambda: now[0])
    monkeypatch.setattr(logging.time, "time_ns", lambda: int(now[0] * 1e9), raising=False)
    client, ours = logging.getLogger("librdkafka"), logging.getLogger("clickstream.x")
    for attempt in range(100):
        client.error("FAIL [thrd:127.0.0.1:9092]: refused (after %dms)", attempt)
        ours.error("partition %d is stuck", attempt)
        now[0] += 0.05
    client.error("FAIL [thrd:127.0.0.1:9092]: it is over")
    now[0] += 10
    client.error("FAIL [thrd:127.0.0.1:9092]: refused (after %dms)", 7)
    lines = capsys.readouterr().err.splitlines()
    assert sum("is stuck" in line for line in lines) == 100, "our own lines are all said"
    told = [line.partition("]: ")[2] for line in lines if "FAIL" in line]
    assert told == ["refused (after 0ms)", "it is over", "refused (after 7ms) (and 99 times since the last line)"]


def test_what_is_remembered_of_repetitions_is_bounded():
    repetitions = Repetitions()
    for number in range(10_000):
        name = "".join(chr(97 + int(digit)) for digit in str(number))
        record = logging.LogRecord("librdkafka", logging.ERROR, "", 0, name, (), None)
        assert repetitions.filter(record)
        assert len(repetitions._said) <= 200
