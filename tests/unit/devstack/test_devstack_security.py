"""Secure homes: what is made for them, who may read it, and when a home may become one."""

from __future__ import annotations

import ssl
import stat
from typing import TYPE_CHECKING

import pytest

from devstack import Settings, Stack
from devstack.errors import ExternalServerError, StateError
from devstack.kafka import server_properties
from devstack.security import Security
from devstack.state import Record, StateFile

if TYPE_CHECKING:
    from pathlib import Path

PORTS = {"broker": 1, "controller": 2, "certificates": 3}


@pytest.fixture
def security(tmp_path: Path) -> Security:
    made = Security(tmp_path / "home" / "security")
    made.create()
    return made


def test_certificates_fit_their_keys_and_authority_and_secrets_are_their_owners(security: Security) -> None:
    for who in ("client", "server"):
        context = ssl.create_default_context(cafile=str(security.ca))
        context.load_cert_chain(security.certificate(who), security.key(who))
        assert security.key(who).read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----"), "PKCS #8, for Java"
    private = [security.key("client"), security.key("server"), security.server_pem]
    private += [security.password_file(service) for service in ("kafka", "postgres")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert security.password("kafka") != security.password("postgres")
    assert [path.name for path in security.folder.parent.iterdir()] == ["security"], "no draft is left"


def test_a_secure_broker_has_no_plain_listener_for_clients(security: Security, tmp_path: Path) -> None:
    lines = server_properties(PORTS, tmp_path, security, {"auto.create.topics.enable": "true"}).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert "PASSWORDS:SASL_SSL,CERTIFICATES:SSL" in found["listener.security.protocol.map"]
    assert found["advertised.listeners"] == "PASSWORDS://127.0.0.1:1,CERTIFICATES://127.0.0.1:3"
    assert found["listener.name.certificates.ssl.client.auth"] == "required"
    assert found["auto.create.topics.enable"] == "true"
    plain = server_properties(PORTS, tmp_path)
    assert "listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2" in plain
    assert "ssl" not in plain


def test_a_home_with_plain_servers_does_not_become_secure_by_itself(tmp_path: Path) -> None:
    settings = Settings.from_environment({}, home=tmp_path)
    StateFile(tmp_path).write("postgres", Record({"postgres": 1}, None, "postgresql://x"))
    with pytest.raises(StateError, match=r"postgres of .* was created without TLS; create it anew with --wipe"):
        Stack.up(services=("kafka",), secure=True, settings=settings)
    with pytest.raises(StateError, match="devstack up --secure"):
        _ = Stack(settings).security


@pytest.mark.parametrize("service", ["kafka", "postgres"])
def test_an_external_server_is_not_ours_to_secure(tmp_path: Path, service: str) -> None:
    settings = Settings.from_environment({f"DEVSTACK_{service.upper()}": "127.0.0.1:1"}, home=tmp_path)
    with pytest.raises(ExternalServerError, match=f"{service} is external"):
        Stack.up(services=(service,), secure=True, settings=settings)


def test_wiping_the_last_server_of_a_secure_home_makes_it_plain_again(security: Security) -> None:
    home = security.folder.parent
    state = StateFile(home)
    for service in ("kafka", "postgres"):
        state.write(service, Record({service: 1}, None, service))
    settings = Settings.from_environment({}, home=home)
    Stack(settings, services=("kafka",)).down(wipe=True)
    assert security.exists(), "PostgreSQL is still there"
    Stack(settings, services=("postgres",)).down(wipe=True)
    assert not security.exists()
