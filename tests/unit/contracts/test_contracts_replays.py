"""The header of a replayed click, and the versions of replayed sessions."""

from __future__ import annotations

import pytest

from clickstream.contracts.replays import REPLAY, Replay, replay_header, replay_of, session_version
from clickstream.contracts.times import MAX_MS


@pytest.mark.parametrize("replay", [Replay(0), Replay(1_767_225_600_000, keeps_session=True), Replay(MAX_MS)])
def test_a_header_reads_back(replay):
    assert replay_of([("traceparent", b"00"), replay_header(replay)]) == replay


def test_without_the_header_nothing_is_replayed():
    assert replay_of(None) is replay_of([("Replay", b"1")]) is replay_of([(REPLAY, None)]) is None


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"1.5", b"1 kept", b" 1", b"1\n", b"%d" % (MAX_MS + 1), b"9" * 10_000, "١".encode(), b"\xff"]
)
def test_a_header_that_no_replay_writes_is_refused(text):
    with pytest.raises(ValueError, match="must be a time in ms"):
        replay_of([(REPLAY, text)])


def test_versions_are_above_offsets_in_the_order_of_replays_and_exact_in_json():
    assert 2**50 < session_version(0) < session_version(1) < session_version(MAX_MS) < 2**53
