"""What a sentinel keeps on disk for Raft: its identity, its journal, and the directory of both.

The rule guarded: at each point of a crash the directory says what is there: nothing, a promise, or
all of a member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from sentinel_py.raft import journal
from sentinel_py.raft.disk import Disk, FolderInUseError
from sentinel_py.raft.identity import Identity, IdentityError, IdentityFile, Phase
from sentinel_py.storage import cause


class RaftError(Exception):
    """The Raft files cannot be used; one line for the operator."""


class Storage(Protocol):
    """Where the files are, once there are any."""

    @property
    def name(self) -> str: ...
    def exists(self) -> bool: ...
    def open(self) -> Disk:
        """Always the same disk, made when it is first opened."""

    def close(self) -> None: ...


class Clock(Protocol):
    """Who takes note of how long the loop has waited for a disk."""

    def now(self) -> int: ...
    def held_up(self, ms: int) -> None: ...


@contextmanager
def waiting_for_disk(clock: Clock) -> Iterator[None]:
    """Have it noted how long this takes."""
    began_at = clock.now()
    try:
        yield
    finally:
        clock.held_up(clock.now() - began_at)


class Files:
    """The files of one sentinel. Failures to write go to ``complain``, and are False.

    What waits for the disk does so within ``waiting``.
    """

    def __init__(
        self,
        storage: Storage,
        complain: Callable[[str], None],
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._storage = storage
        self._complain = complain
        self._waiting = waiting
        self.identity = self._load()

    def _load(self) -> Identity | None:
        if not self._storage.exists():
            return None
        try:
            return IdentityFile(self.disk).load()
        except (IdentityError, FolderInUseError) as error:
            raise RaftError(f"{self._storage.name}: {error}") from None

    @property
    def name(self) -> str:
        return self._storage.name

    @property
    def disk(self) -> Disk:
        return self._storage.open()

    def keep(self, identity: Identity) -> bool:
        """Whether this identity is on disk now."""
        if self._wrote(lambda: IdentityFile(self.disk).save(identity)):
            self.identity = identity
            return True
        return False

    def keep_member(self, identity: Identity) -> bool:
        """Whether a member is on disk now: first the promise, then its journal, then the rest."""
        before = self.identity
        if (
            self.keep(identity.at(Phase.PREPARED))
            and self._wrote(lambda: self._make_journal(identity))
            and self.keep(identity)
        ):
            return True
        if before is None:
            self.forget()
        return False

    def _make_journal(self, identity: Identity) -> None:
        if journal.exists(self.disk):
            self.disk.remove(journal.NAME)  # of an attempt that came no further: nothing used it
        journal.create(self.disk, identity.run_id, identity.founders)

    def forget(self) -> None:
        self._wrote(lambda: IdentityFile(self.disk).clear())
        self.identity = None

    def close(self) -> None:
        self._storage.close()

    def _wrote(self, write: Callable[[], None]) -> bool:
        try:
            with self._waiting():
                write()
        except OSError as error:
            self._complain(f"Raft: {self.name} cannot be written: {cause(error)}")
            return False
        return True
