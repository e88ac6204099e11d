"""What operators may order: watch, forget and reset masters, change options and settings.

An order is checked here, in the sequence of checks that redis-sentinel has, and each order gets one
answer: a value, or the refusal that becomes its error reply. Nothing here waits. A host name that
nobody has looked up yet parks its MONITOR in the state until the name is resolved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from sentinel_py.core import checks, foreign, former, lineage, members, overrides, own_scripts
from sentinel_py.core.messages import (
    Admit,
    ConfigSet,
    Debug,
    Flush,
    Level,
    Monitor,
    Refused,
    Remove,
    Reset,
    Resolved,
    SetLocal,
    SetOptions,
    SimulateFailure,
)
from sentinel_py.core.model import Address, Master, Options, SimulatedFailure
from sentinel_py.core.options import NUMBERS
from sentinel_py.core.roster import (
    add_master,
    default_options,
    look_up,
    remove_master,
    reset_master,
)
from sentinel_py.core.turn import Turn
from sentinel_py.core.views import debug_values, master_named, matching
from sentinel_py.values import dataclass

MAX_WAITING = 64
"""MONITOR orders waiting for a name at once: nobody types more, and a script can try again."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


def integer(text: str) -> int | None:
    """A 64-bit integer as commands take it: plain decimal, no ``+``, blank or leading zero."""
    value = int(text) if _INTEGER.fullmatch(text) else None
    return value if value is not None and -(2**63) <= value < 2**63 else None


@contextmanager
def refusals_answered(turn: Turn, ticket: int) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        turn.answer(ticket, refused)


def _check_words(words: Sequence[str], command: str, first: int) -> None:
    """Refuse words that a config file or a log entry cannot hold, as Valkey 9.1 says it.

    ``first`` is the place of the first of these words in the command.
    """
    for at, word in enumerate(words, first):
        try:
            checks.check_text(word, "it")
        except checks.InvalidError as error:
            why = "control characters are not allowed" if checks.has_control(word) else str(error)
            raise Refused(f"Invalid argument at index {at} for {command}: {why}") from None


# Masters -----------------------------------------------------------------------------------------


def monitor(turn: Turn, order: Monitor) -> None:
    with refusals_answered(turn, order.ticket):
        address = monitored_address(turn, order)
        if address is not None:
            watch(turn, order.name, address, int(order.quorum))
            turn.answer(order.ticket)


def monitored_address(turn: Turn, order: Monitor) -> Address | None:
    """The address to watch, the order being checked; None while its host is being looked up."""
    _check_words((order.name, order.host, order.port, order.quorum), "SENTINEL MONITOR", 2)
    _check_name(order.name)
    _check_numbers(order)
    address = look_up(turn.state, order.host, int(order.port))
    if address is None and turn.state.settings.resolve_hostnames:
        _wait_for_name(turn, order)
        return None
    if address is None:
        raise Refused("Invalid IP address or hostname specified")
    if not 0 <= address.port <= checks.PORT_MAX:
        raise Refused("Invalid port number.")
    return address


def _check_name(name: str) -> None:
    try:
        checks.check_name(name)
    except checks.InvalidError as error:
        raise Refused(f"{error}.") from None


def _check_numbers(order: Monitor) -> None:
    quorum = integer(order.quorum)
    if quorum is None or quorum > checks.INT_MAX:
        raise Refused("Invalid quorum")
    if integer(order.port) is None:
        raise Refused("Invalid port")
    if quorum <= 0:
        raise Refused("Quorum must be 1 or greater.")


def check_new(turn: Turn, name: str) -> None:
    """Refuse a master whose name is taken."""
    if name in turn.state.masters:
        raise Refused("Duplicate master name.")


def _wait_for_name(turn: Turn, order: Monitor) -> None:
    waiting = turn.state.waiting
    if len(waiting) >= MAX_WAITING:
        raise Refused("Too many host names are being looked up, try again later")
    waiting.append(order)
    turn.resolve(order.host)


def name_resolved(turn: Turn, resolved: Resolved) -> list[Monitor]:
    """The MONITOR orders that waited for this name and can be given now."""
    waiting = turn.state.waiting
    due = [order for order in waiting if order.host == resolved.host]
    waiting[:] = [order for order in waiting if order.host != resolved.host]
    if resolved.ip is not None:
        return due
    for order in due:
        turn.answer(order.ticket, Refused("Invalid IP address or hostname specified"))
    return []


def watch(turn: Turn, name: str, address: Address, quorum: int) -> Master:
    """Begin to watch a master."""
    check_new(turn, name)
    options = default_options(turn.state, quorum)
    master = add_master(turn.state, turn.now, name, address, options)
    turn.touch(master)
    turn.save()
    turn.notice(Level.WARNING, "+monitor", master, f"quorum {options.quorum}")
    former.take_up(turn, master)
    members.list_all(turn, master)
    return master


