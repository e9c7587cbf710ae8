"""The clients: simulated visitors in a process of their own, with their ledger; what they send can be made again.

The traffic is a function of seed and begin, so that the check knows each event's content, and clicks that were accepted
long ago can be sent again.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from clickstream.simulator.ledger import State, read_ledger
from clickstream.simulator.shop import Shop, load_products
from clickstream.simulator.traffic import Mix, Outgoing, traffic
from demo.document import SIMULATED, write_key
from demo.processes import CLICKSTREAM, PRODUCTS
from devstack.child import Child
from faults.errors import HarnessError
from faults.parts import wait_until
from faults.world import World

_ORIGIN: Final = "https://shop.example"
_BATCH: Final = 100


class Crowd:
    """Sends from construction until `finish`."""

    def __init__(self, world: World) -> None:
        size = world.settings.size
        self._world = world
        self._key = write_key(world.pipeline, SIMULATED)
        self._mix = Mix(repeated=world.settings.repeated, time_scale=size.gap / 600)
        self.ledger = world.folder / "ledger"
        arguments = {
            "--url": world.url,
            "--key": self._key,
            "--rate": size.rate,
            "--batch": 25,
            "--single-share": 0.02,
            "--give-up-after": size.give_up,
            "--seed": world.settings.seed,
            "--time-scale": self._mix.time_scale,
            "--repeated": self._mix.repeated,
            "--origin": _ORIGIN,
            "--products": PRODUCTS,
            "--ledger": self.ledger,
        }
        command = [
            sys.executable,
            *CLICKSTREAM,
            "simulate",
            *(str(word) for pair in arguments.items() for word in pair),
        ]
        self._child = Child("visitors", command, world.folder / "visitors.log", pipe=True)
        if not wait_until(lambda: self.ledger.exists() and self.ledger.stat().st_size > 100, 30):
            msg = "the visitors send nothing"
            raise HarnessError(msg)
        self._began = time.monotonic()

    def wait_until_sent(self, clicks: int) -> None:
        """Wait until so many clicks were due. Raises ChildDiedError when the visitors end before that."""
        due_s = clicks / self._world.settings.size.rate
        while time.monotonic() - self._began < due_s:
            self._child.raise_if_dead()
            time.sleep(0.2)

    def finish(self) -> dict[str, Any]:
        """Send nothing new, wait for the answers, and return the simulator's summary. Raises HarnessError."""
        self._child.popen.terminate()
        out, _ = self._child.popen.communicate()
        lines = out.splitlines()
        if not lines:
            msg = f"the visitors ended with status {self._child.popen.returncode} and without a summary"
            raise HarnessError(msg)
        summary: dict[str, Any] = json.loads(lines[-1])
        return summary

    def end(self) -> None:
        self._child.kill()

    def sent(self) -> Iterator[Outgoing]:
        """Every sending from the beginning, made again; endless."""
        size = self._world.settings.size
        begin = next(iter(read_ledger(self.ledger).values())).due_ms
        shop = Shop(_ORIGIN, load_products(PRODUCTS))
        return traffic(self._world.settings.seed, shop, size.rate, begin, self._mix)

    def again(self, most: int, older_than_s: float) -> int:
        """Send accepted events again that were due at least so long before the newest.

        Returns how many were accepted again.
        """
        entries = read_ledger(self.ledger)
        newest = max(entry.due_ms for entry in entries.values())
        bodies: list[bytes] = []
        for event in self.sent():
            entry = entries.get(event.key)
            if entry is None or entry.due_ms > newest - older_than_s * 1_000 or len(bodies) >= most:
                break
            if not event.spoiled and not event.repeat and entry.state is State.ACCEPTED:
                bodies.append(event.body)
        return sum(self._post(bodies[start : start + _BATCH]) for start in range(0, len(bodies), _BATCH))

    def _post(self, bodies: list[bytes]) -> int:
        request = urllib.request.Request(  # noqa: S310 - loopback
            self._world.url + "/v1/events/batch",
            b'{"events":[' + b",".join(bodies) + b"]}",
            {"Content-Type": "application/json", "X-Write-Key": self._key},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                found: dict[str, Any] = msgspec.json.decode(answer.read())
        except (OSError, urllib.error.HTTPError):
            return 0
        return int(found.get("accepted", 0))
