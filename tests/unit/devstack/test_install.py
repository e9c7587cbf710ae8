"""What must be on the machine, and what is said when it is not; and the files that are written for the servers."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from devstack import Settings, postgres_install
from devstack.errors import MissingToolError, StartError
from devstack.kafka import new_cluster_id, server_properties
from devstack.postgres import LONGEST_SOCKET_NAME, SOCKET_PATH_LIMIT, Postgres
from devstack.workspace import Workspace
from devstack.zstd import find_zstd


def test_zstd_is_found_in_a_folder_with_a_star(tmp_path: Path) -> None:
    library = tmp_path / "odd-linux-gnu" / "libzstd.so.1"
    library.parent.mkdir()
    library.touch()
    assert find_zstd([f"{tmp_path}/*-linux-gnu"], ask_loader=False) == library


def test_a_missing_zstd_names_its_package() -> None:
    with pytest.raises(MissingToolError, match="apt install libzstd1"):
        find_zstd([], ask_loader=False)


def test_a_missing_postgres_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingToolError, match="`devstack` extra"):
        postgres_install.find_installation()


def test_a_folder_of_somebody_else_is_not_trusted(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(StartError, match="belongs to somebody else"):
        postgres_install.own_folder(link, 0o755)


def test_a_socket_path_is_never_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    server = Postgres(Workspace(Settings.from_environment({}, home=deep)))
    try:
        assert len(os.fsencode(server.socket_folder())) + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT
    finally:
        server.wipe()


def test_kafka_is_a_cluster_of_one_that_creates_no_topics_by_itself(tmp_path: Path) -> None:
    text = server_properties({"broker": 1001, "controller": 1002}, tmp_path / "dätä")
    values = dict(line.split("=", 1) for line in text.splitlines())
    assert values["auto.create.topics.enable"] == "false"
    assert values["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1001"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:1002"
    factors = {name: value for name, value in values.items() if "replication.factor" in name}
    assert set(factors.values()) == {"1"}
    assert values["log.dirs"].encode("ascii").decode("unicode_escape") == str(tmp_path / "dätä")


def test_cluster_ids_are_what_kafka_accepts() -> None:
    ids = {new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(each) == 22 and not each.startswith("-") for each in ids)
