"""Funnels: the furthest step reached in order, whatever order the clicks come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.pipeline import Funnel, FunnelStep
from clickstream.enrichment.funnels import MAX_HITS, FunnelBook, Hit, add_hit, furthest_step, merge_hits

STEPS = 4
hits_in_any_order = st.lists(st.tuples(st.integers(0, 50), st.integers(1, STEPS)), max_size=30, unique=True)


def brute_force(hits: list[Hit]) -> int:
    """The longest chain 1, 2, 3 … with strictly growing times."""
    ends = {time for time, step in hits if step == 1}
    reached = 0
    while ends:
        reached += 1
        first = min(ends)
        ends = {time for time, step in hits if step == reached + 1 and time > first}
    return reached


@given(hits_in_any_order)
def test_the_order_of_arrival_does_not_matter(arrivals: list[Hit]) -> None:
    hits: list[Hit] = []
    for hit in arrivals:
        add_hit(hits, hit)
    assert furthest_step(hits, STEPS) == brute_force(arrivals)


@given(hits_in_any_order, hits_in_any_order)
def test_merged_sessions_have_the_views_of_both(ours: list[Hit], theirs: list[Hit]) -> None:
    merged = sorted(ours)
    merge_hits(merged, sorted(theirs))
    assert furthest_step(merged, STEPS) == brute_force(ours + theirs)


def test_one_view_never_counts_for_two_steps() -> None:
    assert furthest_step([(5, 1), (5, 2)], STEPS) == 1
    assert furthest_step([(5, 1), (6, 2)], STEPS) == 2


def test_steps_in_the_wrong_order_do_not_count() -> None:
    assert furthest_step([(1, 3), (2, 2), (3, 1)], STEPS) == 1
    assert furthest_step([(1, 2), (2, 3)], STEPS) == 0


def test_a_visitor_who_reloads_for_hours_keeps_a_small_state() -> None:
    hits: list[Hit] = []
    for time in range(10_000):
        add_hit(hits, (time, 1 + time % 3))
    assert len(hits) <= MAX_HITS
    assert furthest_step(hits, STEPS) == 3


def test_a_page_is_looked_up_in_every_funnel() -> None:
    book = FunnelBook(
        [
            Funnel("buy", [FunnelStep("Home", "/"), FunnelStep("Product", "/products/*")]),
            Funnel("any", [FunnelStep("Anything", "*")]),
        ]
    )
    assert book.matches("/products/x") == (("buy", 2), ("any", 1))
    assert book.matches("/") == (("buy", 1), ("any", 1))
    assert book.reached({"buy": [(1, 1), (2, 2), (3, 1)]}) == {"buy": 2, "any": 0}
