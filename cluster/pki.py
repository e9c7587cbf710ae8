"""Certificates and kubeconfigs of one cluster.

Every part of a cluster identifies itself by a certificate, as in production, so that RBAC is the real one. Certificates
are not renewed: they outlive any test run by years.
"""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cluster.build import run

EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
USES = "keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=clientAuth,serverAuth\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate speaks for: an openssl subject, and the names and addresses that a server has."""

    subject: str
    names: tuple[str, ...] = ()
    authority: str = "ca"


@dataclass(frozen=True, slots=True)
class Pki:
    """A folder with NAME.key and NAME.crt for each identity and authority, and the service accounts' key sa.key."""

    folder: Path

    def make(self, identities: dict[str, Identity]) -> None:
        """Make all of them, side by side."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.folder / "sa.key")
        for authority in {"ca"} | {identity.authority for identity in identities.values()}:
            self._authority(authority)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._issue, identities, identities.values()))

    def certificate(self, name: str) -> Path:
        """Return the file of a certificate."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Return the file of a private key."""
        return self.folder / f"{name}.key"

    def kubeconfig(self, path: Path, server: str, *, client: str | None = None, token: str | None = None) -> Path:
        """Write a kubeconfig for the client certificate's identity, or for a token."""
        user: dict[str, str] = {"token": token} if token else {}
        if client:
            user = {
                "client-certificate-data": _base64(self.certificate(client)),
                "client-key-data": _base64(self.key(client)),
            }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "e2e",
                    "cluster": {"server": server, "certificate-authority-data": _base64(self.certificate("ca"))},
                }
            ],
            "users": [{"name": "e2e", "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
            "current-context": "e2e",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def _authority(self, name: str) -> None:
        files = ("-keyout", self.key(name), "-out", self.certificate(name))
        uses = ("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")
        _openssl("req", "-x509", *EC_KEY, "-days", "3650", "-subj", f"/CN={name}", *files, *uses)

    def _issue(self, name: str, identity: Identity) -> None:
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        names = f"subjectAltName={','.join(identity.names)}\n" if identity.names else ""
        extensions.write_text(USES + names, encoding="ascii")
        _openssl("req", "-new", *EC_KEY, "-subj", identity.subject, "-keyout", self.key(name), "-out", request)
        # A random serial, since several are signed at once.
        serial = f"0x{_openssl('rand', '-hex', '8').strip()}"
        signer = ("-CA", self.certificate(identity.authority), "-CAkey", self.key(identity.authority))
        output = ("-set_serial", serial, "-days", "3650", "-extfile", extensions, "-out", self.certificate(name))
        _openssl("x509", "-req", "-in", request, *signer, *output)


def _openssl(*arguments: str | Path) -> str:
    return run(["openssl", *arguments])


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
