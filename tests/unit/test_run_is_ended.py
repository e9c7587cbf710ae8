"""A run of the tests that is told to end tears its fixtures down: nothing that it started is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import wait_for

TESTS = Path(__file__).parents[1]
RUN = """
import pathlib, time, pytest

def noted(what):
    pathlib.Path(f"{what}-{time.time_ns()}").touch()

@pytest.fixture(scope="session")
def server():
    yield
    noted("ending")
    time.sleep(SECONDS)
    noted("ended")

@pytest.mark.parametrize("number", range(8))
def test_it(server, number):
    noted("work")
    time.sleep(60)
"""


@pytest.mark.parametrize(("workers", "told"), [(0, signal.SIGTERM), (2, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_signal_ends_the_servers_too(tmp_path, workers, told):
    """With workers: servers that take longer to end than pytest-xdist gives them."""
    (tmp_path / "test_it.py").write_text(RUN.replace("SECONDS", "11" if workers else "1"))
    ours = ["-p", "conftest", "-c", os.devnull, "--rootdir", tmp_path, "-n", str(workers)]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "pytest", *ours, tmp_path]
    servers = max(1, workers)

    def seen(what: str) -> bool:
        return len(list(tmp_path.glob(f"{what}-*"))) == servers

    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, start_new_session=True
    ) as run:
        try:
            wait_for(lambda: seen("work"), "it is at work")
            os.killpg(run.pid, told)
            wait_for(lambda: seen("ending"), "the servers are told to end")
            if told is signal.SIGTERM:
                os.killpg(run.pid, told)  # once more, while it ends them
            assert run.wait(30) == 2  # interrupted
        finally:
            run.kill()
    assert seen("ended")
