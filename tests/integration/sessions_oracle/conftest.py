"""Kafka Streams itself as an oracle: a small Java program, compiled once, that runs streams through its
SessionWindows."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devstack import cache
from devstack.artifacts import kafka_libs
from devstack.jdk import find_jdk
from devstack.settings import cache_folder

SOURCE = Path(__file__).parent / "SessionOracle.java"

Window = tuple[str, int, int]
"""Key, start, end."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Records of one partition, in order: (key, time in ms from 0)."""

    gap: int
    grace: int
    records: list[tuple[str, int]]
    fresh_driver: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What Kafka Streams forwarded, a list for each record (count None: retraction), and what its store held at the
    end."""

    forwarded: list[list[tuple[Window, int | None]]] = field(default_factory=list)
    stored: dict[Window, int] = field(default_factory=dict)


@pytest.fixture(scope="session")
def kafka_streams(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[Stream]], list[Answer]]:
    """Asks Kafka Streams about many streams in one run of the program."""
    jdk, libs = find_jdk(), kafka_libs()

    def compile_into(folder: Path) -> None:
        command = [str(jdk.javac), "-proc:none", "-cp", f"{libs}/*", "-d", str(folder), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    name = f"session-oracle-{cache.digest(SOURCE.read_bytes(), str(libs), str(jdk.version))}"
    classes = cache.entry(cache_folder(), name, compile_into)
    folder = tmp_path_factory.mktemp("session-oracle")

    def ask(streams: list[Stream]) -> list[Answer]:
        questions, answers = folder / "questions", folder / "answers"
        questions.write_text("".join(_lines(streams)))
        command = [str(jdk.java), "-XX:+UseSerialGC", f"-Djava.io.tmpdir={folder}"]
        command += ["-cp", f"{classes}:{libs}/*", "SessionOracle"]
        with questions.open() as stdin, answers.open("w") as stdout:
            done = subprocess.run(
                command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=240
            )
        assert done.returncode == 0, done.stderr
        with answers.open() as lines:
            return [_answer(len(stream.records), lines) for stream in streams]

    return ask


def _lines(streams: list[Stream]) -> Iterator[str]:
    for stream in streams:
        yield f"S {stream.gap} {stream.grace} {'fresh' if stream.fresh_driver else 'shared'}\n"
        for key, time in stream.records:
            yield f"{key} {time}\n"
        yield "E\n"


def _answer(records: int, lines: Iterator[str]) -> Answer:
    answer = Answer([[] for _ in range(records)])
    for line in lines:
        match line.split():
            case ["R", index, key, start, end, count]:
                value = None if count == "-" else int(count)
                answer.forwarded[int(index)].append(((key, int(start), int(end)), value))
            case ["L", key, start, end, count]:
                answer.stored[key, int(start), int(end)] = int(count)
            case ["E"]:
                return answer
            case _:
                pytest.fail(f"the oracle said {line!r}")
    pytest.fail("the oracle ended early")


@pytest.fixture(scope="session")
def oracle_stream() -> type[Stream]:
    """The class of a question, for tests (test modules cannot import each other)."""
    return Stream
