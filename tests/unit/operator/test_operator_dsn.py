"""Connection strings are read as libpq reads them, and none of their characters gets into an error."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from clickstream_operator.dsn import KEYWORDS, Address, DsnError, address_of, parse

PIECES = st.sampled_from(
    [
        *("postgresql://", "postgres://", "POSTGRES://", "host", "port", "user", "password", "dbname", "sslmode"),
        *("hostaddr", "requiressl", "ssl", "true", "1", "require", "5432", "pg.example", "[::1]", "[", "]", ",", ":"),
        *("@", "/", "?", "&", "=", "#", "%", "%20", "%23", "%00", "%e2%82%ac", "%ff", "'", '"', "\\", "$", "+", ";"),
        *(" ", "\t", "\n", "\v", "\f", "\r", "\x1c", "\x85", "\xa0", "€", "a", "Z"),
    ]
)
TEXT = st.one_of(
    st.lists(PIECES, max_size=24).map("".join),
    st.lists(PIECES, max_size=16).map(lambda pieces: "postgresql://" + "".join(pieces)),
    st.builds(
        lambda pairs: " ".join(f"{name}={value}" for name, value in pairs),
        st.lists(st.tuples(st.sampled_from(sorted(KEYWORDS)), st.lists(PIECES, max_size=6).map("".join)), max_size=5),
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60),
)


def libpq(dsn: str) -> dict[str, str] | None:
    """What libpq makes of it, None when it refuses it."""
    try:
        return {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    except (psycopg.ProgrammingError, UnicodeDecodeError):
        return None


def ours(dsn: str) -> dict[str, str] | None:
    try:
        return parse(dsn)
    except DsnError:
        return None


@given(TEXT)
def test_any_string_is_read_as_libpq_reads_it(dsn):
    assert ours(dsn) == libpq(dsn)


def test_libpq_knows_no_other_keyword():
    assert {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} == KEYWORDS


PASSWORDS = ["let me in", "a#b", "pa$$word", "[x", "x]y", "a'b", 'a"b', "a\\b", "ü€", "a%b", "a:b/c?d=e&f", " both "]


@given(
    st.one_of(st.sampled_from(PASSWORDS), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
)
def test_any_password_arrives_in_either_form(password):
    quoted = "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"
    encoded = "".join(f"%{byte:02X}" for byte in password.encode())
    for dsn in (
        f"host=pg.example port=6432 user=reader password={quoted} dbname=clicks sslmode=verify-full",
        f"postgresql://reader:{encoded}@pg.example:6432/clicks?sslmode=verify-full",
    ):
        assert address_of(dsn) == Address("pg.example", 6432, "reader", password, "clicks", "verify-full")


@pytest.mark.parametrize(
    ("dsn", "host", "port", "database", "sslmode"),
    [
        ("postgresql://u:p#w[d@pg/db", "pg", 5432, "db", "prefer"),
        ("postgresql://u@pg-0:5433,pg-1:5434/db?target_session_attrs=read-write", "pg-0", 5433, "db", "prefer"),
        ("host=pg-0,pg-1 port=6432 user=u", "pg-0", 6432, "u", "prefer"),
        ("host=pg-0,pg-1 port=,6432 user=u sslmode=allow", "pg-0", 5432, "u", "allow"),
        ("host=pg hostaddr=10.0.0.1 user=u", "pg", 5432, "u", "prefer"),
        ("hostaddr=10.0.0.1,10.0.0.2 port=1,2 user=u", "10.0.0.1", 1, "u", "prefer"),
        ("postgres://u@[2001:db8::1]:6000?dbname=x&ssl=true", "2001:db8::1", 6000, "x", "require"),
    ],
)
def test_the_first_server_counts_with_libpqs_defaults(dsn, host, port, database, sslmode):
    assert address_of(dsn) == Address(host, port, "u", "p#w[d" if "p#w" in dsn else "", database, sslmode)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgres//reader:hush@db/x",
        "host=db user=u password='hush",
        "hush",
        "postgresql://u:hush@[db/x",
        "postgresql://u:hush@db:hush/x",
        "postgresql://u:hush@db:99999/x",
        "postgresql://u:hush@db/x?hush=1",
        "postgresql://u:hu%sh@db/x",
        "postgresql://u:hu sh@db/x",
        "postgresql://:hush@db/x",
        "postgresql://u:hush@/x",
        "host=/var/hush user=u",
        "host=a,b port=1,2,3 user=u password=hush",
        "host=a,b hostaddr=1.1.1.1 user=u password=hush",
        "host=db user=u sslmode=hush",
        "host=db user=hush\0hush",
        "",
    ],
)
def test_what_grafana_could_not_use_is_refused_without_its_characters(dsn):
    with pytest.raises(DsnError) as refused:
        address_of(dsn)
    assert "hush" not in str(refused.value)
