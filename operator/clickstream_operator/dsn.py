"""PostgreSQL connection strings, read as libpq reads them (fe-connect.c of PostgreSQL 17 and 18).

The processes hand theirs to libpq. The operator's image has none, and has to tell Grafana the same in Grafana's words.
No error quotes anything of a string: it is a Secret's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_KEYWORDS: Final = (
    "application_name channel_binding client_encoding connect_timeout dbname fallback_application_name "
    "gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle "
    "keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version "
    "oauth_client_id oauth_client_secret oauth_issuer oauth_scope options passfile password port "
    "replication require_auth requirepeer scram_client_key scram_server_key service "
    "ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl "
    "sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni "
    "target_session_attrs tcp_user_timeout user"
)
KEYWORDS: Final = frozenset(_KEYWORDS.split())
"""All that libpq 18 knows."""
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_URI: Final = re.compile(r"postgres(?:ql)?://")
_SPACES: Final = " \t\n\v\f\r"
_NAME: Final = re.compile(rf"[{_SPACES}]*([^={_SPACES}]*)[{_SPACES}]*(=)?[{_SPACES}]*")
_QUOTED: Final = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_BARE: Final = re.compile(rf"((?:[^{_SPACES}\\]|\\.|\\\Z)*)[{_SPACES}]?", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)
_HOST: Final = re.compile(r"(?:\[([^\]]*)(\])?|([^:/?,\[][^:/?,]*)?)(?::([^/?,]*))?")
_PORT: Final = re.compile(rf"[{_SPACES}]*\+?0*([0-9]{{1,5}})[{_SPACES}]*")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")


class DsnError(ValueError):
    """The string cannot be used; the message says why in words that hold nothing of it."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a client of one server needs. `sslmode` is one of SSL_MODES."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str


def address_of(dsn: str) -> Address:
    """The first server of a connection string, with libpq's defaults. Raises DsnError."""
    said = parse(dsn)
    host, port = _first_server(said)
    user, sslmode = said.get("user", ""), said.get("sslmode") or "prefer"
    if not user:
        msg = "it names no user"
        raise DsnError(msg)
    if sslmode not in SSL_MODES:
        msg = f"its sslmode is none of {', '.join(SSL_MODES)}"
        raise DsnError(msg)
    return Address(host, port, user, said.get("password", ""), said.get("dbname") or user, sslmode)


def parse(dsn: str) -> dict[str, str]:
    """The keywords that are given, with their values, as PQconninfoParse has them. Raises DsnError."""
    if "\0" in dsn:
        msg = "it has a zero byte"
        raise DsnError(msg)
    uri = _URI.match(dsn)
    return _parse_pairs(dsn) if uri is None else _parse_uri(dsn[uri.end() :])


def _parse_pairs(text: str) -> dict[str, str]:
    said: dict[str, str] = {}
    at = len(text) - len(text.lstrip(_SPACES))
    while at < len(text):
        name = _NAME.match(text, at)
        if name is None or name[2] is None:
            msg = 'a keyword has no "=" behind it'
            raise DsnError(msg)
        quoted = text.startswith("'", name.end())
        value = (_QUOTED if quoted else _BARE).match(text, name.end())
        if value is None:
            msg = "a quote is not closed"
            raise DsnError(msg)
        _store(said, name[1], _ESCAPE.sub(r"\1", value[1]))
        at = value.end()
        while at < len(text) and text[at] in _SPACES:
            at += 1
    return said


def _parse_uri(rest: str) -> dict[str, str]:
    said: dict[str, str] = {}
    before, at, after = rest.partition("@")
    if at and "/" not in before:
        user, _, password = before.partition(":")
        _store_decoded(said, "user", user)
        _store_decoded(said, "password", password)
        rest = after
    hosts, ports, rest = _hosts(rest)
    _store_decoded(said, "host", hosts)
    _store_decoded(said, "port", ports)
    if rest.startswith("/"):
        database, mark, query = rest[1:].partition("?")
        _store_decoded(said, "dbname", database)
        rest = mark + query
    for pair in _pairs(rest.removeprefix("?")):
        parts = pair.split("=")
        if len(parts) != 2:
            msg = 'a parameter behind the "?" has not exactly one "="'
            raise DsnError(msg)
        name, value = (_decode(part) for part in parts)
        if (name, value) == ("ssl", "true"):  # JDBC's way
            name, value = "sslmode", "require"
        if name in KEYWORDS or name == "requiressl":
            _store(said, name, value)
        else:
            msg = "it has a parameter that libpq does not know"
            raise DsnError(msg)
    return said


def _hosts(rest: str) -> tuple[str, str, str]:
    """Hosts and ports, each separated by commas, and what follows them."""
    hosts, ports, at = [], [], 0
    while True:
        found = _HOST.match(rest, at)
        assert found is not None, "all its parts are optional"
        bracketed, closed, name, port = found.groups()
        if bracketed is not None and (not bracketed or closed is None):
            msg = "an address in brackets is empty, or its bracket is not closed"
            raise DsnError(msg)
        hosts.append(bracketed or name or "")
        ports.append(port or "")
        at = found.end()
        if at < len(rest) and rest[at] not in "/?,":
            msg = "an address in brackets is followed by something else than a port"
            raise DsnError(msg)
        if rest[at : at + 1] != ",":
            return ",".join(hosts), ",".join(ports), rest[at:]
        at += 1


def _pairs(query: str) -> list[str]:
    """The parameters; behind the last `&` there need not be one."""
    pairs = query.split("&")
    return pairs[:-1] if not pairs[-1] else pairs


def _first_server(said: dict[str, str]) -> tuple[str, int]:
    names, addresses, ports = (said.get(name, "").split(",") for name in ("host", "hostaddr", "port"))
    host = names[0] or addresses[0]
    if not host or host.startswith(("/", "@")):
        msg = "it names no host: a Unix socket is of no use in another pod"
        raise DsnError(msg)
    count = len(addresses if said.get("hostaddr") else names)
    if said.get("host") and len(names) != count:
        msg = "it has not as many hostaddr as hosts"
        raise DsnError(msg)
    if len(ports) not in {1, count}:
        msg = "it has neither one port nor as many as hosts"
        raise DsnError(msg)
    return host, _port(ports[0])


def _store_decoded(said: dict[str, str], name: str, value: str) -> None:
    if value:
        said[name] = _decode(value)


def _store(said: dict[str, str], name: str, value: str) -> None:
    if name == "requiressl":
        name, value = "sslmode", "require" if value.startswith("1") else "prefer"
    if name not in KEYWORDS:
        msg = "it has a keyword that libpq does not know"
        raise DsnError(msg)
    said[name] = value


def _decode(value: str) -> str:
    """Percent-decoding, without the spaces around. Raises DsnError."""
    value = value.strip(" ")
    if " " in value:
        msg = "it has a space that is not written as %20"
        raise DsnError(msg)
    try:
        return _PERCENT.sub(_byte, value.encode()).decode()
    except UnicodeError as error:
        msg = "it is no UTF-8 text"
        raise DsnError(msg) from error


def _byte(found: re.Match[bytes]) -> bytes:
    if found[1] is None or found[1] == b"00":
        msg = 'a "%" is not followed by two hexadecimal digits: write a literal one as %25'
        raise DsnError(msg)
    return bytes.fromhex(found[1].decode())


def _port(text: str) -> int:
    if not text:
        return 5432
    found = _PORT.fullmatch(text)
    port = 0 if found is None else int(found[1])
    if not 1 <= port <= 65_535:
        msg = "its port is no number from 1 to 65535"
        raise DsnError(msg)
    return port
