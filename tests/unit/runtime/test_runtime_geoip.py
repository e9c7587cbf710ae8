"""Countries from a database file that may be anything at any time: wrong, cut, damaged, replaced, gone."""

from __future__ import annotations

import gc
import logging
import os
import random
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from clickstream.runtime import geoip
from clickstream.runtime.geoip import GeoIP, country_code
from clickstream.runtime.telemetry import Telemetry
from demo.metrics import parse_metrics
from support.waiting import until

HOUR = 3_600.0
"""Nobody looks by himself in a test that does not want it."""


def write(path: Path, networks: dict[str, object], *, version: int = 6, built: int | None = None) -> Path:
    writer = MMDBWriter(version, "Test-Country", languages=["en"], ipv4_compatible=version == 6)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


NETWORKS: dict[str, object] = {
    "203.0.113.0/25": {"country": {"iso_code": "DE", "names": {"en": "Germany"}}, "city": {"names": {"en": "Ulm"}}},
    "203.0.113.128/25": {"country": {"iso_code": "GB"}, "location": {"latitude": 51.5, "longitude": -0.1}},
    "2001:db8:1::/48": {"country": {"iso_code": "JP"}, "registered_country": {"iso_code": "US"}},
    "198.51.100.0/24": {"registered_country": {"iso_code": "FR"}},
    "192.0.2.0/26": {"country": "nl"},
    "192.0.2.64/26": {"country": "United States", "country_code": "US"},
    "192.0.2.128/25": {"continent": {"code": "EU"}},
    "100.64.0.0/16": {"country": {"iso_code": ["DE"]}, "registered_country": 7},
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("geo") / "country.mmdb", NETWORKS)


@pytest.fixture
def opened() -> Callable[..., GeoIP]:
    made: list[GeoIP] = []

    def make(path: Path | str | None, look_seconds: float = HOUR) -> GeoIP:
        made.append(GeoIP(None if path is None else str(path), look_seconds))
        return made[-1]

    yield make
    for each in made:
        each.close()


def country(found: GeoIP, ip: str) -> str | None:
    return found.country_of(ip_address(ip))


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("203.0.113.7", "DE"),
        ("203.0.113.200", "GB"),
        ("203.0.113.0", "DE"),  # what is left of the one before, once it is anonymized
        ("::ffff:203.0.113.200", "GB"),
        ("2002:cb00:71c8::1", "GB"),  # 6to4 of 203.0.113.200
        ("2001:db8:1::", "JP"),  # where the visitor is, not where the network is registered
        ("198.51.100.9", "FR"),  # only the registration is known
        ("192.0.2.1", "NL"),  # flat layouts
        ("192.0.2.65", "US"),
        ("192.0.2.200", None),
        ("100.64.0.1", None),
        *((ip, None) for ip in ("10.0.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "fe80::1", "::")),
    ],
)
def test_the_country_of_an_address(database: Path, opened: Callable[..., GeoIP], ip: str, expected: str | None) -> None:
    found = opened(database)
    assert country(found, ip) == expected
    assert (found.failed_loads, found.failed_lookups) == (0, 0)


def test_an_ipv4_database_knows_no_ipv6_and_that_is_no_failure(tmp_path: Path, opened: Callable[..., GeoIP]) -> None:
    found = opened(write(tmp_path / "4.mmdb", {"203.0.113.0/24": {"country": "DE"}}, version=4))
    assert (country(found, "203.0.113.1"), country(found, "::ffff:203.0.113.1")) == ("DE", "DE")
    assert country(found, "2001:db8::1") is None
    assert found.failed_lookups == 0


@pytest.mark.parametrize("value", [None, 1, "", "D", "DEU", "d1", "ßß", "D\0", "ＤＥ", ["DE"], b"DE"])
def test_what_is_no_code_of_a_country(value: object) -> None:
    assert country_code(value) is None


def test_without_a_path_there_is_no_country_and_nothing_to_tell(opened: Callable[..., GeoIP]) -> None:
    found, telemetry = opened(None), Telemetry("test", {}, None)
    found.watch(telemetry)
    assert country(found, "203.0.113.7") is None
    assert b"geoip" not in telemetry.prometheus_text()


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"not a database",
        "only a marker": b"\xab\xcd\xefMaxMind.com\x00",
        "cut in two": content[: len(content) // 2],
        "without its metadata": content[: content.rfind(b"\xab\xcd\xefMaxMind.com")],
        "a tree longer than the file": content[content.rfind(b"\xab\xcd\xefMaxMind.com") :],
        "a tree of ones": b"\xff" * 2_000 + content[2_000:],
    }


