"""Files that a process is given: whatever a path names, an answer comes soon, in little memory, and quotes nothing."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clickstream.contracts.pipeline import parse_pipeline, read_pipeline
from clickstream.enricher import main as enricher
from clickstream.runtime.credentials import trust
from clickstream.runtime.files import SMALL_BYTES, UnreadableFileError, read_file, read_text
from clickstream.runtime.kafka import client_config
from clickstream.runtime.settings import SettingsError, read_process_settings, read_secret
from clickstream.setup.main import main as setup
from clickstream.simulator.shop import load_products
from clickstream.sinks import main as sink
from clickstream.tracking_api import main as tracking_api

MINIMAL: dict[str, Any] = {"namespace": "team", "name": "shop", "kafka": {"bootstrapServers": "127.0.0.1:1"}}


def absent(path: Path) -> None:
    """Nothing is made."""


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 5 << 30)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, tempfile.TemporaryDirectory(dir="/tmp") as short:
        listening.bind(f"{short}/s")
        Path(f"{short}/s").rename(path)


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absent": (absent, "No such file or directory"),
    "a directory": (Path.mkdir, "not a regular file"),
    "a pipe that nobody writes to": (os.mkfifo, "not a regular file"),
    "a device without an end": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a socket": (bound_socket, "No such device or address"),
    "5 GB": (huge, f"more than {SMALL_BYTES} bytes"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "a link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}
hostile = pytest.mark.parametrize(("make", "message"), HOSTILE.values(), ids=HOSTILE.keys())


def open_files() -> set[str]:
    """What this process's descriptors are open on."""
    return {os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()}


@hostile
def test_what_is_no_small_regular_file_is_told_by_its_path_at_once_and_in_little_memory(
    make: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "given"
    make(path)
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableFileError, match=f"cannot read {path}: {message}"):
            read_file(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * SMALL_BYTES
    finally:
        tracemalloc.stop()
    assert os.path.realpath(path) not in open_files()


@hostile
def test_every_kind_of_setting_passes_by_there(make: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "given"
    make(path)
    kafka = {"bootstrapServers": "127.0.0.1:1"}
    by_password = {"type": "plain", "username": "u", "passwordFile": str(path)}
    by_certificate = {"type": "tls", "certificateFile": str(path), "keyFile": str(path)}
    readers: dict[str, Callable[[], Any]] = {
        "": lambda: read_process_settings({}, str(path)),
        "where: ": lambda: read_secret(str(path), "where"),
        "caFile: ": lambda: trust(str(path), "caFile"),
    }
    for field, members in (
        ("kafka.clientConfigFile: ", {"clientConfigFile": str(path)}),
        ("kafka.authentication.passwordFile: ", {"authentication": by_password}),
        ("kafka.authentication.certificateFile: ", {"tls": {}, "authentication": by_certificate}),
    ):
        spec = parse_pipeline(json.dumps(MINIMAL | {"kafka": kafka | members}).encode()).kafka
        readers[field] = lambda spec=spec: client_config(spec, "test")
    for field, read in readers.items():
        with pytest.raises(SettingsError, match=f"^{field}cannot read {path}: {message}"):
            read()
    with pytest.raises(ValueError, match=f"cannot read {path}: "):
        load_products(path)


@hostile
@pytest.mark.parametrize(
    ("command", "arguments"),
    [(enricher.main, []), (sink.main, ["postgres"]), (tracking_api.main, []), (setup, ["topics"])],
    ids=["enricher", "sink", "tracking-api", "setup"],
)
def test_every_process_ends_with_2_for_a_document_that_is_none(
    command: Any,
    arguments: list[str],
    make: Callable[[Path], Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path / "given")
    assert command([*arguments, "--pipeline", str(tmp_path / "given")]) == 2
    assert f"cannot read {tmp_path / 'given'}: {message}" in capsys.readouterr().err


def test_a_file_without_a_size_is_read_all_the_same() -> None:
    assert read_file("/proc/self/status").startswith(b"Name:")


def test_a_file_may_have_as_many_bytes_as_it_may(tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(b"x" * 100)
    assert read_file(path, 100) == b"x" * 100
    with pytest.raises(UnreadableFileError, match="more than 99 bytes"):
        read_file(path, 99)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b", ""])
def test_what_no_file_system_can_have_is_told_too(path: str) -> None:
    with pytest.raises(UnreadableFileError, match="cannot read"):
        read_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\r\n", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (b"hu\0sh", "NUL bytes"),
        ("hush".encode("utf-16"), "NUL bytes"),
        (b"hush\xff", r"not UTF-8 text \(at byte 4\)"),
        (b"hush" * 300_000, "more than 1048576 bytes"),
    ],
)
def test_a_secret_that_cannot_be_one_is_told_by_field_and_path(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^kafka\.password: .*{path}.*{message}") as told:
        read_secret(str(path), "kafka.password")
    assert "hush" not in str(told.value)


def test_a_byte_order_mark_and_line_ends_are_not_part_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes("\ufeffpässword \r\n".encode())
    assert read_secret(str(path), "where") == "pässword "


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfe")
def test_any_content_is_a_secret_or_a_clear_error_that_quotes_nothing(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            secret = read_secret(file.name, "where")
        except SettingsError as error:
            assert str(error) in {  # noqa: PT017 - either is right
                f"where: {file.name} is empty",
                f"where: cannot read {file.name}: it holds NUL bytes, so it is not UTF-8 text",
                *(f"where: cannot read {file.name}: not UTF-8 text (at byte {n})" for n in range(len(content))),
            }
        else:
            assert secret
            assert secret.encode() in content
            assert "\0" not in secret
        assert read_file(file.name) == content


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(json.dumps)
)
@example(b"[" * 100_000)
@example(b'{"x":' * 100_000)
@example(json.dumps(MINIMAL | {"x": 1}).encode()[:-3] + b"[" * 100_000 + b"]" * 100_000 + b"}")
@example(json.dumps(MINIMAL).encode("utf-16"))
@example(b'{"namespace": "\xff"}')
def test_any_document_is_a_pipeline_or_a_value_error(document: bytes | str) -> None:
    try:
        read_pipeline(document.encode() if isinstance(document, str) else document)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - anything else fails the test


def test_a_text_has_no_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(MINIMAL).encode())
    assert read_text(tmp_path / "p.json").startswith("{")
    assert read_process_settings({}, str(tmp_path / "p.json")).pipeline.name == "shop"
