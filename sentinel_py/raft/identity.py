"""Which cluster this sentinel belongs to, on disk: ``<dir>/raft-<port>/identity``.

The journal and the snapshot lie beside it. The rule guarded: an id is bound to its journal. What
the file says is on disk before anybody is told, and a file that makes no sense ends the start: a
member that forgot its votes must not come back under the same id.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from sentinel_py.raft import records
from sentinel_py.storage import LOCAL, cause

_FILE_NAME = "identity"
_VERSION = 1
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


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

    ``founders`` are the ids that a new journal begins with. ``by_order`` tells that the cluster was
    formed by SENTINEL RAFT FORM, so that until it exists the sentinel works in classic mode.
    """

    phase: Phase
    run_id: str
    cluster: str
    founders: tuple[str, ...]
    addresses: dict[str, str]
    joins: bool = False  # is added to a running cluster, and learns from its leader first
    by_order: bool = False

    def at(self, phase: Phase) -> Identity:
        return replace(self, phase=phase)


class Folder:
    """The directory of one sentinel's Raft files."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = os.path.join(path, _FILE_NAME)

    def load(self) -> Identity | None:
        """What is on disk; None if this sentinel never was in a cluster."""
        try:
            text = LOCAL.read_text(self._file)
        except FileNotFoundError:
            self._check_empty()
            return None
        except OSError as error:
            raise IdentityError(f"Can't read {self._file}: {cause(error)}") from None
        try:
            return _identity(text)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IdentityError(
                f"{self._file} is damaged. Restore it, or remove {self.path} and have this "
                "sentinel removed from its Raft cluster and added again."
            ) from None

    def save(self, identity: Identity) -> None:
        """Put it on disk for good; raises SaveError or OSError."""
        os.makedirs(self.path, _FOLDER_MODE, exist_ok=True)
        record = {"version": _VERSION, **asdict(identity)}
        LOCAL.write_atomically(self._file, json.dumps(record, indent=1) + "\n")
        os.chmod(self._file, _FILE_MODE)

    def clear(self) -> None:
        """Forget everything at once, so that no journal is ever left without an identity."""
        discarded = f"{self.path}.discarded"
        shutil.rmtree(discarded, ignore_errors=True)
        if os.path.exists(self.path):
            os.rename(self.path, discarded)
            shutil.rmtree(discarded, ignore_errors=True)

    def _check_empty(self) -> None:
        """A journal without an identity is half of a backup."""
        try:
            names = [name for name in os.listdir(self.path) if not name.startswith(_FILE_NAME)]
        except FileNotFoundError:
            return
        if names:
            raise IdentityError(
                f"{self.path} has {names[0]}, but no {_FILE_NAME}. Restore that file, or remove "
                "the directory and have this sentinel removed from its Raft cluster and added again."
            )


def _identity(text: str) -> Identity:
    record = json.loads(text)
    if record.pop("version") != _VERSION:
        raise ValueError("another version")
    identity = records.read(Identity, record, {"Phase": Phase})
    if identity.phase not in _STORED:
        raise ValueError("no such phase")
    return identity
