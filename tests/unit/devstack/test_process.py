"""A process is pid and start time; strangers are never touched."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from devstack.process import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()


def identify(child: subprocess.Popen[bytes]) -> ProcessId:
    found = ProcessId.of(child.pid)
    assert found is not None
    return found


def test_a_living_process_is_recognised_again(sleeper: subprocess.Popen[bytes]) -> None:
    assert identify(sleeper) == identify(sleeper)
    assert identify(sleeper).is_alive()


def test_a_stranger_with_the_same_pid_is_dead_to_us_and_gets_no_signal(sleeper: subprocess.Popen[bytes]) -> None:
    earlier = dataclasses.replace(identify(sleeper), started="another boot/1")

    assert not earlier.is_alive()
    assert earlier.terminate(polite=signal.SIGTERM, grace_seconds=0)
    earlier.kill()

    assert sleeper.poll() is None


def test_a_pid_that_nobody_has_is_not_a_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert ProcessId.of(child.pid) is None


def test_a_zombie_counts_as_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = identify(child)
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    # `of` only looks, so our own dead child stays unreaped: a zombie.
    while ProcessId.of(child.pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not found.is_alive()
    child.wait()


def test_a_polite_end_is_enough_for_most(sleeper: subprocess.Popen[bytes]) -> None:
    assert identify(sleeper).terminate(polite=signal.SIGTERM, grace_seconds=10)


def test_who_ignores_the_polite_signal_is_killed_after_the_deadline() -> None:
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    found = identify(child)

    assert not found.terminate(polite=signal.SIGTERM, grace_seconds=0.1)

    assert not found.is_alive()
    child.stdout.close()
    child.wait()


def test_killing_takes_the_direct_children_along() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    grandchild = ProcessId.of(int(child.stdout.readline()))
    assert grandchild is not None
    assert identify(child).children() == [grandchild]

    identify(child).kill()

    assert not grandchild.is_alive()
    child.stdout.close()
    child.wait()
