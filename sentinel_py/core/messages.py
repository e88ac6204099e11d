"""The vocabulary between the core and the node: inputs, effects and notices, as plain values.

An ``Input`` is something that happened. An ``Effect`` is something to do; the node carries it out.
A ``Notice`` is what operators and clients see (``+sdown``, ``+switch-master``).
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum, IntEnum

from sentinel_py.core.ledger import Delivered, Entry, Record, Unreadable
from sentinel_py.core.model import LinkKind
from sentinel_py.values import dataclass


class Level(IntEnum):
    """How loud a notice is; values order as in the ``loglevel`` directive."""

    DEBUG = 0
    VERBOSE = 1
    NOTICE = 2
    WARNING = 3


class Refused(Exception):  # noqa: N818 - an outcome that operators meet, not a fault
    """An operator asked for what cannot be; becomes the error reply ``-<code> <text>``."""

    def __init__(self, text: str, code: str = "ERR") -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A Redis error reply (``-ERR ...``), text without the dash."""

    text: str


Value = bytes | int | None | ErrorReply | list["Value"]
"""A reply as the links decode it: statuses and bulk strings are bytes."""


class Ask(Enum):
    """What a request on a link was for, so that its reply finds its reader."""

    FORGET = "forget"  # the reply changes nothing
    LOGIN = "auth"
    FOLLOW = "slaveof"
    PING = "ping"
    INFO = "info"
    HELLO = "hello"
    DOWN = "is-master-down-by-addr"
    HAND_OVER = "failover"
    FENCE = "client-pause"
    PAUSE = "client-pause-for-failover"
    OFFSET = "info-replication"


@dataclass(frozen=True, slots=True)
class Request:
    """One command for a link. ``master`` names whom an ``Ask.DOWN`` was about.

    ``right`` is what a user needs for it, as ACL rules name it, where a refusal is told.
    """

    args: tuple[str, ...]
    ask: Ask = Ask.FORGET
    master: str = ""
    right: str = ""


# Inputs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wake:
    """``Sentinel.wake_at`` has been reached."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """TCP (and TLS) is connected; ``local_ip`` is our end of it, which hello announces."""

    link: int
    local_ip: str


NO_SUBSCRIPTION = "no subscription: "
"""What the reason of a LinkDown begins with where the server has refused to let us subscribe."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link could not be opened, or broke. All that was asked on it is unanswered for good."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request on a command link."""

    link: int
    request: Request
    value: Value


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """A payload on the hello channel of a data node."""

    link: int
    payload: str


@dataclass(frozen=True, slots=True)
class DirectHello:
    """A hello that a client (a peer) published to this sentinel."""

    payload: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome of a ``Resolve`` effect; ``ip`` is None when the name has no address now."""

    host: str
    ip: str | None


@dataclass(frozen=True, slots=True)
class DownQuestion:
    """A peer's ``SENTINEL IS-MASTER-DOWN-BY-ADDR``; answered with a ``DownAnswer``."""

    ticket: int
    host: str
    port: int
    epoch: int
    candidate: str


@dataclass(frozen=True, slots=True)
class Monitor:
    """``SENTINEL MONITOR``: arguments as text, checked by the core."""

    ticket: int
    name: str
    host: str
    port: str
    quorum: str


@dataclass(frozen=True, slots=True)
class Remove:
    """``SENTINEL REMOVE``."""

    ticket: int
    name: str


@dataclass(frozen=True, slots=True)
class SetOptions:
    """``SENTINEL SET``: the words after the name."""

    ticket: int
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetLocal:
    """``SENTINEL SET <name> LOCAL``: the words behind that."""

    ticket: int
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """``SENTINEL RESET``; answered with the number of masters that matched."""

    ticket: int
    pattern: str


@dataclass(frozen=True, slots=True)
class Admit:
    """``SENTINEL ADMIT``: a foreign instance may be made a replica, whatever it has."""

    ticket: int
    name: str
    host: str
    port: str


@dataclass(frozen=True, slots=True)
class FailOver:
    """``SENTINEL FAILOVER``, alone or with ``COORDINATED`` or ``FORCE-STALE``."""

    ticket: int
    name: str
    coordinated: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True)
class ConfigSet:
    """``SENTINEL CONFIG SET``: option and value in turn."""

    ticket: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Debug:
    """``SENTINEL DEBUG`` with option and value in turn."""

    ticket: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SimulateFailure:
    """``SENTINEL SIMULATE-FAILURE``."""

    ticket: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flush:
    """``SENTINEL FLUSHCONFIG``."""

    ticket: int


@dataclass(frozen=True, slots=True)
class DownReport:
    """A fellow member of the Raft cluster tells what it sees of a master.

    Who it is was proved by the stream that brought this. Which master it means is told by the
    config epoch: after a switch there is another at that name. ``has_replica`` tells whether the
    member sees a replica that it could promote.
    """

    run_id: str
    master: str
    config_epoch: int
    down: bool
    has_replica: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the history: written down here, or put into the log if we lead."""

    entry: Record | Delivered


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether the failover that was asked about may start."""

    master: str
    is_given: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """A log entry has come to its turn; every member applies all of them in the same order."""

    index: int
    entry_id: str
    entry: Entry | Unreadable


