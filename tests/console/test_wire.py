"""What a server says, on a terminal: shown, and not obeyed."""

import pytest

from sentinel_py.console.wire import ErrorText, _plain, shown


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("a\rb", r"a\rb"),
        ("redis_version:7\r\nos:Linux\r\n", "redis_version:7\r\nos:Linux\r\n"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\u202eelif", r"\u202eelif"),
        ("mästare [bold]\t日本", "mästare [bold]\t日本"),
    ],
)
def test_a_terminal_obeys_nobody(said, seen):
    """Names, errors and rows of whatever server was asked."""
    assert shown(said) == seen
    assert _plain([said, [said]]) == [seen, [seen]]


def test_numbers_and_nothing_are_as_they_were():
    """Only texts have characters."""
    assert _plain([1, None, []]) == [1, None, []]
    assert str(ErrorText("ERR")) == "ERR"
