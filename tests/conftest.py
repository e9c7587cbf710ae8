"""What is true of every run of the tests: told to end by SIGTERM, as a cancelled job is, it still ends its servers."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # As Ctrl-C does: pytest stops and tears the fixtures down, which by itself it does not for SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
