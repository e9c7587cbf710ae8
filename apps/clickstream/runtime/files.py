"""Reads the files that a process is given: its document, secrets, certificates, databases.

A path may name anything: a directory, a device, a pipe without a writer, a file of any size. Whatever it is, reading
uses bounded memory and never waits for a writer, and an error names the path and never the content.
"""

from __future__ import annotations

import os
import stat
from typing import Final

SMALL_BYTES: Final = 1 << 20
"""Maximum bytes of a document, a secret or a certificate: what a ConfigMap or a Secret holds."""

_FIRST_READ: Final = 65_536
"""Read also of a file with a smaller reported size: files of /proc report none."""

Path = str | os.PathLike[str]


class UnreadableFileError(ValueError):
    """A file cannot be used. The message names the path and what is wrong with it, never what is in it."""

    def __init__(self, path: Path, what: str) -> None:
        shown = os.fspath(path).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
        super().__init__(f"cannot read {shown}: {what}")


def read_file(path: Path, most: int = SMALL_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises UnreadableFileError."""
    try:
        # Without O_NONBLOCK opening a pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UnreadableFileError(path, "not a regular file")
            if found.st_size > most:
                raise UnreadableFileError(path, f"more than {most} bytes")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(max(found.st_size, _FIRST_READ) + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or type(error).__name__) from error
    except UnreadableFileError:
        raise
    except ValueError as error:  # a NUL in it, or a character that no file system can have
        raise UnreadableFileError(path, "not a path") from error
    if len(content) > most:
        raise UnreadableFileError(path, f"more than {most} bytes")
    return content


def read_text(path: Path, most: int = SMALL_BYTES) -> str:
    """The content of a UTF-8 text file, a byte order mark cut. Raises UnreadableFileError."""
    content = read_file(path, most)
    if b"\0" in content:
        raise UnreadableFileError(path, "it holds NUL bytes, so it is not UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Without the cause: it holds the content.
        raise UnreadableFileError(path, f"not UTF-8 text (at byte {error.start})") from None
