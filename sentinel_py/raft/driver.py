"""The engine at work: driven by the loop, with the core behind it and the streams before it.

What is committed goes to the core as inputs; how the cluster stands goes there, to operators and to
clients. The rules guarded: the engine steps when something came for it and when it asks to be
woken, never inside its own calls; whatever was asked of it ends.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from sentinel_py.core import ledger, snapshot
from sentinel_py.core.messages import (
    Committed,
    Installed,
    Level,
    Notice,
    ProposalEnded,
    Propose,
    RaftView,
)
from sentinel_py.raft import addresses
from sentinel_py.raft.disk import Disk
from sentinel_py.raft.engine import Engine, Outcome, Status
from sentinel_py.raft.membership import Change

if TYPE_CHECKING:
    from sentinel_py.raft.member import Member

HAND_OVER_WITHIN_S = 1.0
"""What a shutdown waits for another leader; an election without one takes half of that."""

LONELY_AFTER_S = 3.0
"""Without a leader for so long: several elections have failed, or we were removed."""


class Driver:
    """One engine; also the state machine that it applies entries to."""
