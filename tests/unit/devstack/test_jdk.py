"""A JDK that is new enough is found in a fake file tree, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devstack.errors import MissingToolError
from devstack.jdk import find_jdk


def install(home: Path, version: str, *, javac: bool = True, release: bool = True) -> Path:
    """Make something that looks like a Java installation."""
    programs = ["java", "javac"] if javac else ["java"]
    (home / "bin").mkdir(parents=True)
    for name in programs:
        program = home / "bin" / name
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
        program.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Someone"\nJAVA_VERSION="{version}"\n')
    return home


def test_the_newest_of_the_usual_folders_wins(tmp_path: Path) -> None:
    install(tmp_path / "jvm" / "java-17", "17.0.15")
    install(tmp_path / "jvm" / "java-21", "21.0.2")
    newest = install(tmp_path / "jvm" / "java-25", "25")

    found = find_jdk(21, environment={}, folders=[f"{tmp_path}/jvm/*"])

    assert (found.home, found.version) == (newest, 25)
    assert found.java == newest / "bin" / "java"
    assert found.javac == newest / "bin" / "javac"


def test_java_home_wins_over_a_newer_one_if_it_is_new_enough(tmp_path: Path) -> None:
    chosen = install(tmp_path / "mine", "21.0.2")
    install(tmp_path / "jvm" / "java-25", "25")
    found = find_jdk(21, environment={"JAVA_HOME": str(chosen)}, folders=[f"{tmp_path}/jvm/*"])
    assert found.home == chosen


def test_an_old_java_home_and_an_old_path_are_passed_over(tmp_path: Path) -> None:
    old = install(tmp_path / "old", "1.8.0_402")
    path = install(tmp_path / "onpath", "17.0.1")
    new = install(tmp_path / "jvm" / "java-21", "21.0.2")
    environment = {"JAVA_HOME": str(old), "PATH": str(path / "bin")}
    assert find_jdk(21, environment=environment, folders=[f"{tmp_path}/jvm/*"]).home == new
    assert find_jdk(17, environment=environment, folders=[f"{tmp_path}/jvm/*"]).home == path
    assert find_jdk(8, environment=environment, folders=[f"{tmp_path}/jvm/*"]).version == 8


def test_a_link_on_the_path_leads_to_its_jdk(tmp_path: Path) -> None:
    real = install(tmp_path / "real", "21.0.2")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(real / "bin" / "java")
    assert find_jdk(21, environment={"PATH": str(tmp_path / "bin")}, folders=[]).home == real


def test_a_mere_runtime_is_passed_over_when_a_compiler_is_wanted(tmp_path: Path) -> None:
    runtime = install(tmp_path / "jvm" / "runtime-25", "25", javac=False)
    full = install(tmp_path / "jvm" / "jdk-21", "21.0.2")
    folders = [f"{tmp_path}/jvm/*"]
    assert find_jdk(21, environment={}, folders=folders).home == full
    assert find_jdk(21, environment={}, folders=folders, compiler=False).home == runtime


def test_without_a_release_file_java_itself_is_asked(tmp_path: Path) -> None:
    home = install(tmp_path / "jvm" / "bare", "21.0.2", release=False)
    assert find_jdk(21, environment={}, folders=[f"{tmp_path}/jvm/*"]).home == home


def test_a_folder_pattern_may_go_on_after_the_star(tmp_path: Path) -> None:
    home = install(tmp_path / "JavaVirtualMachines" / "x.jdk" / "Contents" / "Home", "23.0.1")
    found = find_jdk(21, environment={}, folders=[f"{tmp_path}/JavaVirtualMachines/*/Contents/Home"])
    assert found.home == home


def test_the_error_names_what_was_found_and_how_to_install(tmp_path: Path) -> None:
    old = install(tmp_path / "jvm" / "java-17", "17.0.15")
    runtime = install(tmp_path / "jvm" / "jre-25", "25", javac=False)
    with pytest.raises(MissingToolError) as caught:
        find_jdk(21, environment={"JAVA_HOME": os.devnull}, folders=[f"{tmp_path}/jvm/*"])
    text = str(caught.value)
    assert f"17 in {old}" in text
    assert f"25 in {runtime} (no javac)" in text
    assert f"JAVA_HOME is {os.devnull}" in text
    assert "apt install openjdk-" in text


def test_the_error_of_a_machine_without_java_says_so() -> None:
    with pytest.raises(MissingToolError, match="found: no Java at all"):
        find_jdk(21, environment={}, folders=[])