def remove(turn: Turn, order: Remove) -> None:
    with refusals_answered(turn, order.ticket):
        master = master_named(turn.state, order.name)
        former.keep(turn, master, is_named=turn.is_from_log and not order.ticket)
        turn.notice(Level.WARNING, "-monitor", master)
        remove_master(turn, master)
        turn.save()
        turn.answer(order.ticket)


def reset(turn: Turn, order: Reset) -> None:
    """Unlike the original's, a reset is saved: a restart must not bring back what it forgot."""
    matched = matching(turn.state, order.pattern)
    for master in matched:
        former.keep_replicas(master)
        reset_master(turn, master)
        lineage.forget(master)
        turn.notice(Level.WARNING, "+reset-master", master)
        members.list_all(turn, master)
        turn.save()
    turn.answer(order.ticket, len(matched), is_done=True)


def admit(turn: Turn, order: Admit) -> None:
    """Let a foreign instance be made a replica; to say so twice changes nothing."""
    with refusals_answered(turn, order.ticket):
        replica = foreign.check(turn, order)
        foreign.admit(turn, replica.master, replica.address, replica.run_id)
        turn.answer(order.ticket)


def flush(turn: Turn, order: Flush) -> None:
    turn.save()
    turn.answer(order.ticket)


# Options of a master -----------------------------------------------------------------------------


class _BadValueError(Exception):
    """A value that its option does not take."""


@dataclass(frozen=True, slots=True)
class _Option:
    """How an option applies, how many values it takes, and whether events may show them."""

    apply: Callable[[Options, Sequence[str]], None]
    values: int = 1
    is_secret: bool = False
    script: str = ""  # what it is the path of, if it is one


def set_options(turn: Turn, order: SetOptions) -> None:
    """Options apply one by one: those before a bad one stay, and are saved."""
    with refusals_answered(turn, order.ticket):
        master = master_named(turn.state, order.name)
        apply_options(turn, master, order.words)
        turn.answer(order.ticket)


def apply_options(turn: Turn, master: Master, words: Sequence[str]) -> None:
    _check_words(words, "SENTINEL SET", 3)
    at = 0
    while at < len(words):
        at += _set_one(turn, master, words[at:])


def good_options(turn: Turn, order: SetOptions) -> tuple[Sequence[str], Refused | None]:
    """Return the words before the first bad one, and its refusal, as ``set_options`` would."""
    master = turn.state.masters.get(order.name)
    options = replace(master.shared) if master else default_options(turn.state, quorum=1)
    options.renamed = dict(options.renamed)
    words, at = order.words, 0
    try:
        _check_words(words, "SENTINEL SET", 3)
        while at < len(words):
            _check_script(turn, words[at:])
            at += _apply(options, words[at:])[0]
    except Refused as refused:
        return words[:at], refused if master else Refused("No such master with that name")
    return words, None


def _set_one(turn: Turn, master: Master, words: Sequence[str]) -> int:
    """Apply the first option of ``words``; returns how many words it took."""
    shared = replace(master.shared, renamed=dict(master.shared.renamed))
    if not turn.is_from_log:
        _check_script(turn, words)
    taken, shown = _apply(shared, words)
    if not turn.is_from_log:
        # This sentinel's own and latest word: an override must not stand in its way.
        master.overrides.pop(overrides.FIELDS.get(words[0].lower(), ""), None)
    if not turn.is_from_log:
        own_scripts.name_own(master, shared)
    overrides.share(turn, master, shared)
    turn.notice(Level.WARNING, "+set", master, shown)
    turn.save()
    return taken


def _apply(options: Options, words: Sequence[str]) -> tuple[int, str]:
    """Apply the first option of ``words``; returns how many words it took, and what to show."""
    name = words[0]
    option = _OPTIONS.get(name.lower())
    if option is None or len(words) <= option.values:
        raise Refused(f"Unknown option or number of arguments for SENTINEL SET '{name}'")
    values = words[1 : 1 + option.values]
    try:
        option.apply(options, values)
    except _BadValueError as bad:
        raise Refused(f"Invalid argument '{bad}' for SENTINEL SET '{name}'") from None
    shown = ("******",) if option.is_secret else values
    return 1 + option.values, " ".join((name, *shown))


def _check_script(turn: Turn, words: Sequence[str]) -> None:
    """Refuse the path of a script that may not be set, or cannot be run on this host."""
    option = _OPTIONS.get(words[0].lower())
    if option is None or not option.script or len(words) <= option.values:
        return
    if turn.state.settings.deny_scripts_reconfig:
        raise Refused(
            "Reconfiguration of scripts path is denied for security reasons. Check the "
            "deny-scripts-reconfig configuration directive in your Sentinel configuration"
        )
    if words[1] and not turn.is_executable(words[1]):
        raise Refused(f"{option.script} script seems non existing or non executable")


