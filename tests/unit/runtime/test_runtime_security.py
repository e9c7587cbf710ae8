"""TLS and authentication in the document, their files, and what they become for librdkafka and for Faust."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import faust
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from clickstream.contracts.pipeline import Kafka, dump_pipeline, parse_pipeline
from clickstream.enricher import main as enricher
from clickstream.enricher.worker import faust_credentials
from clickstream.runtime.credentials import read_credentials
from clickstream.runtime.kafka import client_config, producer_config
from clickstream.runtime.settings import SettingsError
from clickstream.setup.main import main as setup
from clickstream.sinks import main as sink
from clickstream.tracking_api import main as tracking_api

SCRAM = {"type": "scram-sha-512", "username": "u", "passwordFile": "/p"}
CERTIFICATE = {"type": "tls", "certificateFile": "/c", "keyFile": "/k"}


def document(**kafka: Any) -> bytes:
    members = {"namespace": "team", "name": "shop", "kafka": {"bootstrapServers": "kafka:9093"} | kafka}
    return json.dumps(members).encode()


def kafka(**members: Any) -> Kafka:
    return parse_pipeline(document(**members)).kafka


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Files as a Secret is mounted."""
    authority = trustme.CA()
    issued = authority.issue_cert("client")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    issued.private_key_pem.write_to_path(tmp_path / "user.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "user.crt")
    trustme.CA().issue_cert("other").private_key_pem.write_to_path(tmp_path / "other.key")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"passphrase")
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    )
    (tmp_path / "password").write_text("hush\n")
    (tmp_path / "empty").write_text("\n")
    return tmp_path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"authentication": {"type": "kerberos"}}, r"kafka\.authentication\.type"),
        ({"authentication": {"type": "plain"}}, r"kafka\.authentication\.username: type plain needs it"),
        (
            {"authentication": SCRAM | {"passwordFile": None}},
            r"kafka\.authentication\.passwordFile: type scram-sha-512",
        ),
        ({"authentication": SCRAM | {"username": ""}}, r"kafka\.authentication\.username"),
        ({"authentication": SCRAM | {"password": "hush"}}, r"unknown field kafka\.authentication\.password"),
        (
            {"authentication": SCRAM | {"keyFile": "/k"}},
            r"kafka\.authentication\.keyFile: does not belong to type scram",
        ),
        ({"authentication": CERTIFICATE}, r"kafka\.authentication\.type: tls .* needs kafka\.tls"),
        ({"tls": {}, "authentication": CERTIFICATE | {"keyFile": None}}, r"kafka\.authentication\.keyFile: type tls"),
        ({"tls": {}, "authentication": CERTIFICATE | {"username": "u"}}, r"kafka\.authentication\.username: does not"),
        ({"tls": {"caFile": ""}}, r"kafka\.tls\.caFile"),
        ({"tls": True}, r"kafka\.tls"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_fields_name(members: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        parse_pipeline(document(**members))
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "members", [{}, {"tls": {}}, {"authentication": SCRAM}, {"tls": {}, "authentication": CERTIFICATE}]
)
def test_a_document_is_written_as_it_was_read(members: dict[str, Any]) -> None:
    pipeline = parse_pipeline(document(**members))
    assert parse_pipeline(dump_pipeline(pipeline)) == pipeline
    assert (pipeline.kafka.tls is not None) == ("tls" in members)


def test_each_way_becomes_properties_of_librdkafka_and_arguments_of_aiokafka(files: Path) -> None:
    password, ca = str(files / "password"), str(files / "ca.crt")
    scram = {"type": "scram-sha-256", "username": "u", "passwordFile": password}
    mutual = {"type": "tls", "certificateFile": str(files / "user.crt"), "keyFile": str(files / "user.key")}
    cases: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]] = [
        ({}, {"security.protocol": "PLAINTEXT"}, {"security_protocol": "PLAINTEXT"}),
        ({"tls": {}}, {"security.protocol": "SSL"}, {"security_protocol": "SSL"}),
        (
            {"authentication": scram | {"type": "plain"}},
            {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanisms": "PLAIN",
                "sasl.username": "u",
                "sasl.password": "hush",
            },
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "u",
                "sasl_plain_password": "hush",
            },
        ),
        (
            {"tls": {"caFile": ca}, "authentication": scram},
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanisms": "SCRAM-SHA-256",
                "sasl.username": "u",
                "sasl.password": "hush",
                "ssl.ca.location": ca,
            },
            {
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": "SCRAM-SHA-256",
                "sasl_plain_username": "u",
                "sasl_plain_password": "hush",
            },
        ),
        (
            {"tls": {"caFile": ca}, "authentication": mutual},
            {
                "security.protocol": "SSL",
                "ssl.ca.location": ca,
                "ssl.certificate.location": mutual["certificateFile"],
                "ssl.key.location": mutual["keyFile"],
            },
            {"security_protocol": "SSL"},
        ),
    ]
    for members, properties, arguments in cases:
        spec = kafka(**members)
        config = client_config(spec, "test")
        assert {k: v for k, v in config.items() if k.startswith(("security.", "sasl.", "ssl."))} == properties
        handed = dict(credentials_to_aiokafka_auth(faust_credentials(spec)))
        context = handed.pop("ssl_context", None)
        assert handed == arguments
        assert (context is not None) == ("tls" in members)
        if isinstance(context, ssl.SSLContext):
            assert context.check_hostname
            assert context.verify_mode == ssl.CERT_REQUIRED
            assert ("caFile" in members["tls"]) == (len(context.get_ca_certs()) == 1)


