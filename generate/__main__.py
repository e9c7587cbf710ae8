"""`python -m generate`: write every generated file; `--check` writes nothing.

With `--check` it exits with 1 and names the files that are not current.
"""

from __future__ import annotations

import sys

from generate import ROOT
from generate.artefacts import ARTEFACTS


def main(arguments: list[str]) -> int:
    """Exit status 0: all is current now, 1: something is not (`--check`)."""
    stale = 0
    for artefact in ARTEFACTS:
        text = artefact.make()
        if artefact.path.exists() and artefact.path.read_text() == text:
            continue
        name = artefact.path.relative_to(ROOT)
        if arguments == ["--check"]:
            sys.stderr.write(f"{name} is not current: run `make generated`\n")
            stale = 1
        else:
            artefact.path.write_text(text)
            sys.stdout.write(f"{name}\n")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
