"""The ledger: what was sent, and what became of it, also when its writer dies."""

import pytest

from clickstream.simulator.ledger import Entry, LedgerWriter, State, read_ledger


def test_every_id_has_one_state_and_the_counts_are_of_distinct_ids(tmp_path):
    writer = LedgerWriter(tmp_path / "new" / "ledger")
    writer.sending([("a", 1), ("b", 2), ("c", 3), ("d", 4)])
    writer.settle([("a", State.ACCEPTED), ("b", State.REJECTED), ("c", State.UNKNOWN)])
    writer.settle([("a", State.ACCEPTED)])  # the answer to a repeated sending
    assert (writer.sent, writer.accepted, writer.rejected, writer.unknown, writer.in_flight) == (4, 1, 1, 1, 1)
    writer.close()
    assert read_ledger(tmp_path / "new" / "ledger") == {
        "a": Entry(State.ACCEPTED, 1),
        "b": Entry(State.REJECTED, 2),
        "c": Entry(State.UNKNOWN, 3),
        "d": Entry(State.UNKNOWN, 4),
    }


def test_an_unknown_event_whose_repetition_is_answered_is_no_longer_unknown(tmp_path):
    writer = LedgerWriter(tmp_path / "ledger")
    writer.sending([("a", 1)])
    writer.settle([("a", State.UNKNOWN)])
    writer.settle([("a", State.ACCEPTED)])
    writer.settle([("a", State.UNKNOWN)])
    assert (writer.accepted, writer.unknown) == (1, 0)
    writer.close()
    assert read_ledger(tmp_path / "ledger")["a"].state is State.ACCEPTED


def test_what_a_dying_writer_left_can_be_read(tmp_path):
    path = tmp_path / "ledger"
    writer = LedgerWriter(path)
    writer.sending([("a", 1), ("b", 2)])
    writer.settle([("a", State.ACCEPTED)])
    with path.open("ab") as file:
        file.write(b"A b")  # cut off in the middle of a line
    assert read_ledger(path) == {"a": Entry(State.ACCEPTED, 1), "b": Entry(State.UNKNOWN, 2)}
    writer.close()


def test_a_ledger_is_never_continued_and_no_other_file_is_taken_for_one(tmp_path):
    path = tmp_path / "ledger"
    LedgerWriter(path).close()
    with pytest.raises(FileExistsError):
        LedgerWriter(path)
    (tmp_path / "other").write_text("S 1 a\n")
    with pytest.raises(ValueError, match="no ledger"):
        read_ledger(tmp_path / "other")
