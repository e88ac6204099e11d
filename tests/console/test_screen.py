"""What top shows: never more lines than there are, masters in trouble first, the rest counted."""

import pytest
from rich.console import Console

from sentinel_py.console.events import Event
from sentinel_py.console.screen import screen

from .pictures import master, picture, raft

EVENTS = tuple(
    Event(None, 1_700_000_000_000 + n, "+sdown", f"master m{n} 1.2.3.4 1") for n in range(90)
)


def lines(seen, events=(), height=30, width=100, trouble=""):
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as shown:
        console.print(screen(seen, events, height, trouble))
    return shown.get().splitlines()


@pytest.mark.parametrize("height", [16, 24, 30, 60])
@pytest.mark.parametrize("masters", [0, 1, 3, 40])
@pytest.mark.parametrize("events", [(), EVENTS], ids=["silent", "noisy"])
@pytest.mark.parametrize("width", [60, 100, 200])
def test_it_fills_the_terminal_and_no_more(height, masters, events, width):
    """As many lines as the terminal has, none of them too wide."""
    seen = picture(*(master(f"m{number}") for number in range(masters)), raft=raft())
    shown = lines(seen, events, height, width)
    assert len(shown) == height
    assert max(map(len, shown)) <= width


def test_everybody_is_there():
    """A line for the master, each replica and each sentinel, with what matters about it."""
    shown = "\n".join(lines(picture(master(), raft=raft())))
    for text in ("mymaster", "192.0.2.1:6379", "192.0.2.11:6379", "192.0.2.21:26379"):
        assert text in shown
    assert "quorum 2/3 epoch 3" in shown
    assert "raft leader  term 7  majority   192.0.2.20:26379 leads" in shown


def test_what_does_not_fit_is_counted():
    """And how much of it is in trouble."""
    seen = picture(*(master(f"m{n}") for n in range(39)), master("b", "odown"))
    shown = lines(seen, height=20)
    assert any(line.split()[:5] == ["38", "more", "1", "in", "trouble"] for line in shown)


def test_the_phase_of_a_failover_is_the_state():
    """It says more than that the master is down."""
    shown = "\n".join(lines(picture(master(state="odown", phase="wait_promotion"))))
    assert "wait_promotion" in shown
    assert "odown" not in shown


def test_trouble_is_shown():
    """A sentinel that does not answer, TILT, a lost majority, a replica without its master."""
    seen = picture(master(), is_tilted=True, raft=raft(has_majority=False))
    shown = "\n".join(lines(seen, trouble="no answer"))
    assert shown.startswith("no answer; trying again")
    assert "no majority" in shown
    assert "TILT" in lines(seen)[0]
    assert "classic mode" in lines(picture())[1]
    assert any("no master" in line for line in lines(picture()))


def test_the_latest_events_are_at_the_end():
    """The last one stands above the last line."""
    shown = lines(picture(master()), EVENTS)
    assert "m89" in shown[-2]
    assert "q or Ctrl-C ends" in shown[-1]
