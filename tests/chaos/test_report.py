"""Verdicts and the table: what is beyond a limit is said, and what was skipped says why."""

from tests.chaos.accounting import Figures
from tests.chaos.report import Round, excesses, table
from tests.chaos.scenarios import Limits

GOOD = Figures(900, 1000, 1, 0, 0, 40)
BAD = Figures(2500, 1000, 300, 9000, 4000, 9000)


def test_within_the_limits_nothing_is_said():
    """A figure may reach its limit."""
    assert excesses(GOOD, Limits(outage_ms=900)) == ()


def test_each_limit_that_is_exceeded_is_named():
    """With the figure and the limit."""
    assert excesses(BAD, Limits()) == (
        "outage 2500 ms, not 2000 ms",
        "lost 30.00%, not 1.00%",
        "two masters 9000 ms, not 300 ms",
        "after the heal 4000 ms, not 200 ms",
    )


def test_a_row_shows_medians_and_how_many_rounds_were_bad():
    """A round without figures counts as bad and spoils no median."""
    rounds = [Round(GOOD, ()), Round(GOOD, (), ("order 12345",)), Round(None, ("no answer",))]
    *_, row = table({("kill", "ours"): rounds}).split("\n")
    assert row == (
        "| kill | ours | 3 | 900 | 1000 | 1 (0.1%) | 0.0 | 0.0 | 0.0 "
        "| bad in 1 of 3: no answer; order 12345 |"
    )


def test_a_skipped_scenario_says_why():
    """Its row has as many cells as any other."""
    header, _, row = table({("clock-step", "ours"): "libfaketime is missing"}).split("\n")
    assert row.endswith("| skipped: libfaketime is missing |")
    assert row.count("|") == header.count("|")
