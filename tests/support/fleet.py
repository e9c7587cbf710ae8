"""One pipeline run by processes of several releases: a generation is all four of them, and generations may overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.processes import Process, clickstream
from support.releases import Release
from support.service import Service

SINKS = ("elasticsearch", "postgres")


@dataclass(frozen=True)
class Generation:
    """The processes of one release, ready when made."""

    release: Release
    api: Process
    api_port: int
    enricher: Process
    sinks: tuple[Process, ...]

    @property
    def all(self) -> tuple[Process, ...]:
        return (self.api, self.enricher, *self.sinks)


class Fleet:
    """Starts and ends generations behind one address, as rolling updates do.

    `documents`: the pipeline document that each release's processes are given, by the release's name.
    """

    def __init__(self, documents: Mapping[str, Path], folder: Path) -> None:
        self._documents = documents
        self._folder = folder
        self._generations = 0
        self.started: list[Process] = []
        self.service = Service()

    def set_up(self, release: Release, what: str) -> tuple[int, str]:
        """Exit status and errors of a release's `clickstream setup`."""
        done = release.run("setup", what, *self._options(release))
        return done.returncode, done.stderr

    def check(self, release: Release) -> tuple[int, str]:
        """Exit status and output of `clickstream check`, of sessions at rest."""
        done = release.run("check", *self._options(release), "--settle", "0")
        return done.returncode, done.stdout + done.stderr

    def roll(self, release: Release, before: Generation | None = None) -> Generation:
        """Start a generation beside the previous one, if any, whose API then receives nothing new."""
        self._generations += 1
        folder = self._folder / f"{self._generations}-{release.name}"
        folder.mkdir()
        env = release.env | {"CLICKSTREAM_LOG_FORMAT": "text", "CLICKSTREAM_DRAIN_SECONDS": "1"}
        ops = ["--ops-port-file", "{ops_port_file}"]

        def start(name: str, *arguments: str) -> Process:
            self.started.append(Process(name, clickstream(*arguments, *self._options(release)), folder, env))
            return self.started[-1]

        http = ("--host", "127.0.0.1", "--port", "0", "--port-file", "{port_file}")
        api = start("tracking-api", "tracking-api", *http)
        api.wait_ready()  # on the port for clicks, where the operator's probes ask images of either release
        port = api.port
        self.service.backends = [port] if before is None else [before.api_port, port]
        others = [start(f"sink-{sink}", "sink", sink, *ops) for sink in SINKS]
        enricher = start("enricher", "enricher", *ops)
        for process in (*others, enricher):
            process.wait_ready()
        return Generation(release, api, port, enricher, tuple(others))

    def retire(self, generation: Generation, successor: Generation) -> None:
        """End a generation in order, while the next one continues."""
        self.service.backends = [successor.api_port]
        for process in generation.all:
            process.ask_to_stop()
        for process in generation.all:
            status = process.popen.wait(30)  # one signal only: a second one would find no handler any more
            assert status == 0, f"{process.name} of the {generation.release.name} release ended with {status}"

    def close(self) -> None:
        self.service.close()
        for process in self.started:
            process.kill()

    def _options(self, release: Release) -> list[str]:
        return ["--pipeline", str(self._documents[release.name])]