def set_local(turn: Turn, order: SetLocal) -> None:
    """Override options here, or no longer; all words are checked before the first one applies."""
    with refusals_answered(turn, order.ticket):
        if turn.state.raft is None or not turn.state.settings.replicate_config:
            raise Refused("No options are shared with other Sentinels, use SET without LOCAL")
        master = master_named(turn.state, order.name)
        _check_words(order.words, "SENTINEL SET", 4)
        act = _lift if order.words[0].lower() == "unset" else _override
        act(turn, master, order.words)
        turn.save()
        turn.answer(order.ticket)


def _override(turn: Turn, master: Master, words: Sequence[str]) -> None:
    options, fields, shown = replace(master.options), [], []
    while words:
        fields.append(_local_field(words[0]))
        _check_script(turn, words)
        taken, text = _apply(options, words)
        shown.append(text)
        words = words[taken:]
    values = {field: getattr(options, field) for field in fields}
    overrides.override(turn, master, master.overrides | values)
    for text in shown:
        turn.notice(Level.WARNING, "+set-local", master, text)


def _lift(turn: Turn, master: Master, words: Sequence[str]) -> None:
    fields = {_local_field(name): name for name in words[1:]}
    if not fields:
        raise Refused("Unknown option or number of arguments for SENTINEL SET 'LOCAL UNSET'")
    kept = {field: value for field, value in master.overrides.items() if field not in fields}
    lifted = [name for field, name in fields.items() if field in master.overrides]
    overrides.override(turn, master, kept)
    for name in lifted:
        turn.notice(Level.WARNING, "-set-local", master, name)


def _local_field(name: str) -> str:
    if name.lower() not in _OPTIONS:
        raise Refused(f"Unknown option or number of arguments for SENTINEL SET '{name}'")
    if name.lower() not in overrides.FIELDS:
        raise Refused(f"Option '{name}' must be the same on all Sentinels")
    return overrides.FIELDS[name.lower()]


def _set_number(field: str, options: Options, values: Sequence[str]) -> None:
    number, (least, greatest) = integer(values[0]), NUMBERS[field]
    if number is None or not least <= number <= greatest:
        raise _BadValueError(values[0])
    setattr(options, field, number)


def _set_text(field: str, options: Options, values: Sequence[str]) -> None:
    setattr(options, field, values[0] or None)


def _set_flag(field: str, options: Options, values: Sequence[str]) -> None:
    setattr(options, field, _yes_no(values[0]))


def _rename_command(options: Options, values: Sequence[str]) -> None:
    old, new = values
    if not old or not new:
        raise _BadValueError("")
    renamed = options.renamed
    renamed.pop(old.lower(), None)
    if old.lower() != new.lower():
        if len(renamed) >= checks.RENAMES_MAX:
            raise Refused(f"At most {checks.RENAMES_MAX} commands of a master can be renamed")
        renamed[old.lower()] = new


def _script_option(field: str, what: str) -> _Option:
    return _Option(partial(_set_text, field), script=what)


_REBOOT_DOWN_AFTER = _Option(partial(_set_number, "reboot_down_after_ms"))

_LOADING_DOWN_AFTER = _Option(partial(_set_number, "loading_down_after_ms"))

_OPTIONS = {
    "down-after-milliseconds": _Option(partial(_set_number, "down_after_ms")),
    "failover-timeout": _Option(partial(_set_number, "failover_timeout_ms")),
    "parallel-syncs": _Option(partial(_set_number, "parallel_syncs")),
    "quorum": _Option(partial(_set_number, "quorum")),
    "master-reboot-down-after-period": _REBOOT_DOWN_AFTER,
    "primary-reboot-down-after-period": _REBOOT_DOWN_AFTER,
    "master-loading-down-after-period": _LOADING_DOWN_AFTER,
    "primary-loading-down-after-period": _LOADING_DOWN_AFTER,
    "fence-isolated-master": _Option(partial(_set_flag, "fence_isolated_master")),
    "protect-empty-restart": _Option(partial(_set_flag, "protect_empty_restart")),
    "trust-addresses": _Option(partial(_set_flag, "trust_addresses")),
    "check-lineage": _Option(partial(_set_flag, "check_lineage")),
    "max-promotion-lag": _Option(partial(_set_number, "max_promotion_lag")),
    "notification-script": _script_option("notification_script", "Notification"),
    "client-reconfig-script": _script_option("client_reconfig_script", "Client reconfiguration"),
    "auth-pass": _Option(partial(_set_text, "auth_pass"), is_secret=True),
    "auth-user": _Option(partial(_set_text, "auth_user")),
    "rename-command": _Option(_rename_command, values=2),
}


