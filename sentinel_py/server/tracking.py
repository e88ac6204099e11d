"""CLIENT TRACKING: checked and remembered as redis-sentinel does, without effect.

A Sentinel has no keys, so there is nothing to track; but client libraries switch it on and ask for
it.
"""

# ruff: noqa: ARG001 (handlers share one signature)
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sentinel_py.resp import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Set, parse_integer, to_text
from sentinel_py.server.commands import Answer
from sentinel_py.values import dataclass

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

_MODES = (b"bcast", b"optin", b"optout", b"noloop")

# A client names a few prefixes; they are kept as long as it stays, and compared with each new one.
MAX_PREFIXES = 100


@dataclass(frozen=True, slots=True)
class Tracking:
    """The options with which a client switched tracking on."""

    redirect: int = 0
    modes: frozenset[bytes] = frozenset()
    prefixes: tuple[bytes, ...] = ()
    caching: bool = False


def client_tracking(session: Session, args: list[bytes]) -> Answer:
    options = _parse_options(session, args[3:])
    if isinstance(options, Error):
        return options
    match args[2].lower():
        case b"on":
            known = session.tracking.prefixes if session.tracking else ()
            if len(known) + len(options.prefixes) > MAX_PREFIXES:
                return Error("ERR too many prefixes")
            if problem := _incompatibility(session.tracking, options):
                return Error(f"ERR {problem}")
            session.tracking = replace(options, prefixes=known + options.prefixes)
        case b"off":
            session.tracking = None
        case _:
            return SYNTAX_ERROR
    return OK


def _parse_options(session: Session, words: list[bytes]) -> Tracking | Error:
    redirect = 0
    modes: set[bytes] = set()
    prefixes: list[bytes] = []
    rest = iter(words)
    for option in map(bytes.lower, rest):
        value = next(rest, None) if option in (b"redirect", b"prefix") else None
        if option in _MODES:
            modes.add(option)
        elif value is None:
            return SYNTAX_ERROR
        elif option == b"prefix":
            prefixes.append(value)
        elif redirect:
            return Error("ERR A client can only redirect to a single other client")
        else:
            target = parse_integer(value)
            if target is None:
                return NOT_AN_INTEGER
            if target not in session.server.clients:
                return Error("ERR The client ID you want redirect to does not exist")
            redirect = target
    return Tracking(redirect, frozenset(modes), tuple(prefixes))


def _incompatibility(now: Tracking | None, wanted: Tracking) -> str | None:
    """Why these options cannot be switched on, in the order in which redis-sentinel looks."""
    modes = wanted.modes
    if wanted.prefixes and b"bcast" not in modes:
        return "PREFIX option requires BCAST mode to be enabled"
    if now is not None and (b"bcast" in now.modes) != (b"bcast" in modes):
        return (
            "You can't switch BCAST mode on/off before disabling tracking for this client, and "
            "then re-enabling it with a different mode."
        )
    if b"bcast" in modes and modes & {b"optin", b"optout"}:
        return "OPTIN and OPTOUT are not compatible with BCAST"
    if {b"optin", b"optout"} <= modes:
        return "You can't specify both OPTIN mode and OPTOUT mode"
    if now is not None and {b"optin", b"optout"} <= modes | now.modes:
        return (
            "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and "
            "then re-enabling it with a different mode."
        )
    return _overlap(now.prefixes if now else (), wanted.prefixes)


def _overlap(known: tuple[bytes, ...], wanted: tuple[bytes, ...]) -> str | None:
    for index, prefix in enumerate(wanted):
        for other in known:
            if _is_prefix(prefix, other):
                return (
                    f"Prefix '{to_text(prefix)}' overlaps with an existing prefix "
                    f"'{to_text(other)}'. Prefixes for a single client must not overlap."
                )
        for other in wanted[index + 1 :]:
            if _is_prefix(prefix, other):
                return (
                    f"Prefix '{to_text(prefix)}' overlaps with another provided prefix "
                    f"'{to_text(other)}'. Prefixes for a single client must not overlap."
                )
    return None


def _is_prefix(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


def client_caching(session: Session, args: list[bytes]) -> Answer:
    if session.tracking is None:
        return Error(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN "
            "or OPTOUT mode enabled"
        )
    needed = {b"yes": b"optin", b"no": b"optout"}.get(args[2].lower())
    if needed is None:
        return SYNTAX_ERROR
    if needed not in session.tracking.modes:
        answer, mode = to_text(args[2]).upper(), to_text(needed).upper()
        return Error(
            f"ERR CLIENT CACHING {answer} is only valid when tracking is enabled in {mode} mode."
        )
    session.tracking = replace(session.tracking, caching=True)
    return OK


def client_getredir(session: Session, args: list[bytes]) -> Answer:
    return session.tracking.redirect if session.tracking else -1


def client_trackinginfo(session: Session, args: list[bytes]) -> Answer:
    tracking = session.tracking
    return {
        "flags": Set(_flags(tracking) if tracking else ["off"]),
        "redirect": tracking.redirect if tracking else -1,
        "prefixes": sorted(tracking.prefixes) if tracking else [],
    }


def _flags(tracking: Tracking) -> list[str]:
    flags = ["on"]
    for mode in _MODES:
        if mode in tracking.modes:
            flags.append(mode.decode())
            caching = {b"optin": "caching-yes", b"optout": "caching-no"}.get(mode)
            if caching and tracking.caching:
                flags.append(caching)
    return flags
