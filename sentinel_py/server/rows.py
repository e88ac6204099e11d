"""The reply to SENTINEL MASTERS, for those who watch hundreds of masters and ask often.

What a row says is the business of ``views.master_row``. Of what it said last, only the fields that
never stand still are written anew: 2 us for a row, where making and encoding one takes 20 us. The
rule guarded: the bytes are those that encoding the views would give.
"""

from __future__ import annotations

from operator import attrgetter

from sentinel_py.core import views
from sentinel_py.core.model import Master, State
from sentinel_py.resp import RESP2, RESP3, Raw, encode

KNOWN_NUMBERS = 16_384
"""Ages in ms: most are below those of a ping, or of an INFO."""

_MOVING = (
    "link-pending-commands",
    "last-ping-sent",
    "last-ok-ping-reply",
    "last-ping-reply",
    "info-refresh",
    "role-reported-time",
)
# What the moving fields are made of, in their order.
_moments = attrgetter(
    *("command.pending", "command.ping_since", "command.ok_at", "command.heard_at"),
    *("info_at", "role_at"),
)
# All else that the row of a healthy master is made of. Options are replaced, and never changed.
_facts = attrgetter(
    *("address", "run_id", "role", "config_epoch", "options", "command.state", "channel.state"),
    *("script_killed", "rebooted_at"),
)

Parts = tuple[bytes, ...]
"""A row's bytes in front of, between and behind the moving fields."""

Known = dict[str, tuple[tuple[object, ...], Parts]]


class MasterRows:
    """Rows as they were, by protocol and name of the master."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {RESP2: {}, RESP3: {}}
        self._names_hosts = False

    def reply(self, state: State, now: int, protocol: int) -> Raw:
        known = self._known[protocol]
        names_hosts = state.settings.announce_hostnames
        if len(known) > len(state.masters) or self._names_hosts != names_hosts:
            self._names_hosts = names_hosts
            self._forget()
        pieces = [b"*%d\r\n" % len(state.masters)]
        for master in state.masters.values():
            if master.is_down or master.is_odown or master.failover is not None:
                pieces.append(encode(dict(views.master_row(state, master, now)), protocol))
            else:
                pieces += _filled(_parts(state, master, now, protocol, known), master, now)
        return Raw(b"".join(pieces))

    def _forget(self) -> None:
        for known in self._known.values():
            known.clear()


def _parts(state: State, master: Master, now: int, protocol: int, known: Known) -> Parts:
    facts = (*_facts(master), len(master.replicas), len(master.peers))
    before, parts = known.get(master.name, ((), ()))
    if before != facts:
        parts = _split(views.master_row(state, master, now), protocol)
        known[master.name] = facts, parts
    return parts


def _split(row: views.Row, protocol: int) -> Parts:
    assert tuple(name for name, _ in row if name in _MOVING) == _MOVING
    parts = [encode(dict(row), protocol).partition(b"$")[0]]
    for name, value in row:
        parts[-1] += encode(name, protocol)
        if name in _MOVING:
            parts.append(b"")
        else:
            parts[-1] += encode(value, protocol)
    return tuple(parts)


def _filled(parts: Parts, master: Master, now: int) -> Parts:
    pending, ping_since, ok_at, heard_at, info_at, role_at = _moments(master)
    before, sent, answered, heard, read, reported, behind = parts
    return (
        before,
        _numbers[pending],
        sent,
        _numbers[0 if ping_since is None else now - ping_since],
        answered,
        _numbers[now - ok_at],
        heard,
        _numbers[now - heard_at],
        read,
        _numbers[0 if info_at is None else now - info_at],
        reported,
        _numbers[now - role_at],
        behind,
    )


class _Numbers(dict[int, bytes]):
    """Numbers as rows have them; a look-up costs a third of one in an ``lru_cache``."""

    def __missing__(self, number: int) -> bytes:
        if len(self) >= KNOWN_NUMBERS:
            self.clear()
        encoded = self[number] = encode(str(number), RESP2)
        return encoded


_numbers = _Numbers()
