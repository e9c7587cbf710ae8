"""What HTTP answers mean, and percentiles."""

import pytest

from clickstream.simulator.answers import Again, Misdirected, Settled, read_answer
from clickstream.simulator.latencies import Latencies


@pytest.mark.parametrize(
    ("status", "retry_after", "body", "meaning"),
    [
        (202, None, b'{"accepted":3}', Settled(frozenset())),
        (202, None, b'{"accepted":2,"rejected":[{"index":1,"code":"x"}]}', Settled(frozenset({1}))),
        (202, None, b"not json", Settled(frozenset())),
        (202, None, b'"\xff"', Settled(frozenset())),
        (202, None, b"[" * 3_000 + b"]" * 3_000, Settled(frozenset())),
        (422, None, b'{"accepted":0,"rejected":[{"index":0}]}', Settled(frozenset({0, 1, 2}))),
        (400, None, b"", Settled(frozenset({0, 1, 2}))),
        (413, None, b"", Settled(frozenset({0, 1, 2}))),
        (503, "2", b"", Again(2.0)),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", b"", Again(0.0)),
        (500, None, b"", Again(0.0)),
        (429, "1", b"", Again(1.0)),
        (408, None, b"", Again(0.0)),
        (401, None, b"", Misdirected(401)),
        (403, None, b"", Misdirected(403)),
        (404, None, b"", Misdirected(404)),
    ],
)
def test_an_answer_is_final_or_invites_to_try_again_or_says_that_the_address_is_wrong(
    status, retry_after, body, meaning
):
    assert read_answer(status, retry_after, body, 3) == meaning


def test_percentiles_are_at_most_two_percent_too_high_and_never_too_low():
    latencies = Latencies()
    assert latencies.percentile_ms(50) is None
    for ms in range(1, 1_001):
        latencies.add(ms / 1_000)
    for percent in (50, 95, 99, 100):
        assert percent * 10 <= latencies.percentile_ms(percent) <= percent * 10 * 1.0201 + 0.1