@pytest.mark.parametrize("kind", damaged(b"\xab\xcd\xefMaxMind.com").keys())
def test_a_file_that_is_no_database_is_told_once_counted_and_replaced_when_a_good_one_comes(
    kind: str, database: Path, tmp_path: Path, opened: Callable[..., GeoIP], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "given.mmdb"
    path.write_bytes(damaged(database.read_bytes())[kind])
    found = opened(path)
    found.look()
    assert (country(found, "203.0.113.7"), found.built, found.failed_loads) == (None, None, 2)
    (record,) = caplog.records
    assert (record.levelname, str(path) in record.message) == ("ERROR", True)
    assert "not a MaxMind DB file, or a damaged one; there are no countries, looking again" in record.message
    database_copy = tmp_path / "new"
    database_copy.write_bytes(database.read_bytes())
    database_copy.rename(path)
    found.look()
    assert country(found, "203.0.113.7") == "DE"
    assert found.built is not None
    assert time.time() - found.built < HOUR


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "No such file"),
        (Path.mkdir, "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: (path.touch(), os.truncate(path, 5 << 30)), f"more than {geoip.MAX_BYTES} bytes"),
        (lambda path: write(path, {"0.0.0.0/1": {"autonomous_system_number": 1}}), "has no countries"),
    ],
    ids=["absent", "a directory", "a pipe", "a device", "5 GB", "another kind of database"],
)
def test_what_cannot_be_used_at_the_start_stops_nothing(
    make: Callable[[Path], object],
    message: str,
    tmp_path: Path,
    opened: Callable[..., GeoIP],
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(tmp_path / "given.mmdb")
    found = opened(tmp_path / "given.mmdb")
    assert country(found, "203.0.113.7") is None
    assert found.failed_loads == 1
    assert message in caplog.text


def replace_by_rename(path: Path, content: bytes) -> None:
    path.with_name("new").write_bytes(content)
    path.with_name("new").rename(path)


def write_in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def swing_the_link(path: Path, content: bytes) -> None:
    """As the kubelet does: the file is a link into `..data`, which is a link to a folder of its own each time."""
    folder = path.parent / f"..{time.monotonic_ns()}"
    folder.mkdir()
    (folder / path.name).write_bytes(content)
    (path.parent / "..tmp").symlink_to(folder.name)
    (path.parent / "..tmp").rename(path.parent / "..data")
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(f"..data/{path.name}")


@pytest.mark.parametrize("update", [replace_by_rename, write_in_place, swing_the_link])
def test_a_new_file_is_taken_up_by_itself_and_a_bad_one_leaves_the_old_data_in_use(
    update: Callable[[Path, bytes], None], database: Path, tmp_path: Path, opened: Callable[..., GeoIP]
) -> None:
    path = tmp_path / "country.mmdb"
    update(path, database.read_bytes())
    found = opened(path, 0.02)
    assert country(found, "203.0.113.7") == "DE"
    update(path, b"")
    until(lambda: found.failed_loads > 0)
    assert country(found, "203.0.113.7") == "DE"
    assert country(found, "203.0.113.200") == "GB", "also what was not asked for before"
    update(path, write(tmp_path / "other", {"203.0.113.0/24": {"country": "AT"}}).read_bytes())
    until(lambda: country(found, "203.0.113.7") == "AT")
    failed = found.failed_loads
    path.unlink()
    until(lambda: found.failed_loads > failed)
    assert country(found, "203.0.113.7") == "AT"


def test_a_file_that_changes_while_it_is_read_waits_for_the_next_look(
    database: Path, tmp_path: Path, opened: Callable[..., GeoIP], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "country.mmdb"
    path.write_bytes(database.read_bytes())
    real = geoip.read_file

    def written_meanwhile(given: str, most: int) -> bytes:
        content = real(given, most)
        path.write_bytes(content + b"\0")
        return content

    monkeypatch.setattr(geoip, "read_file", written_meanwhile)
    found = opened(path)
    assert (country(found, "203.0.113.7"), found.failed_loads) == (None, 0)
    monkeypatch.setattr(geoip, "read_file", real)
    found.look()
    assert country(found, "203.0.113.7") == "DE"


def test_the_data_that_was_replaced_is_not_kept_in_memory(
    database: Path, tmp_path: Path, opened: Callable[..., GeoIP]
) -> None:
    path = tmp_path / "country.mmdb"
    replace_by_rename(path, database.read_bytes())
    found = opened(path)
    country(found, "203.0.113.7")
    old = weakref.ref(found._database)
    gc.disable()  # the enricher's records are not the collector's, which seldom runs there
    try:
        replace_by_rename(path, database.read_bytes())
        found.look()
        assert country(found, "203.0.113.7") == "DE"
        assert old() is None
    finally:
        gc.enable()


def test_its_age_and_its_failures_are_metrics(database: Path, tmp_path: Path, opened: Callable[..., GeoIP]) -> None:
    path, telemetry = tmp_path / "country.mmdb", Telemetry("test", {}, None)
    found = opened(path)
    found.watch(telemetry)

    def metrics() -> dict[str, float]:
        samples = parse_metrics(telemetry.prometheus_text().decode())
        return {each.name: each.value for each in samples if each.name.startswith("clickstream_geoip")}

    assert metrics() == {"clickstream_geoip_failed_loads_total": 1, "clickstream_geoip_failed_lookups_total": 0}
    path.write_bytes(database.read_bytes())
    found.look()
    assert metrics()["clickstream_geoip_build_timestamp_seconds"] == found.built


def test_a_record_that_cannot_be_read_is_no_country_counted_and_told_once(
    database: Path, tmp_path: Path, opened: Callable[..., GeoIP], caplog: pytest.LogCaptureFixture
) -> None:
    content = database.read_bytes()
    assert content.count(b"GB") == 1
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(content.replace(b"GB", b"\xff\xff"))
    found = opened(path)
    assert country(found, "203.0.113.7") == "DE"
    for _ in range(3):
        assert country(found, "203.0.113.200") is None
    assert found.failed_lookups == 3
    assert [record.levelname for record in caplog.records if "is damaged" in record.message] == ["ERROR"]


def test_no_damage_to_a_file_raises_hangs_or_ends_the_process(database: Path, tmp_path: Path) -> None:
    """In a process of its own, whose end by a signal would be seen."""
    done = subprocess.run(
        [sys.executable, __file__, str(database), str(tmp_path / "damaged.mmdb")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded, refused, failed, slowest = done.stdout.split()
    assert int(loaded) + int(refused) == DAMAGES
    assert min(int(loaded), int(refused), int(failed)) > 20, "the damages reach all three ways"
    assert float(slowest) < 2


DAMAGES = 3_000


def try_damages(database: Path, path: Path) -> None:
    logging.disable()
    drawn = random.Random(7)
    addresses = [IPv4Address(f"203.0.113.{drawn.randrange(256)}") for _ in range(4)]
    addresses += [ip_address(ip) for ip in ("2001:db8:1::1", "198.51.100.9", "192.0.2.1", "192.0.2.200", "100.64.0.1")]
    good = database.read_bytes()
    loaded = refused = failed = 0
    slowest = 0.0
    for number in range(DAMAGES):
        content, at = bytearray(good), drawn.randrange(len(good))
        match number % 4:
            case 0 | 1:
                content[at] = drawn.randrange(256)
            case 2:
                content[at : at + 64] = drawn.randbytes(len(content[at : at + 64]))
            case 3:
                start = drawn.randrange(len(good))
                content[at : at + 64] = good[start : start + len(content[at : at + 64])]
        path.write_bytes(content)
        began = time.thread_time()
        found = GeoIP(str(path), HOUR)
        for address in addresses:
            code = found.country_of(address)
            assert code is None or country_code(code) == code
        slowest = max(slowest, time.thread_time() - began)
        loaded += found.built is not None
        refused += found.failed_loads
        failed += found.failed_lookups
        found.close()
    sys.stdout.write(f"{loaded} {refused} {failed} {slowest}\n")


if __name__ == "__main__":
    try_damages(Path(sys.argv[1]), Path(sys.argv[2]))
