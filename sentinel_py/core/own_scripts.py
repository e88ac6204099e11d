"""Scripts: which of them this sentinel may run.

The path of a script is shared by the members of a Raft cluster, so whoever can order one of them
could name a program for all. A sentinel runs a script only if its own file names the very same path
for this master, if an order to this sentinel alone has set it (which its `deny-scripts-reconfig`
has to allow), or if its own `deny-scripts-reconfig` is `no`. Any other path is kept, as all members
have it, is not run, and is said.
"""

from __future__ import annotations

from dataclasses import replace

from sentinel_py.core.model import Master, Options, State

FIELDS = {
    "notification-script": "notification_script",
    "client-reconfig-script": "client_reconfig_script",
}
"""The options that name a script, with their fields in `Options`."""


def to_run(state: State, master: Master, field: str) -> str | None:
    """Return the path that is to be run, if there is one and it may be."""
    path: str | None = getattr(master.options, field)
    if not path:
        return None
    is_own = field in master.overrides or master.own_scripts.get(field) == path
    return path if is_own or not state.settings.deny_scripts_reconfig else None


def denied(state: State, master: Master) -> dict[str, str]:
    """Return the paths that are kept and not run, by option."""
    paths = {name: getattr(master.options, field) for name, field in FIELDS.items()}
    return {
        name: path
        for name, path in paths.items()
        if path and to_run(state, master, FIELDS[name]) is None
    }


def as_named(master: Master) -> Options:
    """Return the shared options with those paths that this sentinel's own operator has named."""
    paths = {field: master.own_scripts.get(field) for field in FIELDS.values()}
    if all(getattr(master.shared, field) == path for field, path in paths.items()):
        return master.shared
    options = replace(master.shared)
    for field, path in paths.items():
        setattr(options, field, path)
    return options


def name_own(master: Master, options: Options) -> None:
    """Take the paths in these options for those that this sentinel's own operator has named."""
    paths = {field: getattr(options, field) for field in FIELDS.values()}
    master.own_scripts = {field: path for field, path in paths.items() if path}
