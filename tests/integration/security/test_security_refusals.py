"""A wrong password, a wrong authority, no certificate: said clearly by every process, and never with a secret."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clickstream.setup.exit_codes import ExitCode
from devstack import Stack
from support.processes import Process, clickstream, wait_for

Document = Callable[..., dict[str, Any]]


def written(folder: Path, document: dict[str, Any]) -> str:
    path = folder / "pipeline.json"
    path.write_bytes(msgspec.json.encode(document))
    return str(path)


def with_wrong_password(document: Document, secrets: Path) -> dict[str, Any]:
    wrong = document()
    wrong["kafka"]["authentication"]["passwordFile"] = str(secrets / "wrong-password")
    return wrong


def with_wrong_authority(document: Document, secrets: Path) -> dict[str, Any]:
    wrong = document("tls")
    wrong["kafka"]["tls"]["caFile"] = str(secrets / "other-ca.crt")
    return wrong


def with_no_certificate(document: Document, secrets: Path) -> dict[str, Any]:
    wrong = document("tls")
    del wrong["kafka"]["authentication"]
    return wrong


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (with_wrong_password, "invalid credentials with SASL mechanism SCRAM-SHA-512"),
        (with_wrong_authority, "certificate verify failed"),
        (with_no_certificate, "certificate required"),
    ],
)
def test_every_process_says_why_kafka_does_not_let_it_in(
    spoil: Callable[[Document, Path], dict[str, Any]], reason: str, document: Document, secrets: Path, tmp_path: Path
) -> None:
    options = ("--pipeline", written(tmp_path, spoil(document, secrets)))
    ops = ("--ops-port-file", "{ops_port_file}")
    processes = [
        Process("setup", clickstream("setup", "topics", "--timeout", "1", *options), tmp_path),
        Process("enricher", clickstream("enricher", *options, *ops), tmp_path),
        Process("sink", clickstream("sink", "postgres", *options, *ops), tmp_path),
        Process("api", clickstream("tracking-api", *options, "--host", "127.0.0.1", "--port", "0"), tmp_path),
    ]
    try:
        for process in processes:
            wait_for(lambda p=process: reason in p.log.read_text(), f"{process.name} says {reason}", process)
        assert processes[0].popen.wait(30) == ExitCode.UNREACHABLE
        assert [process.popen.poll() for process in processes[1:]] == [None] * 3, "the others wait"
        assert [process.name for process in processes if "hush" in process.log.read_text()] == []
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize(
    ("store", "members", "reason"),
    [
        ("elasticsearch", {"passwordFile": "wrong-password"}, "HTTP 401"),
        ("elasticsearch", {"caFile": "other-ca.crt"}, "certificate verify failed"),
        ("postgres", {"dsnFile": "wrong-dsn"}, "password authentication failed"),
        ("postgres", {"caFile": "other-ca.crt"}, "certificate verify failed"),
    ],
)
def test_setup_says_why_a_store_does_not_let_it_in(
    store: str, members: dict[str, str], reason: str, document: Document, secrets: Path, tmp_path: Path
) -> None:
    wrong = document()
    wrong["sinks"][store] |= {name: str(secrets / file) for name, file in members.items()}
    command = clickstream("setup", store, "--timeout", "0", "--pipeline", written(tmp_path, wrong))
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == ExitCode.UNREACHABLE, done.stderr
    assert reason in done.stderr
    assert "hush" not in done.stdout + done.stderr
    assert (secrets / "elastic-password").read_text().strip() not in done.stdout + done.stderr


def test_a_database_without_tls_is_not_let_in_either(document: Document, secure: Stack, tmp_path: Path) -> None:
    plain = document()
    plain["sinks"]["postgres"] = {"dsn": secure.postgres.dsn.partition("?")[0] + "?sslmode=disable"}
    command = clickstream("setup", "postgres", "--timeout", "0", "--pipeline", written(tmp_path, plain))
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == ExitCode.UNREACHABLE
    assert "no encryption" in done.stderr
    assert secure.security.password("postgres") not in done.stdout + done.stderr


def test_setup_waits_for_a_secure_kafka_that_comes_later(document: Document, secure: Stack, tmp_path: Path) -> None:
    options = ("--pipeline", written(tmp_path, document()))
    secure.kafka.stop()
    waiting = Process("setup", clickstream("setup", "topics", *options), tmp_path)
    try:
        wait_for(lambda: "waiting, " in waiting.log.read_text(), "setup waits", waiting)
        secure.kafka.start()
        assert waiting.popen.wait(60) == ExitCode.DONE, waiting.log.read_text()
        assert waiting.log.read_text().count("is created") == 5
    finally:
        waiting.kill()
        secure.kafka.start()
