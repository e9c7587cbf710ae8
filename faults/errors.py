"""Errors of the harness itself."""

from __future__ import annotations


class HarnessError(Exception):
    """The harness cannot go on. It says nothing about what is tested, and the run fails all the same."""
