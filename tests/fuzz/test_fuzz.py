"""Every target takes hostile input for a few seconds; and each kind of flaw would be found."""

import pytest

from .campaign import TARGETS, run

pytest.importorskip("atheris", reason="no atheris for this Python or machine")

SECONDS = 1


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input(name, tmp_path):
    """Nothing but documented errors, no input that hangs, none that takes much memory."""
    result = run(name, SECONDS, tmp_path)
    assert not result.finding
    assert result.executions > 0


@pytest.mark.parametrize(
    ("name", "says", "input_timeout_s"),
    [
        ("error", "KeyError", 5),
        ("hang", "libFuzzer: timeout", 1),
        ("growth", "out-of-memory", 30),
    ],
)
def test_a_flaw_is_found(name, says, input_timeout_s, tmp_path):
    """An error that is not documented, an endless loop and endless growth end the run."""
    result = run(name, 60, tmp_path, "flaws", input_timeout_s=input_timeout_s)
    assert says in result.finding