# Settings of the whole sentinel ------------------------------------------------------------------


def config_set(turn: Turn, order: ConfigSet) -> None:
    """All values are checked before the first one applies."""
    with refusals_answered(turn, order.ticket):
        changes = checked_settings(order.words)
        for field, value in changes.items():
            setattr(turn.state.settings, field, value)
        if "sentinel_user" in changes or "sentinel_pass" in changes:
            _log_in_to_peers_anew(turn)
        turn.save()
        turn.answer(order.ticket)


def checked_settings(words: Sequence[str]) -> dict[str, str | int | bool]:
    """The fields of ``Settings`` to change, with their values."""
    _check_words(words, "SENTINEL CONFIG SET", 3)
    changes: dict[str, str | int | bool] = {}
    for at in range(0, len(words), 2):
        option = words[at]
        if option.lower() not in _SETTINGS:
            raise Refused(f"Invalid argument '{option}' to SENTINEL CONFIG SET")
        field, read = _SETTINGS[option.lower()]
        if field in changes:
            raise Refused(f"Duplicate argument '{option}' to SENTINEL CONFIG SET")
        if at + 1 == len(words):
            raise Refused(f"Missing argument '{option}' value")
        try:
            changes[field] = read(words[at + 1])
        except _BadValueError as bad:
            raise Refused(f"Invalid value '{bad}' to SENTINEL CONFIG SET '{option}'") from None
    return changes


def _log_in_to_peers_anew(turn: Turn) -> None:
    for master in turn.state.masters.values():
        for peer in master.peers.values():
            turn.close_links(peer)


def _yes_no(value: str) -> bool:
    if value.lower() not in ("yes", "no"):
        raise _BadValueError(value)
    return value.lower() == "yes"


def _port(value: str) -> int:
    port = integer(value)
    if port is None or not 0 <= port <= checks.PORT_MAX:
        raise _BadValueError(value)
    return port


def _loglevel(value: str) -> str:
    if value.lower() not in ("debug", "verbose", "notice", "warning", "nothing"):
        raise _BadValueError(value)
    return value.lower()


SHARED_SETTINGS = (
    *("resolve-hostnames", "announce-hostnames", "sentinel-user", "sentinel-pass"),
    "raft-count-outsiders",
)
"""Those that all members of a Raft cluster have alike."""

_SETTINGS: dict[str, tuple[str, Callable[[str], str | int | bool]]] = {
    "announce-ip": ("announce_ip", str),
    "announce-port": ("announce_port", _port),
    "sentinel-user": ("sentinel_user", str),
    "sentinel-pass": ("sentinel_pass", str),
    "resolve-hostnames": ("resolve_hostnames", _yes_no),
    "announce-hostnames": ("announce_hostnames", _yes_no),
    "loglevel": ("loglevel", _loglevel),
    "raft-count-outsiders": ("raft_count_outsiders", _yes_no),
}


# Tests and experiments ---------------------------------------------------------------------------


def debug(turn: Turn, order: Debug) -> None:
    """Time constants apply one by one, and are never saved."""
    with refusals_answered(turn, order.ticket):
        for at in range(0, len(order.words), 2):
            _set_constant(turn, order.words[at : at + 2])
        turn.answer(order.ticket)


def _set_constant(turn: Turn, words: Sequence[str]) -> None:
    name = words[0]
    if len(words) < 2 or name.upper() not in debug_values(turn.state):
        raise Refused(f"Unknown option or number of arguments for SENTINEL DEBUG '{name}'")
    value = integer(words[1])
    if value is None or value <= 0:
        raise Refused(f"Invalid argument '{words[1]}' for SENTINEL DEBUG '{name}'")
    setattr(turn.state.constants, name.lower().replace("-", "_"), value)
    for master in turn.state.masters.values():
        for instance in master.instances():
            turn.touch(instance)


def simulate_failure(turn: Turn, order: SimulateFailure) -> None:
    """Replace the failures to simulate; ``help`` lists them instead."""
    with refusals_answered(turn, order.ticket):
        failures = turn.state.simulated_failures
        failures.clear()
        for word in order.words:
            if word.lower() == "help":
                turn.answer(order.ticket, [failure.value for failure in SimulatedFailure])
                return
            failure = _failure_named(word)
            if failure not in failures:
                failures.append(failure)
        turn.answer(order.ticket)


def _failure_named(word: str) -> SimulatedFailure:
    try:
        return SimulatedFailure(word.lower())
    except ValueError:
        raise Refused("Unknown failure simulation specified") from None
