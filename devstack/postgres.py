"""PostgreSQL on loopback, with its durability on; without passwords, or in a secure home with TLS and one.

All settings are on the command line, so the data folder is as initdb made it, but for a secure home's certificate and
rules, which its user must be able to read. As root it runs as an unprivileged user with its data in a public place
(`postgres_install`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from devstack import cache
from devstack.artifacts import postgres_with_tls
from devstack.errors import StartError
from devstack.health import check_postgres
from devstack.launch import Launch
from devstack.ports import LOOPBACK
from devstack.postgres_install import (
    CLEAN_ENVIRONMENT,
    Installation,
    find_installation,
    own_folder,
    public_folder,
)
from devstack.process import ProcessId
from devstack.security import write_private
from devstack.server import Server

if TYPE_CHECKING:
    import pwd
    from collections.abc import Mapping

    from devstack.security import Security

SETTINGS = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
CERTIFICATE, KEY, RULES = "devstack.crt", "devstack.key", "devstack_hba.conf"
SOCKET_PATH_LIMIT = 103  # macOS; Linux has 107
LONGEST_SOCKET_NAME = len("/.s.PGSQL.65535")
SHORT_PARENT = Path("/tmp")  # noqa: S108 - guarded by own_folder
# The builtin locale sorts by code point and is the same on every machine.
LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
INITDB = ("-U", "postgres", "-E", "UTF8", *LOCALE, "--no-instructions", "--no-sync")


class Postgres(Server):
    """The server; `dsn` is what clients are given."""

    name: ClassVar[str] = "postgres"
    port_names: ClassVar[tuple[str, ...]] = ("postgres",)
    polite: ClassVar[signal.Signals] = signal.SIGINT  # "fast": open transactions are rolled back

    @property
    def dsn(self) -> str:
        """The connection URL of the superuser, for clients."""
        return self.address

    def local_address(self, chosen: Mapping[str, int]) -> str:
        """Return the DSN for this port."""
        where = f"{LOOPBACK}:{chosen['postgres']}/postgres"
        security = self._workspace.security
        if security is None:
            return f"postgresql://postgres@{where}"
        trust = f"sslmode=verify-full&sslrootcert={quote(str(security.ca), safe='/')}"
        return f"postgresql://postgres:{security.password(self.name)}@{where}?{trust}"

    def check(self, address: str, timeout: float) -> None:
        check_postgres(address, timeout)

    def is_transient(self, log: str) -> bool:
        """After a kill the children of the old server may hold its memory for another moment."""
        return "pre-existing shared memory block" in log

    def data_folder(self) -> Path:
        """Return the data folder of this home; for root it lies where an unprivileged user can reach it."""
        if os.geteuid() != 0:
            return self.folder / "data"
        return public_folder() / f"data-{self._key()}"

    def prepare(self, chosen: Mapping[str, int]) -> Launch:
        """Find the programs, initialise the data folder if it is new."""
        installation = self._installation()
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.data_folder()
        if installation.user is not None and self._workspace.state.read(self.name) is None:
            # The home was deleted by hand; what it left behind must not come back to life.
            shutil.rmtree(data, ignore_errors=True)
        if not data.exists():
            self._report("initialising its data folder")
            self._initialise(installation, data)
        self._remove_stale_locks(data)
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        options += [f"--listen_addresses={LOOPBACK}", f"--port={chosen['postgres']}"]
        options += [f"--unix_socket_directories={self.socket_folder()}"]
        user = installation.user
        if (security := self._workspace.security) is not None:
            options += self._secure(security, data, user)
        return Launch(
            [installation.bin / "postgres", "-D", data, *options],
            folder=data,
            environment=CLEAN_ENVIRONMENT,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
        )

    def _installation(self) -> Installation:
        if self._workspace.security is None:
            return find_installation()
        cache_root = self._workspace.settings.cache
        return find_installation(postgres_with_tls(cache_root, self._report, self._workspace.cancelled))

    def _secure(self, security: Security, data: Path, user: pwd.struct_passwd | None) -> list[str]:
        """Put certificate and rules beside the data, where PostgreSQL's user may read them; return the options."""
        for name, content in (
            (CERTIFICATE, security.certificate("server").read_bytes()),
            (KEY, security.key("server").read_bytes()),
            (RULES, b"hostssl all all 127.0.0.1/32 scram-sha-256\n"),
        ):
            write_private(data / name, content)
            if user is not None:
                os.chown(data / name, user.pw_uid, user.pw_gid)
        return ["--ssl=on", f"--ssl_cert_file={CERTIFICATE}", f"--ssl_key_file={KEY}", f"--hba_file={data / RULES}"]

    def socket_folder(self) -> Path:
        """Return the data folder if its path is short enough for a Unix socket, else a private one that is."""
        data = self.data_folder()
        if len(os.fsencode(data)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT:
            return data
        return own_folder(SHORT_PARENT / f"clickstream-devstack-{os.geteuid()}-{self._key()}", 0o700)

    def wipe(self) -> None:
        """Delete the data, and the socket folder if there is one besides."""
        if self.external is None:
            shutil.rmtree(self.socket_folder(), ignore_errors=True)
        super().wipe()

    def _remove_stale_locks(self, data: Path) -> None:
        """Remove the lock files of a server that is gone, but whose pid still counts for PostgreSQL: a zombie's.

        Children of it that are still alive are noticed all the same, by the shared memory of this data folder.
        """
        for lock in (data / "postmaster.pid", *self.socket_folder().glob(".s.PGSQL.*.lock")):
            lines = lock.read_text(encoding="utf-8").splitlines() if lock.exists() else []
            if lines and lines[0].isdigit() and ProcessId.of(int(lines[0])) is None:
                lock.unlink()

    def _key(self) -> str:
        return cache.digest(os.fsencode(self._workspace.settings.home))

    def _initialise(self, installation: Installation, data: Path) -> None:
        """Run initdb in a folder beside `data` and rename it, so that an interrupted initdb leaves nothing."""
        draft = Path(tempfile.mkdtemp(prefix=".initdb-", dir=data.parent))
        secret = draft.with_suffix(".password")
        user = installation.user
        try:
            access = ["-A", "trust"]
            if (security := self._workspace.security) is not None:
                write_private(secret, security.password(self.name).encode())
                access = ["-A", "scram-sha-256", f"--pwfile={secret}"]
            for each in (draft, secret):
                if user is not None and each.exists():
                    os.chown(each, user.pw_uid, user.pw_gid)
            done = subprocess.run(  # noqa: S603
                [installation.bin / "initdb", "-D", draft, *INITDB, *access],
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
                cwd="/",
                env=CLEAN_ENVIRONMENT,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                message = f"PostgreSQL's data folder could not be initialised:\n{done.stdout}{done.stderr}"
                raise StartError(message)
            draft.rename(data)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            secret.unlink(missing_ok=True)
