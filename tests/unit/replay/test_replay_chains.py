"""Chains: what belongs together whatever a click is taken for, and what is known of it."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream.replay.chains import NONE, Chains
from clickstream.replay.rewriting import Span, Survey
from support.replay_model import GAP, GRACE, MINUTE, NEW, OLD, RULES, START, Live, raw, replay


@settings(max_examples=500)
@given(st.lists(st.tuples(st.sampled_from((b"a", b"b")), st.integers(0, 20), st.booleans()), max_size=20))
def test_with_an_endless_grace_chains_are_sorted_clicks_cut_at_gaps(clicks):
    chains = Chains(3, 1_000)
    numbers = [chains.add(key, t, wanted=wanted) for key, t, wanted in clicks]
    whole = set()
    for key in (b"a", b"b"):
        chain: list[int] = []
        mine = sorted(n for n, each in enumerate(clicks) if each[0] == key)
        for n in sorted(mine, key=lambda n: clicks[n][1]):
            if chain and clicks[n][1] - clicks[chain[-1]][1] > 3:
                whole |= {each for each in chain if any(clicks[n][2] for n in chain)}
                chain = []
            chain.append(n)
        whole |= {each for each in chain if any(clicks[n][2] for n in chain)}
    assert not any(chains.is_whole(number, None) for number in numbers), "none is closed"
    assert chains.open_wanted == len({chains._root(numbers[n]) for n in whole})
    chains.close_due(2_000)
    assert {n for n, number in enumerate(numbers) if chains.is_whole(number, None)} == whole
    assert chains.open_wanted == 0
    assert not chains._open


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 40)), max_size=30))
def test_a_chain_is_closed_no_earlier_than_a_session_of_its_clicks(clicks):
    """A click that the fold of one class takes into a session is in the chain of that session's clicks."""
    at = START
    live, chains, seen = Live(OLD), Chains(GAP, GRACE), dict[str, int]()
    for n, (wait, back) in enumerate(clicks):
        at += wait * MINUTE
        record = raw(n, "ann", at, event_id=f"e{n}", back=back * MINUTE)
        draft = OLD.enrich(record.value, at)
        number = chains.add(b"ann", draft.event_time, wanted=False)
        chains.close_due()
        session = live.state.apply(b"ann", draft, n).session
        assert (session is None) == (number == NONE)
        if session is not None:
            assert chains._root(seen.setdefault(session, number)) == chains._root(number)


def test_reading_ends_when_all_that_is_wanted_is_closed():
    records = [raw(n, "ann", START + n * MINUTE, event_id=f"e{n}") for n in range(5)]
    records += [raw(n, "bob", START + n * MINUTE, event_id=f"e{n}") for n in range(5, 60)]
    survey = Survey(NEW.flow.read, RULES, Span(START, START + 3 * MINUTE), nothing_before=True)
    taken = list(takewhile(lambda record: survey.add([record]), records))
    # ann's last click is at minute 4; her session is over when stream time is more than 20 minutes later.
    assert len(taken) == 24
    assert survey.end == 25
    assert [survey.is_whole(n) for n in range(6)] == [True] * 5 + [False], "the whole visit, also beyond the range"


def test_what_may_have_begun_before_the_first_record_keeps_its_session():
    """ann's visit began in a record that is not read; 32 minutes later she is known to have begun anew."""
    ats = (4, 5, 14, 23, 32, 50)
    records = [raw(0, "ann", START, event_id="unread"), raw(1, "bob", START, event_id="first")]
    records += [raw(n, "ann", START + at * MINUTE, event_id=f"e{n}") for n, at in enumerate(ats, 2)]
    live = Live(OLD)
    live.chunk(records)
    live.idle(START + 90 * MINUTE)
    counts = replay(live, records, Span(START, START + 60 * MINUTE), started=1, first=1)
    assert (counts.clicks, counts.kept, counts.sessions) == (1, 6, 1)
    assert live.store.differences() == []


def test_offsets_that_are_no_clicks_are_no_gap_for_those_after_them():
    records = [raw(0, "ann", START, event_id="a"), raw(7, "ann", START + MINUTE, event_id="b")]
    survey = Survey(NEW.flow.read, RULES, Span(START, START + 9 * MINUTE), nothing_before=True)
    assert survey.add(records)
    survey.finish(START + 60 * MINUTE)
    assert [survey.is_whole(n) for n in range(8)] == [True, *[False] * 6, True]
