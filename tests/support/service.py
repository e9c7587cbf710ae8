"""One address in front of several servers, as a Service of Kubernetes is: each connection goes to the next of them."""

from __future__ import annotations

import contextlib
import socket
import threading


class Service:
    """`backends` are ports on this machine; a list that is assigned counts for connections from then on."""

    def __init__(self) -> None:
        self.backends: list[int] = []
        self._turn = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        backends = self.backends
        for _ in backends:
            self._turn += 1
            try:
                server = socket.create_connection(("127.0.0.1", backends[self._turn % len(backends)]), timeout=5)
            except OSError:
                continue
            server.settimeout(None)
            with client, server:
                back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join()
            return
        client.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until one of them ends; its end is the other's."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