def test_no_client_lets_a_broker_create_topics() -> None:
    assert client_config(kafka(), "test")["allow.auto.create.topics"] is False
    assert producer_config(kafka(), "test", idempotent=True)["allow.auto.create.topics"] is False


def test_nothing_prints_a_password(files: Path) -> None:
    spec = kafka(authentication=SCRAM | {"passwordFile": str(files / "password")})
    credentials = faust_credentials(spec)
    assert isinstance(credentials, faust.SASLCredentials)
    assert credentials.password == "hush"
    assert "hush" not in f"{credentials!r} {read_credentials(spec)!r} {spec!r}"


@pytest.mark.parametrize(
    ("tls", "authentication", "message"),
    [
        ({"caFile": "absent"}, None, r"kafka\.tls\.caFile: cannot read .*absent: No such file"),
        ({"caFile": "password"}, None, r"kafka\.tls\.caFile: .*password holds no PEM certificate"),
        ({}, ("absent", "user.key"), r"kafka\.authentication\.certificateFile: cannot read .*absent"),
        ({}, ("user.crt", "absent"), r"kafka\.authentication\.keyFile: cannot read .*absent"),
        ({}, ("user.crt", "other.key"), r"user\.crt and .*other\.key are not a PEM certificate and its private key"),
        ({}, ("password", "user.key"), r"are not a PEM certificate"),
        ({}, ("user.crt", "locked.key"), r"kafka\.authentication\.keyFile: .*locked\.key is encrypted"),
        (None, "absent", r"kafka\.authentication\.passwordFile: cannot read .*absent"),
        (None, "empty", r"kafka\.authentication\.passwordFile: .*empty is empty"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_told_by_its_field(
    tls: dict[str, str] | None, authentication: Any, message: str, files: Path
) -> None:
    members: dict[str, Any] = {}
    if tls is not None:
        members["tls"] = {name: str(files / file) for name, file in tls.items()}
    if isinstance(authentication, tuple):
        certificate, key = (str(files / name) for name in authentication)
        members["authentication"] = {"type": "tls", "certificateFile": certificate, "keyFile": key}
    elif authentication is not None:
        members["authentication"] = SCRAM | {"passwordFile": str(files / authentication)}
    with pytest.raises(SettingsError, match=message) as told:
        client_config(kafka(**members), "test")
    assert "hush" not in str(told.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sasl.password=hush", r"properties:2: sasl\.password belongs in kafka\.tls and kafka\.authentication"),
        ("security.protocol = SSL", r"properties:2: security\.protocol belongs"),
        ("hush", r"properties:2: expected key=value"),
        ("linger.ms = hush", r"properties:2: librdkafka has no such property, or refuses the value"),
        ("compression.type = hush", r"properties:2: librdkafka has no such"),
        ("hush = 9", r"properties:2: librdkafka has no such"),
        ("error_cb = hush", r"properties:2: librdkafka has no such"),
        ("= hush", r"properties:2: librdkafka has no such"),
    ],
)
def test_security_does_not_hide_in_the_file_of_further_properties(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "properties"
    path.write_text(f"# tuning\n{line}\n")
    with pytest.raises(SettingsError, match=message) as told:
        client_config(kafka(clientConfigFile=str(path)), "test")
    assert "hush" not in str(told.value)
    path.write_text("# tuning\nlinger.ms = 9\n")
    assert client_config(kafka(clientConfigFile=str(path)), "test")["linger.ms"] == "9"
    with pytest.raises(SettingsError, match=r"kafka\.clientConfigFile: cannot read .*absent"):
        client_config(kafka(clientConfigFile=str(tmp_path / "absent")), "test")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(enricher.main, []), (sink.main, ["postgres"]), (tracking_api.main, []), (setup, ["topics"])],
    ids=["enricher", "sink", "tracking-api", "setup"],
)
def test_every_process_ends_with_2_when_a_file_is_missing(
    command: Any, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pipeline.json"
    path.write_bytes(document(tls={"caFile": str(tmp_path / "absent.crt")}))
    assert command([*arguments, "--pipeline", str(path)]) == 2
    assert "kafka.tls.caFile: cannot read" in capsys.readouterr().err
