"""What proves the bare cluster itself, or pulls from its registry, is collected only where the stories run on it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from cluster import choice
from cluster.node import can_run
from devstack import Stack
from devstack.errors import DevstackError
from e2e.tracker_site import Api
from support.browser import chromium  # noqa: F401 - a fixture

BARE = ("test_cluster_bare.py", "test_cluster_dependencies.py", "test_stories_release.py")


@functools.cache
def chosen() -> str:
    try:
        return choice.cluster()
    except DevstackError as error:
        raise pytest.UsageError(*error.args) from error


def collects_bare() -> bool:
    return chosen() == "bare" and can_run()


def pytest_report_header() -> str:
    left_out = f"; not collected: {', '.join(BARE)} (they need a bare cluster: root on Linux)"
    return f"e2e: cluster {chosen()}{'' if collects_bare() else left_out}"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.name in BARE and not collects_bare() else None


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Elasticsearch and PostgreSQL, for a file of tests."""
    started = Stack.up(home=tmp_path_factory.mktemp("servers"))
    yield started
    started.down(wipe=True)


@pytest.fixture
def api() -> Iterator[Api]:
    """What a tracker sends to, and the pages that it is in."""
    made = Api()
    yield made
    made.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:  # noqa: F811
    """A browser profile; whatever its pages throw fails the test."""
    made = chromium.new_context()
    thrown: list[str] = []
    made.on("page", lambda page: page.on("pageerror", lambda error: thrown.append(str(error))))
    yield made
    made.close()
    assert thrown == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
