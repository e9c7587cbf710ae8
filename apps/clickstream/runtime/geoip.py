"""The country of an address, from a MaxMind-format database that may be replaced at any time.

GeoLite2, GeoIP2, DB-IP and IPinfo's mmdb are known. No file, however damaged, ends or freezes the process: it is read
into memory as a whole, so that truncating it cannot take pages away, and is looked up by the library's Python reader,
which bounds its own work, never by the C one. A file is tried before it is used; while the new one is bad or missing,
the last good one stays in use. Without any there are no countries, and everything else continues.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from maxminddb.const import MODE_FD
from maxminddb.reader import Reader

from clickstream.runtime.files import UnreadableFileError, read_file
from clickstream.runtime.telemetry import (
    GEOIP_BUILT,
    GEOIP_FAILED_LOADS,
    GEOIP_FAILED_LOOKUPS,
    Telemetry,
)

log: Final = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
CountryOf = Callable[[Address], str | None]
"""From an address to its ISO 3166-1 alpha-2 code, upper case. Never raises."""

MAX_BYTES: Final = 256 << 20
"""Most that a database may have; while it is replaced both are in memory."""
LOOK_SECONDS: Final = 30.0
"""Between two looks at the file."""
CACHED: Final = 50_000
_TRIED: Final = 64
"""Addresses of each kind that are looked up before a database is used."""

_CLOSING_SECONDS: Final = 5.0
"""A file system that does not answer must not hold up the end of the process."""

_Finding = tuple[str | None, str | None]
"""A country, and the error that there was in its place."""
_NOTHING: Final[_Finding] = (None, None)

_Stamp = tuple[int, int, int, int, int]


def no_country(_: Address) -> None:
    """The answer without a database."""


def country_code(value: object) -> str | None:
    """The value as an ISO 3166-1 alpha-2 code, upper case; None where it cannot be one."""
    if isinstance(value, str) and len(value) == 2 and value.isascii() and value.isalpha():
        return value.upper()
    return None


class GeoIP:
    """Countries by address, of the database at `path` as it is now (None: no database, no country).

    Reads the file once when made; a thread of its own checks it every `look_seconds` until `close`. One thread may ask.
    """

    def __init__(self, path: str | None, look_seconds: float = LOOK_SECONDS) -> None:
        self.failed_loads = 0
        self.failed_lookups = 0
        self._path = path
        self._look_seconds = look_seconds
        self._database: _Database | None = None
        self._find: Callable[[Address], _Finding] = lambda _: _NOTHING
        self._stamp: _Stamp | None = None
        self._told: str | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if path is not None:
            self.look()
            self._thread = threading.Thread(target=self._follow, name="geoip", daemon=True)
            self._thread.start()

    def country_of(self, address: Address) -> str | None:
        """A `CountryOf`. A look-up that fails is counted, and is no country."""
        code, failure = self._find(address)
        if failure is not None:
            self.failed_lookups += 1
            self._tell(f"GeoIP database {self._path} is damaged, some countries are missing: {failure}")
        return code

    @property
    def built(self) -> int | None:
        """When the data in use was built, in seconds since the epoch; None while there is none."""
        return None if self._database is None else self._database.built

    def watch(self, telemetry: Telemetry) -> None:
        """Expose the age of the data and what failed."""
        if self._path is None:
            return
        telemetry.gauge(
            GEOIP_BUILT,
            "When the GeoIP database in use was built; absent while there is none",
            lambda: [] if self.built is None else [(self.built, {})],
            unit="s",
        )
        telemetry.observed_counter(
            GEOIP_FAILED_LOADS, "Looks at a GeoIP database that could not be used", lambda: [(self.failed_loads, {})]
        )
        telemetry.observed_counter(
            GEOIP_FAILED_LOOKUPS,
            "Addresses that a damaged GeoIP database failed on",
            lambda: [(self.failed_lookups, {})],
        )

    def close(self) -> None:
        """Stop looking at the file. Idempotent; the data stays."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_CLOSING_SECONDS)

    def look(self) -> None:
        """Load the file if it is another one than before."""
        assert self._path is not None
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            content = read_file(self._path, MAX_BYTES)
            if _stamp(self._path) != stamp:
                return  # being written; the next look finds it whole
            database = _Database(content)
        except (OSError, ValueError, MemoryError) as error:
            self._failed(error)
            return
        # Around the database and not within it: nothing keeps the old one alive, and its memory is freed at once.
        self._find = lru_cache(CACHED)(database.find)
        self._database, self._stamp, self._told = database, stamp, None
        fields = {"path": self._path, "type": database.kind, "built": _date(database.built), "bytes": len(content)}
        log.info("GeoIP database loaded", extra={"fields": fields})

    def _follow(self) -> None:
        while not self._closing.wait(self._look_seconds):
            self.look()

    def _failed(self, error: Exception) -> None:
        self.failed_loads += 1
        self._stamp = None
        what = str(error) if isinstance(error, UnreadableFileError) else f"{self._path}: {_why(error)}"
        now = "there are no countries" if self.built is None else f"that of {_date(self.built)} stays in use"
        self._tell(f"GeoIP database cannot be used: {what}; {now}, looking again every {self._look_seconds:.0f} s")

    def _tell(self, message: str) -> None:
        """Log an error, each once until it has changed."""
        if message != self._told:
            self._told = message
            log.error(message)


class _Database:
    """One file's data, never changed. `built` is in seconds since the epoch.

    Raises ValueError for what is not usable.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._reader = Reader(io.BytesIO(content), MODE_FD)
            metadata = self._reader.metadata()
            self.built, self.kind = int(metadata.build_epoch), str(metadata.database_type)
            _date(self.built)
            self._only_v4 = {4: True, 6: False}[metadata.ip_version]
            records = [record for address in self._trial() if (record := self._reader.get(address)) is not None]
        except Exception as error:
            msg = "not a MaxMind DB file, or a damaged one"
            raise ValueError(msg) from error
        if records and not any(_country_in(record) for record in records):
            msg = f"has no countries (it is of type {self.kind[:100]!r})"
            raise ValueError(msg)

    def find(self, address: Address) -> _Finding:
        """A failure is remembered like a result: damaged data can take long to fail."""
        if isinstance(address, IPv6Address):
            # IPv4-mapped and 6to4 forms, which not every database knows.
            address = address.ipv4_mapped or address.sixtofour or address
        if self._only_v4 and address.version == 6:
            return _NOTHING
        try:
            return _country_in(self._reader.get(address)), None
        except Exception as error:  # noqa: BLE001 - damaged data can raise anything
            return None, type(error).__name__

    def _trial(self) -> Iterator[Address]:
        for number in range(_TRIED):
            yield IPv4Address((number << 26) + 0x01_02_03_04)
            if not self._only_v4:
                yield IPv6Address((0x2400 + number * 0x20 << 112) + (number << 96))


def _country_in(record: object) -> str | None:
    """MaxMind's layout and flat ones. registered_country is the network owner's, the fallback."""
    if isinstance(record, dict):
        for name in ("country", "country_code", "registered_country"):
            value = record.get(name)
            code = country_code(value.get("iso_code") if isinstance(value, dict) else value)
            if code is not None:
                return code
    return None


def _stamp(path: str) -> _Stamp:
    found = Path(path).stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
