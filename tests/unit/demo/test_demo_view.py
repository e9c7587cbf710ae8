"""The live view fits its screen, whatever the figures are."""

import json

from rich.console import Console

from demo.verdict import Verdict, failed_line, json_line, verdict_panel
from demo.view import Numbers, Snapshot, Stage, plain_line, render

HUGE = Numbers(
    page_views=123_456_789,
    users_hour=12_345_678,
    users_day=12_345_678,
    session_ms=123_456.0,
    users_online=12_345_678,
    top_pages=tuple((f"/a/very/long/path/of/a/page/number-{number}", 10_000_000 - number) for number in range(12)),
    funnel=(("Homepage", 1_234_567), ("Product", 234_567), ("Checkout", 0)),
)
STAGES = tuple(
    Stage(name, 123_456_789, 23_456.7, tuple(range(100)), 1_234_567, 12_345.6)
    for name in ("tracking-api", "enricher", "elasticsearch", "postgres")
)
BUSY = Snapshot(
    phase="running",
    elapsed_s=360_000,
    seconds=400_000,
    rate=10_000,
    speed=10,
    seed=999_999,
    sent=123_456_789,
    accepted=123_456_789,
    rejected=1_234_567,
    unknown=1_234_567,
    stages=STAGES,
    p50_ms=12_345,
    p95_ms=123_456,
    samples=1_234_567,
    elasticsearch=HUGE,
    postgres=HUGE,
    links=(("shop", "http://127.0.0.1:12345"),) * 4,
)


def lines_of(snapshot: Snapshot) -> list[str]:
    console = Console(width=100, height=32, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render(snapshot))
    return console.export_text().splitlines()


def test_it_fits_a_screen_of_100_by_32_also_with_huge_figures():
    lines = lines_of(BUSY)
    assert len(lines) <= 32
    assert max(len(line) for line in lines) <= 100
    text = "\n".join(lines)
    for figure in ("123,456,789", "12,345,678", "Homepage", "users online", "Ctrl-C"):
        assert figure in text


def test_it_stands_before_anything_is_known():
    lines = lines_of(Snapshot())
    assert len(lines) <= 32
    assert any("page views" in line for line in lines)


def test_a_log_gets_one_line():
    line = plain_line(BUSY)
    assert "\n" not in line
    assert "123,456,789 sent" in line
    assert plain_line(Snapshot())


def test_the_last_line_has_exactly_the_promised_fields():
    verdict = Verdict(elasticsearch=5, postgres=5, sessions=2)
    line = json_line({"sent": 6, "accepted": 5, "rejected": 1, "achieved_rate": 199.9}, verdict, 1, 800.0, 1_200.0)
    assert line == (
        '{"sent": 6, "accepted": 5, "rejected": 1, "achieved_rate": 199.9, "elasticsearch": 5, "postgres": 5, '
        '"lost": 0, "duplicated": 0, "phantom": 0, "dead_letters": 1, "sessions": 2, '
        '"p50_click_to_store_ms": 800.0, "p95_click_to_store_ms": 1200.0}'
    )


def test_a_run_that_ended_before_the_check_claims_nothing():
    line = json.loads(failed_line("the enricher ended"))
    assert line.pop("error") == "the enricher ended"
    assert {*line} == {*json.loads(json_line({}, Verdict(), None, None, None))}
    assert {*line.values()} == {None}


def test_a_red_verdict_shows_what_is_wrong():
    verdict = Verdict(lost=1)
    verdict.differ("lost", "e1 (accepted) is not in postgres")
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(verdict_panel(verdict, {}, None, None))
    assert "e1 (accepted) is not in postgres" in console.export_text()
