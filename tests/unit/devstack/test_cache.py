"""A cache entry is made once, whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from devstack import cache


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "content").write_text("x")

    first = cache.entry(tmp_path, "thing-1", build)
    assert cache.entry(tmp_path, "thing-1", build) == first == tmp_path / "thing-1"
    assert (first / "content").read_text() == "x"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        message = "no luck"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="no luck"):
        cache.entry(tmp_path, "thing-1", build)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_two_builders_at_once_build_once(tmp_path: Path) -> None:
    building, go_on, waiting = threading.Event(), threading.Event(), threading.Event()
    calls: list[Path] = []

    def build(folder: Path) -> None:
        calls.append(folder)
        building.set()
        assert go_on.wait(10)

    first = threading.Thread(target=cache.entry, args=(tmp_path, "thing-1", build))
    second = threading.Thread(target=cache.entry, args=(tmp_path, "thing-1", build, waiting.set))
    first.start()
    assert building.wait(10)
    second.start()
    assert waiting.wait(10)
    go_on.set()
    first.join(10)
    second.join(10)
    assert len(calls) == 1


def test_a_key_depends_on_every_part_and_on_where_it_ends() -> None:
    keys = {cache.digest("ab", "c"), cache.digest("a", "bc"), cache.digest("abc"), cache.digest(b"abc", "")}
    assert len(keys) == 4
