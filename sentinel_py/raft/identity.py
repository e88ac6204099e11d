"""Which cluster this sentinel belongs to, on disk: ``<dir>/raft-<port>/identity``.

The journal and the snapshot lie beside it. The rule guarded: an id is bound to its journal. What
the file says is on disk before anybody is told, and a file that makes no sense ends the start: a
member that forgot its votes must not come back under the same id.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from enum import StrEnum

from sentinel_py.core import records
from sentinel_py.raft import journal
from sentinel_py.raft.addresses import is_address
from sentinel_py.raft.disk import Disk
from sentinel_py.storage import cause
from sentinel_py.values import dataclass

_NAME = "identity"
_NEW_NAME = "identity.new"
_VERSION = 1
_ADVICE = (
    "Restore it from this very sentinel, or empty the directory and have this sentinel removed "
    "from its Raft cluster and added again."
)


class Phase(StrEnum):
    """How far a sentinel is on its way into a cluster, and out of it."""

    CLASSIC = "classic"  # no Raft: nothing is listed, nothing on disk
    SEEKING = "seeking"  # listed peers are being looked for
    PREPARED = "prepared"  # has agreed to a cluster, and does not know whether it exists
    MEMBER = "member"
    REMOVED = "removed"


_STORED = (Phase.PREPARED, Phase.MEMBER, Phase.REMOVED)


class IdentityError(Exception):
    """What is on disk cannot be used; one line for the operator."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``addresses`` by id: all members that we know of, ourselves included.

    ``founders`` are the members that the cluster began with: every journal starts from them.
    ``founder`` has formed it. ``by_order`` tells that it did so by SENTINEL RAFT FORM, and that
    until the cluster exists this sentinel works in classic mode.
    """

    phase: Phase
    run_id: str
    cluster: str
    founder: str
    founders: tuple[str, ...]
    addresses: dict[str, str]
    by_order: bool = False

    def at(self, phase: Phase) -> Identity:
        return replace(self, phase=phase)


class IdentityFile:
    """The file on a disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def load(self) -> Identity | None:
        """What is on disk; None if this sentinel never was in a cluster."""
        try:
            text = self._disk.read(_NAME)
        except FileNotFoundError:
            if journal.exists(self._disk):
                raise IdentityError(f"there is a journal, but no file {_NAME}. {_ADVICE}") from None
            return None
        except OSError as error:
            raise IdentityError(f"{_NAME} cannot be read: {cause(error)}") from None
        try:
            identity = _identity(text)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise IdentityError(f"the file {_NAME} is damaged. {_ADVICE}") from None
        if identity.phase is Phase.MEMBER and not journal.exists(self._disk):
            raise IdentityError(f"the journal is missing. {_ADVICE}")
        return identity

    def save(self, identity: Identity) -> None:
        """Put it on disk for good, or raise OSError."""
        disk = self._disk
        record = {"version": _VERSION, **asdict(identity)}
        disk.create(_NEW_NAME)
        disk.append(_NEW_NAME, json.dumps(record, indent=1).encode() + b"\n")
        disk.sync(_NEW_NAME)
        disk.rename(_NEW_NAME, _NAME)
        disk.sync_dir()

    def clear(self) -> None:
        """Forget everything; the journal first, so that it is never left without its id."""
        for name in (journal.NAME, _NAME):
            if self._has(name):
                self._disk.remove(name)
        self._disk.sync_dir()

    def _has(self, name: str) -> bool:
        try:
            self._disk.read(name)
        except FileNotFoundError:
            return False
        return True


def _identity(text: bytes) -> Identity:
    record = json.loads(text)
    if record.pop("version") != _VERSION:
        raise ValueError("another version")
    identity = records.read(Identity, record, {"Phase": lambda value: Phase(str(value))})
    if identity.phase not in _STORED:
        raise ValueError("no such phase")
    # An address that is none was believed by an earlier version; it is asked for again.
    known = {it: at if is_address(at) else "" for it, at in identity.addresses.items()}
    return replace(identity, addresses=known)
