"""Variables and macros are replaced as Grafana replaces them."""

from __future__ import annotations

import pytest

from preview.variables import Range, Variables, duration_ms, moment_ms, sql_macros

DASHBOARD = {
    "templating": {
        "list": [
            {"name": "schema", "type": "constant", "current": {"value": "shop"}},
            {"name": "device", "type": "query", "allValue": "'*'", "current": {"value": ["$__all"]}},
            {"name": "page", "type": "query", "allValue": "* OR (NOT _exists_:page)", "current": {"value": ["$__all"]}},
        ]
    }
}


def test_everything_is_the_all_value_as_it_is_whatever_the_format() -> None:
    variables = Variables(DASHBOARD, {})
    assert variables.replace('"${schema}".t WHERE d IN (${device:sqlstring})') == "\"shop\".t WHERE d IN ('*')"
    assert variables.replace("(page:$page)", "lucene") == "(page:* OR (NOT _exists_:page))"


def test_chosen_values_are_quoted_for_who_reads_them() -> None:
    variables = Variables(DASHBOARD, {"device": ["it's", "tv"], "page": ['/a"b', "/c"]})
    assert variables.replace("${device:sqlstring}") == "'it''s','tv'"
    assert variables.replace("$page", "lucene") == '("/a\\"b" OR "/c")'
    assert Variables(DASHBOARD, {"page": "/a b"}).replace("$page", "lucene") == "\\/a\\ b"


def test_what_is_no_variable_stays() -> None:
    assert Variables(DASHBOARD, {}).replace("$__timeFilter(at) $nothing ${nothing:raw} $schema") == (
        "$__timeFilter(at) $nothing ${nothing:raw} shop"
    )


def test_macros_become_times_in_utc() -> None:
    span = Range(1_767_225_600_000, 1_767_229_200_000)
    assert sql_macros("$__timeFilter(at) AND $__timeFrom() < $__timeTo() / $__interval_ms", span, 60_000) == (
        "at BETWEEN '2026-01-01T00:00:00.000Z' AND '2026-01-01T01:00:00.000Z' AND "
        "'2026-01-01T00:00:00.000Z' < '2026-01-01T01:00:00.000Z' / 60000"
    )


@pytest.mark.parametrize(
    ("hours", "points", "minimum", "seconds"),
    [(1, 3_600, None, 1), (1, 500, None, 10), (6, 500, "1m", 60), (168, 500, "1m", 1_800), (168, 7, "1d", 86_400)],
)
def test_a_point_stands_for_a_usual_length_of_time(hours, points, minimum, seconds) -> None:
    assert Range(0, hours * 3_600_000, points).interval_ms(minimum) == seconds * 1_000


def test_moments_and_durations() -> None:
    assert (moment_ms("now", 5), moment_ms("now-1m", 90_000), moment_ms("17", 0)) == (5, 30_000, 17)
    with pytest.raises(ValueError, match="not a duration"):
        duration_ms("soon")
