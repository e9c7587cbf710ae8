"""Hypothesis for this folder: the same examples every time, and no deadline, since machines are busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("enricher", deadline=None, derandomize=True, database=None)
settings.load_profile("enricher")
