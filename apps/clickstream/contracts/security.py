"""The security part of a pipeline document's `kafka` member: what is encrypted, and who the processes say they are.

It names files and holds no secret, so that the document can lie in a ConfigMap. Other mechanisms than TLS, SCRAM, PLAIN
and client certificates are deliberately absent: a `clientConfigFile`, which could configure them, does not reach the
enricher's framework.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

Path = Annotated[str, msgspec.Meta(min_length=1)]

MECHANISMS: Final = {"scram-sha-512": "SCRAM-SHA-512", "scram-sha-256": "SCRAM-SHA-256", "plain": "PLAIN"}
"""SASL's name of each type that has a user name and a password."""


class Tls(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Encrypted connections. `caFile`: PEM of the certificate authorities to believe; without it, the system's."""

    ca_file: Path | None = None


class Authentication(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who the processes are: `username` and `passwordFile`, or for type `tls` the PEM files of a client certificate."""

    type: Literal["scram-sha-512", "scram-sha-256", "plain", "tls"]
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    password_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


def check_security(tls: Tls | None, authentication: Authentication | None) -> None:
    """What types cannot say. Raises ValueError that names the field."""
    if authentication is None:
        return
    kind = authentication.type
    if kind == "tls" and tls is None:
        msg = (
            "kafka.authentication.type: tls is a client certificate, which needs kafka.tls ({} for the system's "
            "authorities)"
        )
        raise ValueError(msg)
    password = {"username": authentication.username, "passwordFile": authentication.password_file}
    certificate = {"certificateFile": authentication.certificate_file, "keyFile": authentication.key_file}
    needed, others = (certificate, password) if kind == "tls" else (password, certificate)
    for name, value in needed.items():
        if value is None:
            msg = f"kafka.authentication.{name}: type {kind} needs it"
            raise ValueError(msg)
    for name, value in others.items():
        if value is not None:
            msg = f"kafka.authentication.{name}: does not belong to type {kind}"
            raise ValueError(msg)
