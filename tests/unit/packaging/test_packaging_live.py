"""A developer saves a file while `tilt up` runs: the process in the container starts anew, with it.

Tilt copies no more than what was saved: it sends a tar archive of those files to `tar -C / -x -f -` in the container,
and removes deleted ones by `rm -rf`. The tests do the same, below a folder that stands for the container's root.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time

import pytest

from generate import ROOT

# What is in the image, as the wheel has put it there: a package with a module, a sub-package and data.
INSTALLED = {
    "clickstream/__init__.py": 'NAME = "shop"\n',
    "clickstream/window.py": 'VERSION = "installed"\n',
    "clickstream/shelf/__init__.py": "",
    "clickstream/shelf/ducks.py": "DUCKS = 3\n",
    "clickstream_operator/__init__.py": "",
    "clickstream_operator/data/crd.yaml": "kind: Duck\n",
}
COMMAND = """
import importlib.resources, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("ended", flush=True), sys.exit(0)))
from clickstream import NAME
from clickstream.window import VERSION
try:
    from clickstream.shelf.ducks import DUCKS
except ImportError:
    DUCKS = "no"
crd = importlib.resources.files("clickstream_operator").joinpath("data/crd.yaml").read_text().strip()
print("runs", NAME, VERSION, DUCKS, "ducks", crd, *sys.argv[1:], flush=True)
if "once" in sys.argv:
    sys.exit(7)
time.sleep(60)
"""


class Container:
    """The live command under the name of a real one, whose stand-in says what it found in the packages."""

    def __init__(self, root):
        self.root, self.said = root, root / "said"
        self.live, self.installed = root / "tmp/live", root / "site-packages"
        for name, text in INSTALLED.items():
            self._write(self.installed / name, text)
        self._write(root / "bin/clickstream", f"#!{sys.executable} -B\n" + textwrap.dedent(COMMAND))
        (root / "bin/clickstream").chmod(0o755)
        (root / "clickstream").symlink_to(ROOT / "images" / "live.py")
        (root / "tmp").mkdir()
        self.processes = []

    def _write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self, *arguments):
        settings = {
            "LIVE_SOURCES": str(self.live),
            "LIVE_INSTALLED": str(self.installed),
            "LIVE_COMMANDS": str(self.root / "bin"),
            "PYTHONPATH": f"{self.live}:{self.installed}",
        }
        out = self.said.open("a")
        command = [sys.executable, str(self.root / "clickstream"), *arguments]
        process = subprocess.Popen(command, env=os.environ | settings, stdout=out, stderr=out)
        self.processes.append(process)
        return process

    def saves(self, name, text):
        """The one file that was saved, and no other, by Tilt's own command."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo(f"tmp/live/clickstream/{name}")
            member.size, member.mtime = len(text), time.time()
            tar.addfile(member, io.BytesIO(text.encode()))
        subprocess.run(["tar", "-C", str(self.root), "-x", "-f", "-"], input=archive.getvalue(), check=True)

    def says(self, *lines):
        deadline = time.monotonic() + 20
        while (said := [line for line in self.said.read_text().splitlines() if "live:" not in line]) != list(lines):
            assert time.monotonic() < deadline, said
            time.sleep(0.05)


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


BEGUN = "runs shop installed 3 ducks kind: Duck"


def test_a_saved_module_of_a_package_starts_the_process_anew_with_it_and_with_the_rest_as_installed(container):
    process = container.start("--open")
    container.says(f"{BEGUN} --open")
    container.saves("window.py", 'VERSION = "first"\n')
    first = [f"{BEGUN} --open", "ended", "runs shop first 3 ducks kind: Duck --open"]
    container.says(*first)
    container.saves("window.py", 'VERSION = "second"\n')
    second = [*first, "ended", "runs shop second 3 ducks kind: Duck --open"]
    container.says(*second)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    container.says(*second, "ended")


def test_a_saved_init_does_not_take_the_rest_of_its_package_away(container):
    container.start()
    container.says(BEGUN)
    container.saves("__init__.py", 'NAME = "zoo"\n')
    container.says(BEGUN, "ended", "runs zoo installed 3 ducks kind: Duck")


def test_a_deleted_module_is_gone(container):
    container.start()
    container.says(BEGUN)
    shutil.rmtree(container.live / "clickstream" / "shelf")
    container.says(BEGUN, "ended", "runs shop installed no ducks kind: Duck")


def test_what_is_saved_before_the_process_starts_is_not_overwritten(container):
    container.saves("window.py", 'VERSION = "early"\n')
    container.start()
    container.says("runs shop early 3 ducks kind: Duck")


def test_a_restarted_container_keeps_what_was_saved_and_deleted(container):
    assert container.start("once").wait(20) == 7
    container.says(f"{BEGUN} once")
    container.saves("window.py", 'VERSION = "saved"\n')
    shutil.rmtree(container.live / "clickstream" / "shelf")
    assert container.start("once").wait(20) == 7
    container.says(f"{BEGUN} once", "runs shop saved no ducks kind: Duck once")


def test_a_command_that_ends_by_itself_ends_the_container(container):
    assert container.start("once").wait(20) == 7
    container.says(f"{BEGUN} once")
