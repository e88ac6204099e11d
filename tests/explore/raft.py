"""The Raft log of a world, as an idea: what members can see of it, and nothing of how it is made.

One leader per term; the log is that of the leader, who commits entry by entry as long as a majority
lives. A new leader has all that was committed, and any beginning of what was not. Each member
applies what is committed in order, when it comes to it.
"""

from typing import NamedTuple

from sentinel_py.core.messages import RaftView

NOBODY = 3


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

    @property
    def tail(self):
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
        lives=(1,) * members,
    )


def view(log, member):
    """How the cluster stands, as this member can see it: leader, whether it leads, majority."""
    has_leader = log.leader != NOBODY
    leads = log.leader == member and log.has_lease
    return log.leader, leads, has_leader and (log.leader != member or leads), log.term


def view_input(seen, run_ids):
    leader, leads, has_majority, term = seen
    name = None if leader == NOBODY else run_ids[leader]
    return RaftView(tuple(run_ids), name, leads, has_majority, term)


def replaced(values, place, value):
    return (*values[:place], value, *values[place + 1 :])


def elected(log, member, kept):
    """A new leader, with the first ``kept`` entries of what was not committed."""
    entries = log.entries[: log.commit + kept]
    return log._replace(term=log.term + 1, leader=member, has_lease=True, entries=entries)
