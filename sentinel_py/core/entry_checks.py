"""Whether an entry of the Raft log may be applied: the checks that an operator's order has to pass.

A member is proven, and may be wrong all the same: an old version, a bug, a stolen secret. So what
stands in the log is checked by whoever applies it, and not only where it was proposed. The verdict
is a function of the entry alone; all members skip the same ones, and say so. Whether an entry that
passes changes something is for ``consensus`` to find out, from what the log has made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sentinel_py.core import checks, chronicle, orders, snapshot
from sentinel_py.core.checks import InvalidError
from sentinel_py.core.ledger import (
    Ballot,
    Choice,
    Claim,
    Command,
    Delivered,
    Entry,
    Finish,
    Record,
    Switch,
    Unreadable,
)
from sentinel_py.core.messages import Refused
from sentinel_py.core.model import MAX_EPOCH, Address


def why_not(entry: Entry | Unreadable) -> str:
    """Return why this entry is not applied; empty if it is."""
    try:
        _check(entry)
    except (InvalidError, Refused) as error:
        return str(error)
    return ""


def _check(entry: Entry | Unreadable) -> None:
    match entry:
        case Unreadable(why):
            raise InvalidError(why)
        case Record() | Delivered():
            chronicle.check_entry(entry)
        case Command():
            _check_command(entry)
        case Choice() | Switch():
            _check_step(entry.master, entry.epoch)
            checks.check_address(Address(entry.host, entry.port, entry.ip), port_minimum=1)
        case Claim(leader=run_id) | Ballot(candidate=run_id):
            _check_step(entry.master, entry.epoch)
            checks.check_id(run_id)
        case Finish():
            _check_step(entry.master, entry.epoch)


def _check_step(name: str, epoch: int) -> None:
    checks.check_name(name)
    checks.check_epoch(epoch, 1)


# Orders -------------------------------------------------------------------------------------------


def _check_command(entry: Command) -> None:
    if entry.order not in COMMANDS:
        raise InvalidError(f"the order {entry.order[:32]!r} is not known")
    checks.check_number(entry.seen, "an index", 0, MAX_EPOCH)
    counts, check = COMMANDS[entry.order]
    if len(entry.words) not in counts:
        raise InvalidError(f"the order {entry.order} has {len(entry.words)} arguments")
    check(entry.words)


def _check_text(words: Sequence[str]) -> None:
    checks.check_text(words[0], "a word")


def _check_id(words: Sequence[str]) -> None:
    checks.check_id(words[0])


def _check_name(words: Sequence[str]) -> None:
    checks.check_name(words[0])


def _check_epoch(words: Sequence[str]) -> None:
    checks.check_epoch(_number(words[0]))


def _check_named_epoch(words: Sequence[str]) -> None:
    _check_step(words[0], _number(words[1]))


def _check_follow(words: Sequence[str]) -> None:
    name, epoch, host, port, ip = words
    _check_step(name, _number(epoch))
    checks.check_address(Address(host, _number(port), ip), port_minimum=1)


def _check_admit(words: Sequence[str]) -> None:
    name, host, port, ip, run_id = words
    checks.check_name(name)
    checks.check_address(Address(host, _number(port), ip), port_minimum=1)
    checks.check_id(run_id)


def _check_master(words: Sequence[str]) -> None:
    snapshot.read_master(words[0])


def _check_set(words: Sequence[str]) -> None:
    checks.check_name(words[0])
    for word in words[1:]:
        checks.check_text(word, "a word")


def _check_config(words: Sequence[str]) -> None:
    for option in words[::2]:
        if option.lower() not in orders.SHARED_SETTINGS:
            raise InvalidError(f"the setting {option[:32]!r} is no shared one")
    orders.checked_settings(words)


def _number(text: str) -> int:
    number = orders.integer(text)
    if number is None:
        raise InvalidError(f"{text[:20]!r} is no number")
    return number


_Check = Callable[[Sequence[str]], None]
_MANY = range(1, 10_000)

COMMANDS: dict[str, tuple[range, _Check]] = {
    "lead": (range(1, 2), _check_id),
    "epoch": (range(1, 2), _check_epoch),
    "follow": (range(5, 6), _check_follow),
    "adopt": (range(1, 2), _check_master),
    "admit": (range(5, 6), _check_admit),
    "monitor": (range(1, 2), _check_master),
    "force-stale": (range(2, 3), _check_named_epoch),
    "remove": (range(1, 2), _check_name),
    "reset": (range(1, 2), _check_text),
    "set": (_MANY, _check_set),
    "config": (_MANY, _check_config),
}
"""The orders that entries bring, with how many words each may have, and the check of these."""
