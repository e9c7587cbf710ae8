"""However the process ends, what it acknowledged is in Kafka; and when it is asked to end, nobody is cut off."""

from __future__ import annotations

import http.client
import itertools
import signal
import socket
import threading
import time

import msgspec
import pytest

from support.waiting import until

HEADERS = {"X-Write-Key": "wk-web", "Content-Type": "application/json"}


class Visitors:
    """Threads that send batches of five over kept connections until they are told to stop or nobody answers."""

    def __init__(self, api, event, count: int = 8) -> None:
        self.accepted: set[str] = set()
        self.broken: list[str] = []
        self.stop = threading.Event()
        self._api, self._event = api, event
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _send(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._api.port, timeout=30)
        for batch in itertools.count():
            if self.stop.is_set():
                return
            ids = [f"{number}-{batch}-{n}" for n in range(5)]
            body = msgspec.json.encode({"events": [self._event(event_id=i, user_id=i) for i in ids]})
            try:
                connection.connect() if connection.sock is None else None
            except OSError:
                return  # refused: that is how a process that has ended looks
            try:
                connection.request("POST", "/v1/events/batch", body, HEADERS)
                response = connection.getresponse()
                if response.status == 202 and msgspec.json.decode(response.read())["accepted"] == 5:
                    self.accepted.update(ids)
                else:
                    self.broken.append(f"{response.status}")
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                connection.close()


def test_on_sigterm_it_turns_unready_first_and_every_request_gets_its_whole_answer(start_api, read, event):
    api = start_api(env={"CLICKSTREAM_DRAIN_SECONDS": "2"})
    visitors = Visitors(api, event)
    until(lambda: len(visitors.accepted) > 200)

    api.send(signal.SIGTERM)
    until(lambda: api.request("GET", "/readyz").status == 503, seconds=2)
    meanwhile = len(visitors.accepted)
    draining = api.post(event(event_id="while draining"))
    until(lambda: len(visitors.accepted) > meanwhile, seconds=2)  # unready, but serving on
    visitors.stop.set()  # as a load balancer does that has seen the process turn unready
    visitors.join()

    assert draining.status == 202
    assert draining.headers["connection"] == "close"
    assert visitors.broken == []
    assert api.stop() == 0
    stored = {click.event_id for click in read(api, "raw_clicks").clicks()}
    assert stored == visitors.accepted | {"while draining"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_was_acknowledged_is_in_kafka_however_suddenly_the_process_ends(start_api, read, event, number):
    api = start_api()
    visitors = Visitors(api, event)
    until(lambda: len(visitors.accepted) > 200)
    api.send(number)
    status = api.popen.wait(40)
    visitors.join()

    assert status == (-9 if number is signal.SIGKILL else 0)
    stored = {click.event_id for click in read(api, "raw_clicks").clicks()}
    assert stored >= visitors.accepted
    assert len(visitors.accepted) > 200


def test_a_request_whose_body_is_still_coming_is_finished(start_api, read, event):
    api = start_api()
    body = msgspec.json.encode(event(event_id="slow"))
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: wk-web\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:20])
        assert api.request("GET", "/healthz").status == 200  # by now the head has been read
        api.send(signal.SIGTERM)
        until(lambda: "draining" in api.output)
        time.sleep(1.5)  # longer than idle connections are given
        connection.sendall(body[20:])
        received = connection.recv(65_536)

    assert received.startswith(b"HTTP/1.1 202 ")
    assert api.stop() == 0
    assert [click.event_id for click in read(api, "raw_clicks").clicks()] == ["slow"]
