"""A developer saves a file while `tilt up` runs: the process in the container starts anew, with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from generate import ROOT


@pytest.fixture
def container(tmp_path):
    """The live command under the name of a real one, whose stand-in says which version of a module it found."""
    commands, live = tmp_path / "bin", tmp_path / "live"
    commands.mkdir()
    program = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("ended", flush=True), sys.exit(0)))
        try:
            from shop_window import VERSION
        except ImportError:
            VERSION = "installed"
        print("runs", VERSION, *sys.argv[1:], flush=True)
        if "once" in sys.argv:
            sys.exit(7)
        time.sleep(60)
    """
    (commands / "shop").write_text(f"#!{sys.executable} -B\n" + textwrap.dedent(program))
    (commands / "shop").chmod(0o755)
    wrapper = tmp_path / "shop"
    wrapper.symlink_to(ROOT / "images" / "live.py")
    started = []

    def start(*arguments):
        env = os.environ | {"LIVE_SOURCES": str(live), "LIVE_COMMANDS": str(commands), "PYTHONPATH": str(live)}
        out = (tmp_path / "out").open("w")
        process = subprocess.Popen([sys.executable, str(wrapper), *arguments], env=env, stdout=out, stderr=out)
        started.append(process)
        return process

    def says(*lines):
        deadline = time.monotonic() + 20
        while (said := [line for line in (tmp_path / "out").read_text().splitlines() if "live:" not in line]) != list(
            lines
        ):
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    yield start, says, live
    for process in started:
        process.kill()
        process.wait()


def test_a_saved_file_starts_the_process_anew(container):
    start, says, live = container
    process = start("window", "--open")
    says("runs installed window --open")
    live.mkdir()
    (live / "shop_window.py").write_text("VERSION = 'first'")
    says("runs installed window --open", "ended", "runs first window --open")
    (live / "shop_window.py").write_text("VERSION = 'second'")
    says("runs installed window --open", "ended", "runs first window --open", "ended", "runs second window --open")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    says(
        "runs installed window --open",
        "ended",
        "runs first window --open",
        "ended",
        "runs second window --open",
        "ended",
    )


def test_a_command_that_ends_by_itself_ends_the_container(container):
    start, says, _live = container
    assert start("once").wait(20) == 7
    says("runs installed once")
