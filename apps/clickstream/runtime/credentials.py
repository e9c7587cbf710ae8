"""Certificates and passwords from mounted files, read once at the start of a process.

A file that is missing, empty or no certificate is reported at once and by its field, instead of by whichever client
library meets it first. A message names fields and paths, never a content. The files are deliberately not watched:
whoever changes a Secret rolls the processes that read it.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from clickstream.contracts.pipeline import Kafka
from clickstream.contracts.security import MECHANISMS
from clickstream.runtime.files import UnreadableFileError, read_file
from clickstream.runtime.settings import SettingsError, read_secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to talk to Kafka.

    `protocol` and `mechanism` by Kafka's names; `context` is None where nothing is encrypted.
    """

    protocol: str
    mechanism: str | None
    username: str | None
    password: str | None = field(repr=False)
    context: ssl.SSLContext | None = field(repr=False)


def read_credentials(kafka: Kafka) -> Credentials:
    """What the document's `tls` and `authentication` name. Raises SettingsError."""
    context = None if kafka.tls is None else trust(kafka.tls.ca_file, "kafka.tls.caFile")
    who = kafka.authentication
    if who is None or who.type == "tls":
        if who is not None and context is not None:
            _present(context, str(who.certificate_file), str(who.key_file))
        return Credentials("PLAINTEXT" if context is None else "SSL", None, None, None, context)
    password = read_secret(str(who.password_file), "kafka.authentication.passwordFile")
    protocol = "SASL_PLAINTEXT" if context is None else "SASL_SSL"
    return Credentials(protocol, MECHANISMS[who.type], who.username, password, context)


def trust(ca_file: str | None, where: str) -> ssl.SSLContext:
    """A client's context that believes these authorities (None: the system's) and checks names.

    Raises SettingsError.
    """
    if ca_file is not None:
        _readable(ca_file, where)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        msg = f"{where}: {ca_file} holds no PEM certificate"
        raise SettingsError(msg) from error
    except OSError as error:
        msg = f"{where}: cannot read {ca_file}: {error.strerror}"
        raise SettingsError(msg) from error


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    for name, path in (("certificateFile", certificate), ("keyFile", key)):
        _readable(path, f"kafka.authentication.{name}")

    def no_passphrase() -> str:  # without it OpenSSL would ask the terminal
        msg = f"kafka.authentication.keyFile: {key} is encrypted; give a key without a passphrase"
        raise SettingsError(msg)

    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except ssl.SSLError as error:
        msg = (
            f"kafka.authentication: {certificate} and {key} are not a PEM certificate and its private key"
            f" ({error.reason or 'not PEM'})"
        )
        raise SettingsError(msg) from error


def _readable(path: str, where: str) -> None:
    """Look at the file before OpenSSL does, which would wait for a pipe and read a file of any size."""
    try:
        read_file(path)
    except UnreadableFileError as error:
        msg = f"{where}: {error}"
        raise SettingsError(msg) from error