@dataclass(frozen=True, slots=True)
class Installed:
    """The state as of log index ``index`` replaces what we know of what the log holds."""

    index: int
    snapshot: bytes


@dataclass(frozen=True, slots=True)
class ProposalEnded:
    """A proposal of ours was not committed; ``certain`` tells whether it can still be."""

    entry_id: str
    certain: bool


@dataclass(frozen=True, slots=True)
class SaveOutcome:
    """The state is on disk again, or it is not: ``trouble`` is why, in the system's words.

    Comes when that changes, and behind whatever was carried out meanwhile.
    """

    trouble: str = ""


@dataclass(frozen=True, slots=True)
class RaftView:
    """How the Raft cluster stands, as this member sees it.

    ``leads`` is true only while a majority has confirmed us within the lease. ``addresses`` are id,
    host, port and ip (empty if not looked up yet) of members, as far as they are known; ``trouble``
    is what keeps this member from a majority.
    """

    members: tuple[str, ...]
    leader: str | None
    leads: bool
    has_majority: bool
    term: int
    addresses: tuple[tuple[str, str, int, str], ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class RaftContact:
    """Until when no other Raft leader can have been at work, as far as this member knows.

    ``heard`` is when members were last told so by us, ``relayed``: through other members;
    ``is_current``: with that, nothing is missing here that had been committed.
    """

    at: int
    heard: tuple[tuple[str, int], ...] = ()
    relayed: tuple[tuple[str, int], ...] = ()
    is_current: bool = True


Order = (
    Monitor
    | Remove
    | SetOptions
    | SetLocal
    | Reset
    | FailOver
    | Admit
    | ConfigSet
    | Debug
    | SimulateFailure
    | Flush
)
Input = (
    Wake
    | LinkUp
    | LinkDown
    | Reply
    | ChannelMessage
    | DirectHello
    | Resolved
    | DownQuestion
    | DownReport
    | Note
    | Consent
    | Committed
    | Installed
    | ProposalEnded
    | SaveOutcome
    | RaftView
    | RaftContact
    | Order
)

# Effects -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Save:
    """Put the state on disk (fsync) before anything behind this effect leaves."""


@dataclass(frozen=True, slots=True)
class SaveSoon:
    """Put the state on disk soon: what is new in it could be learnt again.

    ``is_urgent``: without waiting for more. Nothing waits for it all the same.
    """

    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class Propose:
    """Put an entry into the Raft log; ends in ``Committed`` or ``ProposalEnded``."""

    entry_id: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Open:
    """Connect the link; ends in ``LinkUp`` or ``LinkDown``."""

    link: int
    kind: LinkKind
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Close:
    """Drop the link's connection; no input comes from it any more.

    What a hung one has not delivered yet must not arrive later, as by then it may be wrong.
    """

    link: int
    is_hung: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Write requests to a link, in order, in one write with whatever else is due for it."""

    link: int
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell a fellow member what we see of a master; there it is a ``DownReport``.

    It is lost if the member is not reached, and said again while there is anything to say.
    """

    run_id: str
    master: str
    config_epoch: int
    down: bool
    has_replica: bool


@dataclass(frozen=True, slots=True)
class GiveLead:
    """Let this member lead in our place: it can do what we cannot. If it does not, we go on."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An event as the original names it: published, logged, and run through ``script`` if any.

    ``master`` is the name of the one that it is about, or that caused it; empty if there is none.
    """

    level: Level
    name: str
    text: str
    script: str | None = None
    master: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Log:
    """A log line that is no event."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class RunScript:
    """Queue a client-reconfig-script."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look a host name up; ends in ``Resolved``."""

    host: str


@dataclass(frozen=True, slots=True)
class AskConsent:
    """Ask the program around us whether a failover may start; answered with ``Consent``."""

    master: str


@dataclass(frozen=True, slots=True)
class DownAnswer:
    """What IS-MASTER-DOWN-BY-ADDR replies: down or not, and the vote (leader None is ``*``)."""

    down: bool
    leader: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of the order or question with this ticket; None stands for ``+OK``.

    ``is_done``: it was carried out, and is not undone by a restart that finds nothing of it.
    """

    ticket: int
    value: int | list[str] | DownAnswer | Refused | None = None
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Crash:
    """End the process at once with exit code 99 (SENTINEL SIMULATE-FAILURE)."""


Effect = (
    Save
    | SaveSoon
    | Propose
    | Open
    | Close
    | Send
    | Tell
    | GiveLead
    | Notice
    | Log
    | RunScript
    | Resolve
    | AskConsent
    | Answer
    | Crash
)
