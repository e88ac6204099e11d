"""Bugs in the history of events: what is lost, what comes twice, and what does not wait."""

from functools import partial

from sentinel_py import history
from sentinel_py.core import chronicle
from sentinel_py.core.ledger import Record
from sentinel_py.core.model import Event
from sentinel_py.history import Chronicler
from sentinel_py.raft.driver import Driver

from . import history_rules as rules
from .mutants import mutant
from .plan import Kind


def _settles_nothing(old):
    """What others have written stays to be written; one's own would be proposed for ever."""

    def settle(chronicler, events):
        known = {(it.at, it.name, it.text) for it in chronicler._pending}
        old(chronicler, [it for it in events if (it.at, it.name, it.text) in known])

    return settle


def _forgets_all(old):
    def take_over(chronicler):
        chronicler._pending.clear()
        old(chronicler)

    return take_over


def _is_counted(_old):
    """Ids begin with 1, at each start and with each snapshot."""

    def append(kept, event):
        kept.events.append(Event(len(kept.events) + 1, *chronicle._identity(event), event.master))

    return append


def _nothing(_old):
    return lambda *_args: None


def _none(_old):
    return lambda *_args: {}


def _twice(old):
    def propose(driver, effect):
        old(driver, effect)
        if isinstance(effect.entry, Record):
            old(driver, effect)

    return propose


def _never(_old):
    return lambda *_args: False


def _reversed(old):
    return lambda chronicler: old(chronicler)[::-1]


_mutant = partial(mutant, world=Kind.RAFT)

HISTORY_MUTANTS = (
    _mutant(
        "what others have written down is written again by the next leader",
        rules.ONCE,
        (Chronicler, "_settle", _settles_nothing),
    ),
    _mutant(
        "what is seen after another has written it down is written again",
        rules.ONCE,
        (Chronicler, "_is_known", _never),
    ),
    _mutant(
        "an event that was proposed twice is written twice",
        rules.ONCE,
        (chronicle, "_ALIKE_MAX", lambda _old: 0),
        (Driver, "propose", _twice),
    ),
    _mutant(
        "a new leader writes nothing that the old one left out",
        rules.WRITTEN,
        (Chronicler, "_take_over", _forgets_all),
    ),
    _mutant(
        "ids are not the log's",
        rules.IDS,
        (chronicle, "_append", _is_counted),
    ),
    _mutant(
        "a snapshot has no history",
        rules.ONE_HISTORY,
        (chronicle, "dump", _none),
        kind="kill-all-sentinels",
    ),
    _mutant(
        "events do not wait",
        rules.WAITS,
        (history, "FLUSH_MS", lambda _old: 0),
    ),
    _mutant(
        "the history is never full",
        rules.BOUNDED,
        (chronicle, "_trim", _nothing),
    ),
    mutant(
        "the latest is written first",
        rules.ORDER,
        (Chronicler, "_batch", _reversed),
    ),
)
