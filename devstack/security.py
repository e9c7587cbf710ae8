"""The certificates and passwords of a secure home, made once and kept in its folder `security`.

The folder's existence makes a home secure, so that any later command finds its servers as they are. The authority's own
key is not kept: nobody needs it afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import MissingToolError
from devstack.ports import LOOPBACK

USER = "clickstream"
"""Kafka's user, for SCRAM and PLAIN, and the name in the client certificate."""


@dataclass(frozen=True, slots=True)
class Security:
    """The files of one folder; `client` is who talks to Kafka by certificate, `server` are the servers of the home."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The authority that clients and servers trust (PEM)."""
        return self.folder / "ca.crt"

    def certificate(self, who: str) -> Path:
        """PEM certificate of `client` or `server`."""
        return self.folder / f"{who}.crt"

    def key(self, who: str) -> Path:
        """Its private key: PEM, PKCS #8, without a passphrase."""
        return self.folder / f"{who}.key"

    @property
    def server_pem(self) -> Path:
        """Key and certificate of the servers in one file, as Kafka wants them."""
        return self.folder / "server.pem"

    def password_file(self, service: str) -> Path:
        """The file that holds the password of `kafka` or `postgres`, and nothing else."""
        return self.folder / f"{service}-password"

    def password(self, service: str) -> str:
        return self.password_file(service).read_text(encoding="ascii")

    def exists(self) -> bool:
        """Whether the home is secure."""
        return self.folder.is_dir()

    def create(self) -> None:
        """Make all files, whole or not at all. Raises MissingToolError."""
        try:
            import trustme  # noqa: PLC0415 - only secure homes need it
        except ImportError as error:
            message = "the Python package trustme, which makes certificates, is not installed in this environment"
            raise MissingToolError(message) from error
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Security(Path(tempfile.mkdtemp(prefix=".security-", dir=self.folder.parent)))
        try:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(draft.ca)
            for who, issued in (
                ("server", authority.issue_cert(LOOPBACK, "localhost", common_name="devstack")),
                ("client", authority.issue_cert(USER, common_name=USER)),
            ):
                key = _pkcs8(issued.private_key_pem.bytes())
                chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
                draft.certificate(who).write_bytes(chain)
                write_private(draft.key(who), key)
                if who == "server":
                    write_private(draft.server_pem, key + chain)
            for service in ("kafka", "postgres"):
                write_private(draft.password_file(service), secrets.token_urlsafe(18).encode())
            draft.folder.chmod(0o755)
            draft.folder.rename(self.folder)
        finally:
            shutil.rmtree(draft.folder, ignore_errors=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can ever read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _pkcs8(key: bytes) -> bytes:
    """The same private key in the only PEM form that Java reads."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - trustme's own library
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
