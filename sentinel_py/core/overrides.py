"""Options of a master that this sentinel alone has otherwise than the Raft log shares them.

A master knows its options twice: ``shared`` is what all members have, ``options`` is what holds
here. Without overrides both are one object. The rule guarded: an override changes nothing but
``options``, and entries and snapshots are made of ``shared``, so members never come to differ.
"""

from __future__ import annotations

from dataclasses import replace

from sentinel_py.core import own_scripts
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Master, Options, OptionValue
from sentinel_py.core.turn import Turn

# What tells members what to expect of each other must be the same on all, and so must the names
# that the servers' commands have.
FIELDS = {
    "down-after-milliseconds": "down_after_ms",
    "failover-timeout": "failover_timeout_ms",
    "parallel-syncs": "parallel_syncs",
    "quorum": "quorum",
    "notification-script": "notification_script",
    "client-reconfig-script": "client_reconfig_script",
    "auth-pass": "auth_pass",
    "auth-user": "auth_user",
    "master-reboot-down-after-period": "reboot_down_after_ms",
    "primary-reboot-down-after-period": "reboot_down_after_ms",
}
"""The options that may be overridden, with their fields in ``Options``."""

_NAMES = {field: name for name, field in reversed(FIELDS.items())}  # the first one for each


def share(turn: Turn, master: Master, shared: Options) -> None:
    """Replace the options that all members have; what is overridden here stays so."""
    master.shared = shared
    _take_effect(turn, master)


def override(turn: Turn, master: Master, overrides: dict[str, OptionValue]) -> None:
    """Replace the overrides: values by fields of the options."""
    master.overrides = overrides
    _take_effect(turn, master)


def _take_effect(turn: Turn, master: Master) -> None:
    old, new = master.options, in_effect(master)
    master.options = new
    if (old.auth_user, old.auth_pass) != (new.auth_user, new.auth_pass):
        for node in master.data_nodes():
            turn.close_links(node)
    for instance in master.instances():
        turn.touch(instance)
    say_denied_scripts(turn, master)


def say_denied_scripts(turn: Turn, master: Master) -> None:
    """Say once of each path that another member has named that it is not run here."""
    denied = own_scripts.denied(turn.state, master)
    for name, path in denied.items():
        if master.told_scripts.get(name) != path:
            text = f"#{name} {path} is not run: this sentinel's own file does not name it"
            turn.notice(Level.WARNING, "+script-denied", master, text)
    master.told_scripts = denied


def in_effect(master: Master) -> Options:
    if not master.overrides:
        return master.shared
    options = replace(master.shared)
    for field, value in master.overrides.items():
        setattr(options, field, value)
    return options


def overridden(master: Master) -> dict[str, OptionValue]:
    """What is overridden, by the names of the options."""
    return {_NAMES[field]: value for field, value in master.overrides.items()}
