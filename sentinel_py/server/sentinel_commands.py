"""The SENTINEL command: each subcommand reads a view of the state, or gives the core an order.

What belongs to the wire is here: counts, integers, the shape of a reply. What an order may ask for
is checked in the core, whose refusals become error replies. A reply is made in the same call unless
the core itself has to wait for something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sentinel_py.core import explain, views
from sentinel_py.core.messages import (
    Admit,
    ConfigSet,
    Debug,
    DownAnswer,
    DownQuestion,
    FailOver,
    Flush,
    Monitor,
    Order,
    Refused,
    Remove,
    Reset,
    SetLocal,
    SetOptions,
    SimulateFailure,
)
from sentinel_py.core.model import State
from sentinel_py.resp import (
    NOT_AN_INTEGER,
    NULL_ARRAY,
    OK,
    Error,
    Reply,
    Simple,
    parse_integer,
    to_text,
)
from sentinel_py.scripts import PendingScript, Scripts
from sentinel_py.server import sentinel_docs
from sentinel_py.server.commands import (
    READS_MASTERS,
    Answer,
    Command,
    Handler,
    Lasts,
    help_reply,
    subcommand_map,
)
from sentinel_py.server.rows import MasterRows

if TYPE_CHECKING:
    from sentinel_py.node import Outcome
    from sentinel_py.server.session import Session

_CONFIG_USAGE = Error(
    "ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / "
    "SET <param> <value> [<param> <value> ...] are supported."
)


class SentinelHost(Protocol):
    """What the subcommands need of the node."""

    @property
    def state(self) -> State: ...

    def settled(self) -> State:
        """The state to tell of masters from: it is on disk."""
        ...

    def now(self) -> int: ...

    def order(
        self, make: Callable[[int], Order | DownQuestion], render: Callable[[Outcome], Reply]
    ) -> Answer:
        """Step the core with what ``make`` makes of a new ticket; a Future only if it must wait."""
        ...


_Ask: TypeAlias = Callable[[SentinelHost, list[bytes]], Answer]


def build(host: SentinelHost, scripts: Scripts, *added: Command) -> Command:
    """The SENTINEL container, bound to a node and its scripts; with subcommands made elsewhere."""

    def pending_scripts(_session: Session, _args: list[bytes]) -> Answer:
        return [_pending(script) for script in scripts.pending()]

    rows = MasterRows()

    def masters(session: Session, _args: list[bytes]) -> Answer:
        return rows.reply(host.settled(), host.now(), session.protocol)

    subcommands = [
        *(_subcommand(word, 2, masters, lasts=Lasts.INSTANT) for word in ("masters", "primaries")),
        *(
            _subcommand(word, arity, _bind(host, ask), lasts=_lasts(host, word))
            for word, arity, ask in _SUBCOMMANDS
        ),
        _subcommand("pending-scripts", 2, pending_scripts),
        _subcommand("help", 2, _help, ("loading", "stale")),
        *added,
    ]
    return Command(
        "sentinel",
        -2,
        flags=("admin",),
        docs=sentinel_docs.CONTAINER,
        subcommands=subcommand_map(subcommands),
    )


def _subcommand(
    word: str,
    arity: int,
    handler: Handler,
    flags: tuple[str, ...] = ("admin",),
    lasts: Lasts = Lasts.NOT,
) -> Command:
    return Command(
        f"sentinel|{word}",
        arity,
        handler,
        flags,
        docs=sentinel_docs.SUBCOMMANDS[word],
        is_listed=word not in _OTHER_NAMES and word not in _OURS,
        lasts=lasts,
        overlaps=word in _OVERLAPPING,
        alias_of=f"sentinel|{_ALIASES[word]}" if word in _ALIASES else "",
        also_needs=(lambda _args: _OURS[word]) if word in _OURS else None,
    )


def _lasts(host: SentinelHost, word: str) -> Lasts:
    lasts = _LASTS.get(word, Lasts.NOT)
    # An address is vouched for until a lease ends, and that is no step.
    is_leased = lasts is Lasts.STEP and not host.state.settings.minority_reads
    return Lasts.NOT if is_leased else lasts


def _help(_session: Session, args: list[bytes]) -> Answer:
    return help_reply(args, sentinel_docs.HELP_LINES)


# Replies -----------------------------------------------------------------------------------------


def _bind(host: SentinelHost, ask: _Ask) -> Handler:
    def handler(_session: Session, args: list[bytes]) -> Answer:
        try:
            return ask(host, args[2:])
        except Refused as refused:
            return Error(str(refused))

    return handler


def _give(host: SentinelHost, make: Callable[[int], Order | DownQuestion]) -> Answer:
    return host.order(make, _reply)


def _reply(outcome: Outcome) -> Reply:
    match outcome:
        case None:
            return OK
        case Refused():
            return Error(str(outcome))
        case DownAnswer(down, leader, epoch):
            return [int(down), leader or "*", epoch]
        case _:
            return outcome


def _rows(rows: list[views.Row]) -> Reply:
    return [dict(row) for row in rows]


def _pending(script: PendingScript) -> Reply:
    return {
        "argv": script.argv,
        "flags": "running" if script.is_running else "scheduled",
        "pid": str(script.pid),
        "run-time" if script.is_running else "run-delay": str(script.time_ms),
        "retry-num": str(script.attempt),
    }


def _texts(words: list[bytes]) -> tuple[str, ...]:
    return tuple(map(to_text, words))


# Questions ---------------------------------------------------------------------------------------


def _ckquorum(host: SentinelHost, words: list[bytes]) -> Answer:
    is_reachable, text = views.ckquorum(host.state, to_text(words[0]))
    return Simple(text) if is_reachable else Error(text)


def _explain(host: SentinelHost, words: list[bytes]) -> Answer:
    master = views.master_named(host.state, to_text(words[0]))
    return [
        {
            "condition": it.name,
            "value": it.value,
            "met": "yes" if it.is_met else "no",
            "meaning": it.meaning,
        }
        for it in explain.conditions(host.state, master, host.now())
    ]


def _get_master_addr_by_name(host: SentinelHost, words: list[bytes]) -> Answer:
    views.check_vouched(host.state, host.now())
    found = views.address_of(host.settled(), to_text(words[0]), host.now())
    return found or NULL_ARRAY


def _info_cache(host: SentinelHost, words: list[bytes]) -> Answer:
    cached = views.info_cache(host.state, _texts(words), host.now())
    return [part for name_and_infos in cached for part in name_and_infos]


def _is_master_down_by_addr(host: SentinelHost, words: list[bytes]) -> Answer:
    address, port_word, epoch_word, run_id = words
    port, epoch = parse_integer(port_word), parse_integer(epoch_word)
    if port is None or epoch is None:
        return NOT_AN_INTEGER
    unsigned = epoch % 2**64
    return _give(
        host,
        lambda ticket: DownQuestion(ticket, to_text(address), port, unsigned, to_text(run_id)),
    )


def _master(host: SentinelHost, words: list[bytes]) -> Answer:
    return dict(views.master(host.settled(), to_text(words[0]), host.now()))


def _myid(host: SentinelHost, _words: list[bytes]) -> Answer:
    return host.state.myid


def _replicas(host: SentinelHost, words: list[bytes]) -> Answer:
    return _rows(views.replicas(host.settled(), to_text(words[0]), host.now()))


def _sentinels(host: SentinelHost, words: list[bytes]) -> Answer:
    return _rows(views.peers(host.settled(), to_text(words[0]), host.now()))


# Orders ------------------------------------------------------------------------------------------


def _admit(host: SentinelHost, words: list[bytes]) -> Answer:
    name, address, port = _texts(words)
    return _give(host, lambda ticket: Admit(ticket, name, address, port))


def _config(host: SentinelHost, words: list[bytes]) -> Answer:
    verb, *rest = words
    if verb.lower() == b"get":
        return views.config_get(host.state, _texts(rest))
    if verb.lower() == b"set" and len(rest) >= 2:
        return _give(host, lambda ticket: ConfigSet(ticket, _texts(rest)))
    return _CONFIG_USAGE


def _debug(host: SentinelHost, words: list[bytes]) -> Answer:
    if not words:
        return views.debug_values(host.state)
    return _give(host, lambda ticket: Debug(ticket, _texts(words)))


def _failover(host: SentinelHost, words: list[bytes]) -> Answer:
    name, *how = words
    flags = _WAYS_TO_FAIL_OVER.get(b" ".join(how).upper())
    if flags is None:
        return Error("ERR wrong number of arguments for 'sentinel|failover' command")
    return _give(host, lambda ticket: FailOver(ticket, to_text(name), *flags))


# Whether coordinated, and whether with a replica of any lineage.
_WAYS_TO_FAIL_OVER = {b"": (), b"COORDINATED": (True,), b"FORCE-STALE": (False, True)}


def _flushconfig(host: SentinelHost, _words: list[bytes]) -> Answer:
    return _give(host, Flush)


def _monitor(host: SentinelHost, words: list[bytes]) -> Answer:
    name, address, port, quorum = _texts(words)
    return _give(host, lambda ticket: Monitor(ticket, name, address, port, quorum))


def _remove(host: SentinelHost, words: list[bytes]) -> Answer:
    return _give(host, lambda ticket: Remove(ticket, to_text(words[0])))


def _reset(host: SentinelHost, words: list[bytes]) -> Answer:
    return _give(host, lambda ticket: Reset(ticket, to_text(words[0])))


def _set(host: SentinelHost, words: list[bytes]) -> Answer:
    name, first, *rest = _texts(words)
    if first.lower() == "local":
        return _give(host, lambda ticket: SetLocal(ticket, name, tuple(rest)))
    return _give(host, lambda ticket: SetOptions(ticket, name, (first, *rest)))


def _simulate_failure(host: SentinelHost, words: list[bytes]) -> Answer:
    return _give(host, lambda ticket: SimulateFailure(ticket, _texts(words)))


_SUBCOMMANDS: tuple[tuple[str, int, _Ask], ...] = (
    ("admit", 5, _admit),
    ("ckquorum", 3, _ckquorum),
    ("config", -4, _config),
    ("debug", -2, _debug),
    ("explain", 3, _explain),
    ("failover", -3, _failover),
    ("flushconfig", 2, _flushconfig),
    ("get-master-addr-by-name", 3, _get_master_addr_by_name),
    ("get-primary-addr-by-name", 3, _get_master_addr_by_name),
    ("info-cache", -3, _info_cache),
    ("is-master-down-by-addr", 6, _is_master_down_by_addr),
    ("is-primary-down-by-addr", 6, _is_master_down_by_addr),
    ("master", 3, _master),
    ("monitor", 6, _monitor),
    ("myid", 2, _myid),
    ("primary", 3, _master),
    ("remove", 3, _remove),
    ("replicas", 3, _replicas),
    ("reset", 3, _reset),
    ("sentinels", 3, _sentinels),
    ("set", -5, _set),
    ("simulate-failure", -3, _simulate_failure),
    ("slaves", 3, _replicas),
)

# Rows tell ages, which are another millisecond later.
_LASTS = {
    "get-master-addr-by-name": Lasts.STEP,
    "get-primary-addr-by-name": Lasts.STEP,
    "master": Lasts.INSTANT,
    "primary": Lasts.INSTANT,
    "replicas": Lasts.INSTANT,
    "slaves": Lasts.INSTANT,
    "sentinels": Lasts.INSTANT,
}

_OVERLAPPING = {"is-master-down-by-addr", "is-primary-down-by-addr"}

_ALIASES = {
    "get-primary-addr-by-name": "get-master-addr-by-name",
    "is-primary-down-by-addr": "is-master-down-by-addr",
    "primaries": "masters",
    "primary": "master",
}
"""Valkey's words for what has another name in redis-sentinel: rules about that hold for these."""

_OTHER_NAMES = {*_ALIASES, "slaves"}
"""Second names of what COMMAND LIST has already."""

_OURS = {
    "admit": ("sentinel|set", "sentinel|failover"),
    "explain": READS_MASTERS,
}
"""What redis-sentinel does not have, and so COMMAND LIST does not either, and the old words of the
same power, to which one needs the right as well."""
