"""What text may not hold."""

from __future__ import annotations


def without_nul(text: str) -> str:
    """The text with U+FFFD for U+0000, which no column and no libpq takes."""
    return text.replace("\0", "\ufffd") if "\0" in text else text
