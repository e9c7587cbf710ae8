"""Kafka, Elasticsearch and PostgreSQL of a run, each behind a proxy of its own for every part that talks to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from devstack import Settings, Stack
from devstack.ports import free_ports
from faults.proxy import Proxies, Proxy

PARTS: Final = ("tracking-api", "enricher", "sink-elasticsearch", "sink-postgres")
ELASTICSEARCH: Final = "sink-elasticsearch→elasticsearch"
POSTGRES: Final = "sink-postgres→postgres"
CLIENTS: Final = "clients→tracking-api"


class Links:
    """The proxies of one run, by name, and the addresses behind them."""

    def __init__(self, proxies: Proxies, kafka: dict[str, int]) -> None:
        self._proxies = proxies
        self.by_name = {f"{part}→kafka": self.open(f"{part}→kafka", port) for part, port in kafka.items()}

    def open(self, name: str, port: int) -> Proxy:
        """A plain proxy for a port."""
        return self._proxies.open(name, lambda: port)

    def to(self, name: str, address: str) -> str:
        """The address (a URL) of a server through its link, which is opened at the first call."""
        parts = urlsplit(address)
        user = parts.netloc.rpartition("@")[0]
        if name not in self.by_name:
            self.by_name[name] = self.open(name, parts.port or 0)
        place = self.by_name[name].address
        return urlunsplit(parts._replace(netloc=f"{user}@{place}" if user else place))

    def restore(self) -> None:
        """Restore all links."""
        for link in self.by_name.values():
            link.restore()


class Servers:
    """Started when made; `close` ends them. `links` has those of each concurrent run."""

    def __init__(self, home: Path, runs: int = 1) -> None:
        self.proxies = Proxies()
        ports = free_ports(len(PARTS) * runs)
        kafka = [dict(zip(PARTS, ports[run * len(PARTS) :], strict=False)) for run in range(runs)]
        self.links = [Links(self.proxies, each) for each in kafka]
        listeners = {
            f"{part.replace('-', '').upper()}{run}": (port, self.links[run].by_name[f"{part}→kafka"].address)
            for run, each in enumerate(kafka)
            for part, port in each.items()
        }
        try:
            settings = replace(Settings.from_environment({}, home=home), kafka_listeners=listeners)
            self.stack = Stack.up(settings=settings, wipe=True)
        except BaseException:
            self.proxies.close()
            raise

    def close(self) -> None:
        """End everything, and delete the data."""
        self.proxies.close()
        self.stack.down(wipe=True)
