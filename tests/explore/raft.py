"""The Raft log of a small world, as an idea: what members can see of it, not how it is made.

One leader per term. The log is that of the leader, who commits entry by entry as long as it hears a
majority. A new leader has all that was committed, and any beginning of what was not. Each member
applies what is committed in order, when it comes to it, and from its config file's index again
after a restart.
"""

from typing import NamedTuple

from sentinel_py.core.messages import RaftView

from .member import ENDPOINTS, RUN_IDS, SERVERS

NOBODY = 3

_PLACES = tuple(
    (run_id, host, port, host)
    for run_id, (host, port) in zip(RUN_IDS, ENDPOINTS[SERVERS:], strict=True)
)


class Log(NamedTuple):
    """Entries by number; ``seen`` is what each member was last told of how the cluster stands."""

    term: int
    leader: int
    has_lease: bool
    entries: tuple
    commit: int  # how many of them are committed
    applied: tuple  # how many each member has applied
    seen: tuple
    lives: tuple  # how often each was started
    slow: int  # members to whom the log comes late, by bit

    @property
    def tail(self):
        """What is not committed yet, and may be lost with its leader."""
        return self.entries[self.commit :]


def begin(members):
    return Log(
        term=1,
        leader=0,
        has_lease=True,
        entries=(),
        commit=0,
        applied=(0,) * members,
        seen=((),) * members,
        lives=(0,) * members,
        slow=0,
    )


def view(log, member, is_alone):
    """How the cluster stands, as a member can see it: leader, does it lead, majority, term."""
    leader = log.leader
    if leader == NOBODY or is_alone:
        return NOBODY, False, False, log.term
    is_led = log.has_lease or leader != member
    return leader, leader == member and is_led, is_led, log.term


def leads(seen):
    """Whether a member was told that it leads."""
    return bool(seen) and seen[1]


def view_input(seen):
    leader, is_leader, has_majority, term = seen
    name = None if leader == NOBODY else RUN_IDS[leader]
    return RaftView(tuple(RUN_IDS), name, is_leader, has_majority, term, _PLACES)


def replaced(values, place, value):
    return (*values[:place], value, *values[place + 1 :])


def elected(log, member, kept):
    """A new leader, with the first ``kept`` entries of what was not committed."""
    entries = log.entries[: log.commit + kept]
    return log._replace(term=log.term + 1, leader=member, has_lease=True, entries=entries)
