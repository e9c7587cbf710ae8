"""The generated project, and what Maven's failures look like to the user."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from devstack import artifacts, maven
from devstack.errors import DownloadError, InterruptedUpError, MissingToolError
from devstack.maven import Artifact

SPACE = "{http://maven.apache.org/POM/4.0.0}"


def dependencies(text: str) -> set[tuple[str | None, ...]]:
    root = ET.fromstring(text)
    nodes = root.iter(f"{SPACE}dependency")
    return {tuple(node.findtext(f"{SPACE}{tag}") for tag in ("groupId", "artifactId", "version")) for node in nodes}


def fake_maven(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "mvn"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def copy(tmp_path: Path, reports: list[str], cancelled: threading.Event | None = None) -> Path:
    target = tmp_path / "libs"
    target.mkdir()
    maven.copy_dependencies(
        artifacts.KAFKA,
        target,
        cache=tmp_path / "cache",
        report=reports.append,
        cancelled=cancelled or threading.Event(),
    )
    return target


def test_kafka_comes_with_streams_and_its_test_driver() -> None:
    names = {name for _, name, _ in dependencies(maven.pom(artifacts.KAFKA))}
    assert {"kafka_2.13", "kafka-tools", "kafka-streams", "kafka-streams-test-utils"} <= names


def test_all_of_one_server_has_one_version() -> None:
    versions = {
        version for group, _, version in dependencies(maven.pom(artifacts.KAFKA)) if group == "org.apache.kafka"
    }
    assert versions == {artifacts.KAFKA_VERSION}


def test_names_are_escaped() -> None:
    assert dependencies(maven.pom([Artifact("a&b", "<c>", "1")])) == {("a&b", "<c>", "1")}


def test_no_address_is_in_the_project() -> None:
    text = maven.pom(artifacts.ELASTICSEARCH)
    assert "repositor" not in text
    assert text.count("://") == 1  # the XML namespace


def test_without_maven_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="apt install maven"):
        copy(tmp_path, [])


def test_a_failing_maven_shows_the_end_of_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path / "bin", "echo 'Could not resolve everything'; exit 3", monkeypatch)
    with pytest.raises(DownloadError, match=r"(?s)exit code 3.*Could not resolve everything"):
        copy(tmp_path, [])


def test_jars_are_counted_while_they_arrive(tmp_path: Path) -> None:
    log, target = tmp_path / "log", tmp_path / "libs"
    target.mkdir()
    log.write_text("Downloading from central: a.jar\nDownloaded from central: a.jar (1 MB)\nDownloaded from x: b.pom\n")
    assert maven.arrived(log, target) == 1
    for name in ("a.jar", "b.jar", "c.txt"):
        (target / name).touch()
    assert maven.arrived(log, target) == 2


def test_a_cancelled_download_ends_maven_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path / "bin", "exec sleep 60", monkeypatch)
    monkeypatch.setattr(maven, "REPORT_SECONDS", 0.05)
    cancelled = threading.Event()
    cancelled.set()
    began = time.monotonic()
    with pytest.raises(InterruptedUpError):
        copy(tmp_path, [], cancelled)
    assert time.monotonic() - began < 30
