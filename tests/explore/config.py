"""The config file of a member: what a crash leaves of it, as the product writes and reads it."""

from sentinel_py.config import directives
from sentinel_py.config.config import Origin, Statement
from sentinel_py.config.lines import split, uncommented
from sentinel_py.core.model import Raft, State
from sentinel_py.core.sentinel import Sentinel

from .store import Dice

INFO_PERIOD_MS = 2_000
TILT_PERIOD_MS = 4_000
"""In proportion to a down-after of 1 s, and to worlds that are over soon."""


def text_of(state):
    """The lines that the file has of this state."""
    return tuple(line.text for line in directives.render(state))


def started(lines, now, part, *, boot=""):
    """The core of a process that has read these lines; ``boot`` tells the lives of members apart.

    A core without a name for its life is in classic mode.
    """
    state = State(myid="")
    statements = [
        Statement(tuple(split(uncommented(line))), line, number, Origin.FILE, "")
        for number, line in enumerate(lines, start=1)
    ]
    directives.apply(statements, state, now=now, resolve=lambda _host: None)
    state.constants.info_period = INFO_PERIOD_MS
    state.constants.tilt_period = TILT_PERIOD_MS
    if boot:
        state.raft = Raft(boot, applied=state.raft_applied)
    return Sentinel(state, Dice(part))
