"""Ports are free, different, and noticed when taken."""

from __future__ import annotations

import socket

from devstack.ports import LOOPBACK, becomes_free, free_ports, is_free


def test_many_ports_at_once_are_all_different_and_free() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(is_free(port) for port in found)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert not becomes_free(port, seconds=0)
    assert becomes_free(port)
