"""Sends messages of every kind by a Python library of Segment or RudderStack: LIBRARY HOST WRITE_KEY ROUNDS.

It says `half` when half of them are handed over and goes on when it is answered; its exit status is 0 when the library
has given up none.
"""

from __future__ import annotations

import importlib
import sys

name, host, key, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
library = importlib.import_module(f"{name}.analytics")
given_up: list[object] = []
client = library.Client(
    key,
    host=host,
    gzip=True,
    upload_size=7,
    upload_interval=0.05,
    max_retries=60,
    on_error=lambda error, batch: given_up.append((error, batch)),
)

for number in range(rounds):
    if number == rounds // 2:
        print("half", flush=True)
        sys.stdin.readline()
    user, about = f"user-{number % 5}", {"ip": "198.51.100.7", "page": {"url": f"https://shop.example/p/{number}"}}

    def id_of(kind: str, number: int = number) -> str:
        return f"{name}-{kind}-{number}"

    client.track(user, "Order Completed", {"total": number, "products": [{"sku": "x"}]}, about,
                 message_id=id_of("track"))  # fmt: skip
    client.page(user, "docs", "Index", {"url": f"https://shop.example/p/{number}"}, message_id=id_of("page"))
    client.screen(user, "app", "Cart", message_id=id_of("screen"), anonymous_id="visitor")
    client.identify(user, {"plan": "pro"}, message_id=id_of("identify"))
    client.group(user, "group-1", {"seats": number}, message_id=id_of("group"))
    client.alias("visitor", user, message_id=id_of("alias"))
print("all", flush=True)
client.flush()
client.join()
sys.exit(str(given_up) if given_up else 0)
