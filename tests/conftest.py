"""What is true of every run of the tests: told to end by SIGTERM, as a cancelled job is, it still ends its servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from devstack.interrupt import interrupt_on
from devstack.process import ProcessId
from support import processes

# A loaded machine is no reason to fail.
# `--hypothesis-profile=deep` tries fifty times as many cases of what sets no number itself.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=5_000)
settings.load_profile("quick")


# The servers of tests live for minutes: their second compiler would cost more than it saves.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

_TEARDOWN_SECONDS = 120
_workers: dict[object, ProcessId | None] = {}
"""Processes of pytest-xdist that still run tests, by their nodes; none in such a process, or without any."""
_interrupted: list[object] = []
"""What this process was interrupted by."""


def pytest_configure(config: pytest.Config) -> None:
    """Told to end, pytest stops and tears the fixtures down, which by itself it does for Ctrl-C only.

    A worker gets Ctrl-C from the terminal, and then SIGTERM from the process that it works for.
    """
    interrupt_on(signal.SIGTERM, *((signal.SIGINT,) if hasattr(config, "workerinput") else ()))


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    if excinfo.type is KeyboardInterrupt:  # pytest's own reasons to stop are subclasses
        _interrupted.append(excinfo)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails tells which of its processes had failed, and why."""
    report = yield
    if report.failed:
        report.sections.extend(processes.failed())
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    _workers[node] = ProcessId.of(node.gateway._rinfo().pid)  # asked for and kept by pytest-xdist


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    _workers.pop(node, None)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """A run that is over before its workers are, by a signal or by --maxfail: they end their servers, too.

    pytest-xdist would kill them after ten seconds.
    """
    left = [worker for worker in _workers.values() if worker is not None]
    for worker in left:
        worker.send(signal.SIGTERM)
    for worker in left:
        worker.wait(_TEARDOWN_SECONDS)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _interrupted and hasattr(config, "workerinput"):
        os._exit(2)  # it would wait for more work
