"""Libraries of Segment and RudderStack as they are published, and what docs/segment.md shows of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNIPPETS_KEY = "cm3zkeyofsnippets00000000"
"""Of a form that Jitsu's library takes."""
PROGRAMS = ROOT / "tests" / "integration" / "segment"


def install_python(folder: Path) -> None:
    """The Python libraries, for PYTHONPATH: apart from the project's dependencies, some of which they want older."""
    locked = ROOT / "requirements" / "segment.txt"
    options = ["--python", sys.executable, "--target", str(folder), "--require-hashes", "-r", str(locked)]
    _run(str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", *options, cwd=ROOT)


def install_node(folder: Path) -> None:
    """The Node libraries in `node_modules`, and the program that uses them."""
    for name in ("package.json", "package-lock.json", "messages.mjs"):
        shutil.copy(PROGRAMS / name, folder)
    _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)


def snippet(library: str, host: str, key: str) -> str:
    """The code in docs/segment.md that imports this library, for another host (`http://…`) and write key."""
    blocks: list[str] = re.findall(r"```(?:python|js)\n(.*?)```", (ROOT / "docs" / "segment.md").read_text(), re.DOTALL)
    [found] = [block for block in blocks if f'"{library}"' in block or f"import {library} " in block]
    bare = host.removeprefix("http://")
    found = found.replace("https://clicks.example.com", host).replace("WRITE_KEY", key)
    return found.replace('"clicks.example.com/v1"', f'"{bare}/v1", protocol: "http"')


def _run(*command: str, cwd: Path) -> None:
    env = os.environ | {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
