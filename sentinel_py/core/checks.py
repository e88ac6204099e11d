"""What a value has to be before it is kept, whoever says it.

An operator's order, an entry of the Raft log, a snapshot and the config file bring the same values,
and each goes through the same checks here. They are pure functions of the value, so all members
come to the same verdict. The rule guarded: what passes can be written into the config file and read
back, and is no instruction to whoever prints it or hands it to a program.

Who may say something is no question of this module.
"""

from __future__ import annotations

import re

from sentinel_py.core.model import MAX_EPOCH, Address
from sentinel_py.core.roster import numeric_ip

NAME_MAX_BYTES = 4096
"""The name of a master; a member's report of a longer one would not fit into its message."""

TEXT_MAX_BYTES = 16 * 1024
"""Any other text. The longest in use are tokens of cloud providers in place of a password, of some
3 KB; user, password and scripts of a master have to fit into one log entry together."""

HOST_MAX_BYTES = 256
"""Host names are shorter than this."""

ID_MAX_LENGTH = 40
"""The id of a sentinel, or of a member of the Raft cluster."""

PORT_MAX = 65535

INT_MAX = 2**31 - 1
"""The greatest number of an option: redis-sentinel reads more from its file as something else."""

RENAMES_MAX = 256
"""Renamed commands of a master; a sentinel says a dozen different ones."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ID = re.compile(rf"[0-9A-Za-z_.:-]{{1,{ID_MAX_LENGTH}}}")


class InvalidError(Exception):
    """A value that must not be kept; the text says why."""


def has_control(text: str) -> bool:
    """Return whether a character is one by C's ``iscntrl``."""
    return _CONTROL.search(text) is not None


def is_storable(text: str) -> bool:
    """Return whether the text comes back from a file as it is.

    Bytes that are no UTF-8 stand in text as surrogates of their own. Others have no bytes, and
    neither have those that would become a character beside their neighbours.
    """
    if text.isascii():
        return True
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return data.decode("utf-8", "surrogateescape") == text


def storable(text: str) -> str:
    """Return the text with question marks for what no file can hold."""
    if is_storable(text):
        return text
    return "".join(it if not "\ud800" <= it <= "\udfff" else "?" for it in text)


def check_text(text: str, what: str, limit: int = TEXT_MAX_BYTES) -> None:
    """Refuse what cannot be kept, has control characters, or is too long."""
    if not is_storable(text):
        raise InvalidError(f"{what} is no text that a file can hold")
    if has_control(text):
        raise InvalidError(f"{what} has control characters")
    if len(text.encode("utf-8", "surrogateescape")) > limit:
        raise InvalidError(f"{what} has more than {limit} bytes")


def check_name(name: str) -> None:
    """Refuse a master's name that a script could take for an option, or that is no plain text."""
    check_text(name, "The name of a master", NAME_MAX_BYTES)
    if name.startswith("-"):
        raise InvalidError("The name of a master begins with '-', as options of programs do")


def check_id(text: str) -> None:
    """Refuse what cannot be the id of a sentinel."""
    if not _ID.fullmatch(text):
        raise InvalidError("an id is none")


def check_number(number: int, what: str, minimum: int = 0, maximum: int = INT_MAX) -> None:
    if not minimum <= number <= maximum:
        raise InvalidError(f"{what} is not between {minimum} and {maximum}")


def check_epoch(epoch: int, minimum: int = 0) -> None:
    check_number(epoch, "an epoch", minimum, MAX_EPOCH)


def check_address(address: Address, port_minimum: int = 0) -> None:
    """Refuse an address without a host, with a port out of range, or with an ip that is none.

    The ip is empty where the host is a name that has none just now.
    """
    host = address.host
    check_text(host, "a host", HOST_MAX_BYTES)
    if not host or any(it.isspace() for it in host):
        raise InvalidError("a host is empty or has blanks")
    check_number(address.port, "a port", port_minimum, PORT_MAX)
    stands_for = numeric_ip(host)
    is_ip = numeric_ip(address.ip) == address.ip or not address.ip
    if not is_ip or (stands_for is not None and stands_for != address.ip):
        raise InvalidError("an ip is none, or not what the host stands for")
