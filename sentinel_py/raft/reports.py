"""What a member sees of a master, told to the other members: bytes of a message, and back.

It travels on the proven stream between two members, in a frame of the engine's kind. Who says it is
whom the stream has proved, and is not in the message. The rule guarded: what decodes has a name of
a bounded length and numbers in their range; a name that we do not watch changes nothing.
"""

from __future__ import annotations

import struct

from sentinel_py.core.messages import DownReport, Tell
from sentinel_py.resp import ProtocolError

# The first byte tells it from the codec's messages, which begin with their version, 1, and from
# those about contact, which begin with 255.
_MARK = 254
_HEAD = struct.Struct("!BBQ")  # 254, flags, config epoch; the name follows
_IS_DOWN, _HAS_REPLICA = 1, 2

NAME_MAX_BYTES = 4096
"""No command line is longer that a person types; a longer name is not reported."""


def is_about(message: bytes) -> bool:
    """Return whether these bytes are a report, or mean to be one."""
    return message[:1] == b"\xfe"


def encode(effect: Tell) -> bytes:
    """Return the message; empty for a name that is too long for one."""
    name = effect.master.encode("utf-8", "surrogateescape")
    if len(name) > NAME_MAX_BYTES:
        return b""
    flags = _IS_DOWN * effect.down | _HAS_REPLICA * effect.has_replica
    return _HEAD.pack(_MARK, flags, effect.config_epoch) + name


def decode(run_id: str, message: bytes) -> DownReport:
    """Return what the member with this id says; ProtocolError if it is no report."""
    if not _HEAD.size < len(message) <= _HEAD.size + NAME_MAX_BYTES:
        raise ProtocolError("no report")
    _, flags, config_epoch = _HEAD.unpack_from(message)
    name = message[_HEAD.size :].decode("utf-8", "surrogateescape")
    if flags & ~(_IS_DOWN | _HAS_REPLICA):
        raise ProtocolError("no report")
    return DownReport(run_id, name, config_epoch, bool(flags & 1), bool(flags & _HAS_REPLICA))
