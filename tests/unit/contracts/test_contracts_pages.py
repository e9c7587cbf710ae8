"""Page patterns answer as a regular expression would, for any pattern and path."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clickstream.contracts.pages import key_finder, matcher

TOKENS = ("a", "b", "ab", "/", ".", "*", "*", "{key}", "{", "key}", "é", "\n")
PATTERNS = st.lists(st.sampled_from(TOKENS), max_size=9).map("".join)
PATHS = st.text("aab/.é\n{", max_size=14)


def expression(pattern: str) -> str:
    """The oracle: backtracking, greedy from the left."""
    parts = re.split(r"(\*|\{key\})", pattern.rstrip("/") or "/")
    return "".join("(?s:.*)" if part == "*" else "([^/]+)" if part == "{key}" else re.escape(part) for part in parts)


@settings(max_examples=5_000, deadline=None, derandomize=True, database=None)
@given(PATTERNS, PATHS)
@example("", "")
@example("/", "")
@example("*", "")
@example("*{key}*", "a/b")
@example("/*/{key}*b", "/a/ab/ab")
@example("{key}/{key}", "a/b")
@example("{key}{key}", "a")
def test_a_pattern_answers_as_a_regular_expression_does(pattern: str, path: str) -> None:
    found = re.fullmatch(expression(pattern), path)
    assert matcher(pattern)(path) is (found is not None)
    if pattern.count("{key}") == 1:
        assert key_finder(pattern)(path) == (found[1] if found else None)


@pytest.mark.parametrize("pattern", ["/products", "/{key}/{key}", ""])
def test_a_finder_needs_exactly_one_key(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"exactly one \{key\}"):
        key_finder(pattern)


@pytest.mark.parametrize("path", ["/", "/" * 2_048, "/" + "a/" * 1_023, "a" * 2_048, "é" * 2_048])
@pytest.mark.parametrize(
    "pattern", ["*" * 1_024, "*a" * 512, "/*" * 512, "/*/*/*/*/*/item", "{key}/" * 170, "a" * 1_024]
)
def test_no_pattern_makes_a_path_expensive(pattern: str, path: str) -> None:
    """An expression takes hours for some of these; the test's own time limit tells."""
    matcher(pattern)(path)
    wild = pattern.replace("{key}", "*")
    key_finder(wild[:1_000] + "{key}" + wild[:1_000])(path)
