"""The release before, as a wheel."""

from __future__ import annotations

import pytest

from support.releases import Release, release_of

COMMIT = "97469b20eeb7878c03ab6bb5c5d0554748d43525"


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release that upgrades start from."""
    return release_of(COMMIT, tmp_path_factory.mktemp("old-release"))
