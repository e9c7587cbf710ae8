"""A run of the tests that is told to end tears its fixtures down: nothing that it started is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
RUN = """
import pathlib, time, pytest

@pytest.fixture(scope="session")
def server():
    yield pathlib.Path("server")
    pathlib.Path("ended").touch()

def test_it(server):
    print("at work", flush=True)
    time.sleep(60)
"""


def test_sigterm_ends_the_servers_too(tmp_path):
    (tmp_path / "test_it.py").write_text(RUN)
    ours = ["-p", "conftest", "-c", os.devnull, "--rootdir", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "pytest", "-s", *ours, tmp_path]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            assert any("at work" in line for line in run.stdout)
            run.send_signal(signal.SIGTERM)
            assert run.wait(30) == 2  # interrupted
        finally:
            run.kill()
    assert (tmp_path / "ended").exists()
