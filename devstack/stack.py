"""The three servers together: up, down, and everything in between.

They start at once, and nothing is left over when one of them fails.
"""

from __future__ import annotations

import concurrent.futures
import shutil
from typing import TYPE_CHECKING, TypeVar

from devstack.elasticsearch import Elasticsearch
from devstack.errors import DevstackError, ExternalServerError, InterruptedUpError, StateError
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.settings import SERVICES, Settings
from devstack.workspace import Progress, Workspace, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from devstack.security import Security
    from devstack.server import Server
    from devstack.status import Status

S = TypeVar("S", bound="Server")


class Stack:
    """The servers of one home. `Stack.up()` starts them; `Stack(settings)` only looks at what is there."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        services: Iterable[str] = SERVICES,
        progress: Progress | None = None,
    ) -> None:
        """Know the servers named in `services`; nothing is started."""
        self.settings = settings or Settings.from_environment()
        self._workspace = Workspace(self.settings, progress or silent)
        wanted = tuple(services)
        if unknown := sorted(set(wanted) - set(SERVICES)):
            message = f"unknown service {', '.join(unknown)}; there are {', '.join(SERVICES)}"
            raise DevstackError(message)
        kinds: dict[str, type[Server]] = {kind.name: kind for kind in (Kafka, Elasticsearch, Postgres)}
        self._servers = {name: kinds[name](self._workspace) for name in SERVICES if name in wanted}

    @classmethod
    def up(
        cls,
        home: Path | str | None = None,
        services: Iterable[str] = SERVICES,
        progress: Progress | None = None,
        *,
        wipe: bool = False,
        secure: bool = False,
        settings: Settings | None = None,
    ) -> Self:
        """Start what does not run yet, wait until all of it is healthy, and return the stack.

        `home` is its folder (default: DEVSTACK_HOME or `.devstack`); `wipe` begins with empty servers; `secure` gives
        Kafka and PostgreSQL TLS and passwords (`stack.security`), which a home keeps until all of it is wiped;
        `progress` is called as `progress(service, message)`. Raises DevstackError; then nothing that it started is
        left.
        """
        stack = cls(settings or Settings.from_environment(home=home), services=services, progress=progress)
        stack.start(wipe=wipe, secure=secure)
        return stack

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers of this stack."""
        return tuple(self._servers.values())

    @property
    def kafka(self) -> Kafka:
        """The broker: `.bootstrap_servers`, `.stop()`, `.start()`, `.kill()`."""
        return self._get(Kafka)

    @property
    def elasticsearch(self) -> Elasticsearch:
        """The search node: `.url`, `.stop()`, `.start()`, `.kill()`."""
        return self._get(Elasticsearch)

    @property
    def postgres(self) -> Postgres:
        """The database: `.dsn`, `.stop()`, `.start()`, `.kill()`."""
        return self._get(Postgres)

    @property
    def security(self) -> Security:
        """The certificates and passwords of a secure home. Raises StateError for a plain one."""
        security = self._workspace.security
        if security is None:
            message = f"the servers of {self.settings.home} are plain: `devstack up --secure` makes others"
            raise StateError(message)
        return security

    def start(self, *, wipe: bool = False, secure: bool = False) -> None:
        with self._workspace.exclusive("devstack"):
            if wipe:
                self._end_all(wipe=True)
            if secure:
                self._make_secure()
            started: list[Server] = []
            try:
                self._at_once(lambda server: started.append(server) if server.ensure_running(may_move=True) else None)
            except BaseException:
                for server in started:
                    server.end()
                raise

    def down(self, *, wipe: bool = False) -> None:
        """Stop the servers of this stack that this home started; `wipe` deletes their data as well."""
        if self.settings.home.exists():
            with self._workspace.exclusive("devstack"):
                self._end_all(wipe=wipe)

    def status(self) -> list[Status]:
        """Look at every server, without waiting for other commands."""
        with concurrent.futures.ThreadPoolExecutor(len(SERVICES)) as pool:
            return list(pool.map(lambda server: server.status(), self.servers))

    def __enter__(self) -> Self:
        """Return the stack itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it; the data stays."""
        self.down()

    def _get(self, kind: type[S]) -> S:
        server = self._servers.get(kind.name)
        if not isinstance(server, kind):
            message = f"{kind.name} is not part of this stack, only {', '.join(self._servers)}"
            raise StateError(message)
        return server

    def _make_secure(self) -> None:
        for server in self.servers:
            if server.external is not None and server.name != Elasticsearch.name:
                message = f"{server.name} is external: whether it is secure is not ours to say"
                raise ExternalServerError(message)
        self._workspace.make_secure()

    def _end_all(self, *, wipe: bool) -> None:
        self._at_once(lambda server: server.end())
        if wipe:
            for server in self.servers:
                server.wipe()
            if set(self._servers) == set(SERVICES):
                shutil.rmtree(self.settings.home / "logs", ignore_errors=True)
            if self._workspace.security and not any(self._workspace.state.read(name) for name in SERVICES):
                shutil.rmtree(self._workspace.security.folder)

    def _at_once(self, action: Callable[[Server], object]) -> None:
        """Do it to all servers in parallel; the first failure, or Ctrl-C, cancels the others."""
        self._workspace.cancelled.clear()
        with concurrent.futures.ThreadPoolExecutor(len(SERVICES)) as pool:
            futures = [pool.submit(action, server) for server in self.servers]
            try:
                concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
            finally:
                if any(not future.done() or future.exception() for future in futures):
                    self._workspace.cancelled.set()
        errors = [error for future in futures if (error := future.exception())]
        causes = [error for error in errors if not isinstance(error, InterruptedUpError)] or errors
        if len(causes) > 1 and all(isinstance(error, DevstackError) for error in causes):
            raise DevstackError("\n".join(str(error) for error in causes)) from causes[0]
        if causes:
            raise causes[0]
