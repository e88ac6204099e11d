"""Orders that concern all members of a Raft cluster: into the log, and out of it.

What an order asks for is checked where it is given, and again where its entry is applied; see
``entry_checks``. A tool that gives one order to each sentinel has it carried out once; see
``repeats``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sentinel_py.core import (
    consensus,
    election,
    foreign,
    former,
    members,
    orders,
    places,
    repeats,
    snapshot,
)
from sentinel_py.core.checks import InvalidError
from sentinel_py.core.ledger import Command
from sentinel_py.core.messages import (
    Admit,
    ConfigSet,
    FailOver,
    Monitor,
    Order,
    Refused,
    Remove,
    Reset,
    SetOptions,
)
from sentinel_py.core.model import Address
from sentinel_py.core.turn import Turn
from sentinel_py.core.views import master_named


def order(turn: Turn, given: Order) -> bool:
    """Put an order for all members into the log; False if it is this sentinel's own affair."""
    if turn.state.raft is None:
        return False
    if isinstance(given, FailOver):
        # Whoever is configured alone still has no right to promote alone.
        consensus.order_failover(turn, given)
        return True
    if not turn.state.settings.replicate_config:
        return False
    match given:
        case Monitor():
            _order_monitor(turn, given)
        case Remove():
            _propose(turn, "remove", (given.name,), given.ticket)
        case Reset():
            _propose(turn, "reset", (given.pattern,), given.ticket)
        case SetOptions():
            _order_set(turn, given)
        case Admit():
            _order_admit(turn, given)
        case ConfigSet():
            return _order_config(turn, given)
        case _:
            return False
    return True


def _propose(turn: Turn, name: str, words: Sequence[str], ticket: int) -> None:
    """Propose an order that tools repeat, unless it is a repetition."""
    assert turn.state.raft is not None
    entry = Command(name, tuple(words), turn.state.raft.applied)
    if ticket and repeats.absorbs(turn, entry):
        _answer_repetition(turn, entry, ticket)
        return
    if name == "monitor":
        orders.check_new(turn, snapshot.read_master(words[0]).name)
    consensus.propose(turn, entry, ticket)


def _answer_repetition(turn: Turn, entry: Command, ticket: int) -> None:
    if entry.order == "remove":
        former.name_no_more(turn, entry.words[0])
    repeats.answer(turn, entry, ticket)


def _order_monitor(turn: Turn, given: Monitor) -> None:
    with orders.refusals_answered(turn, given.ticket):
        address = orders.monitored_address(turn, given)
        if address is not None:
            record = snapshot.describe_new(turn.state, given.name, address, int(given.quorum))
            _propose(turn, "monitor", (record,), given.ticket)


def _order_admit(turn: Turn, given: Admit) -> None:
    """The server is named by its run id, too: another one at its address is not let in."""
    with orders.refusals_answered(turn, given.ticket):
        replica = foreign.check(turn, given)
        where = replica.address
        words = given.name, where.host, str(where.port), where.ip, replica.run_id
        consensus.propose(turn, Command("admit", words), given.ticket)


def _order_set(turn: Turn, given: SetOptions) -> None:
    with orders.refusals_answered(turn, given.ticket):
        words, refusal = orders.good_options(turn, given)
        ticket = 0 if refusal else given.ticket
        if words:
            _propose(turn, "set", (given.name, *words), ticket)
        if refusal:
            raise refusal


def _order_config(turn: Turn, given: ConfigSet) -> bool:
    """Shared parameters go into the log; with others in the same order, those apply here first."""
    with orders.refusals_answered(turn, given.ticket):
        orders.checked_settings(given.words)
        pairs = list(zip(given.words[::2], given.words[1::2], strict=True))
        shared = [pair for pair in pairs if pair[0].lower() in orders.SHARED_SETTINGS]
        if not shared:
            return False
        own = tuple(word for pair in pairs if pair not in shared for word in pair)
        if own:
            orders.config_set(turn, ConfigSet(0, own))
        words = tuple(word for pair in shared for word in pair)
        consensus.propose(turn, Command("config", words), given.ticket)
    return True


def apply(turn: Turn, entry: Command, ticket: int, entry_id: str) -> None:
    """Carry out an order of the log, unless it is the repetition of one that was under way, too."""
    if repeats.is_under_way_twice(turn, entry, entry_id):
        if ticket:
            repeats.absorbs(turn, entry)
            _answer_repetition(turn, entry, ticket)
        return
    is_new = repeats.is_one(entry) and repeats.has_effect(turn, entry)
    _COMMANDS[entry.order](turn, entry.words, ticket)
    if is_new:
        repeats.remember(turn, entry, entry_id)


def _apply_monitor(turn: Turn, words: Sequence[str], ticket: int) -> None:
    with orders.refusals_answered(turn, ticket):
        snapshot.add(turn, snapshot.read_master(words[0]))
        turn.answer(ticket)


def _apply_force_stale(turn: Turn, words: Sequence[str], _ticket: int) -> None:
    """The claim of this epoch, which follows, is to take a replica of any lineage and lag."""
    master = turn.state.masters.get(words[0])
    if master is not None:
        master.stale_epoch = int(words[1])


def _apply_set(turn: Turn, words: Sequence[str], ticket: int) -> None:
    """Set options; a bad one was refused where it was ordered, and is said where it comes from."""
    master = turn.state.masters.get(words[0])
    if master is None:
        turn.answer(ticket, Refused("No such master with that name"))
        return
    try:
        orders.apply_options(turn, master, words[1:])
    except Refused as refused:
        raise InvalidError(refused.text) from None
    turn.answer(ticket)


def _apply_epoch(turn: Turn, words: Sequence[str], _ticket: int) -> None:
    """Begin behind this epoch: one member has known it before there was a log."""
    epoch = int(words[0])
    if turn.state.believes(epoch):
        election.raise_epoch(turn, epoch)


def _apply_follow(turn: Turn, words: Sequence[str], _ticket: int) -> None:
    """Take over a switch that was made outside of the log, and that the leader has judged.

    The words are the master's name, the config epoch, and host, port and ip of its address.
    """
    name, epoch_text, host, port, ip = words
    master, epoch = turn.state.masters.get(name), int(epoch_text)
    if master is None or not turn.state.believes(epoch):
        return
    if epoch > members.place_by_log(master)[1]:
        election.raise_epoch(turn, epoch, master)
        places.place(turn, master, Address(host, int(port), ip), epoch)


def _apply_admit(turn: Turn, words: Sequence[str], ticket: int) -> None:
    name, host, port, ip, run_id = words
    with orders.refusals_answered(turn, ticket):
        foreign.admit(turn, master_named(turn.state, name), Address(host, int(port), ip), run_id)
        turn.answer(ticket)


def _apply_adopt(turn: Turn, words: Sequence[str], _ticket: int) -> None:
    snapshot.adopt(turn, snapshot.read_master(words[0]))


_COMMANDS: dict[str, Callable[[Turn, Sequence[str], int], None]] = {
    "lead": lambda _turn, _words, _ticket: None,
    "epoch": _apply_epoch,
    "follow": _apply_follow,
    "adopt": _apply_adopt,
    "admit": _apply_admit,
    "monitor": _apply_monitor,
    "force-stale": _apply_force_stale,
    "remove": lambda turn, words, ticket: orders.remove(turn, Remove(ticket, words[0])),
    "reset": lambda turn, words, ticket: orders.reset(turn, Reset(ticket, words[0])),
    "set": _apply_set,
    "config": lambda turn, words, ticket: orders.config_set(turn, ConfigSet(ticket, tuple(words))),
}
