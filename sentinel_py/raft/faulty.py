"""Log entries that have ended the process, on disk: ``<dir>/raft-<port>/faulty``.

A bug that an entry brings to light ends the process, and the entry is there again after the
restart: all members would be started for ever, and nobody could be asked for a master. So an entry
that has done this twice is skipped from then on, which every member with the same bug comes to. Not
at the first time: what one member alone has met must not make its state another one than theirs.

Only the process itself writes here, while it ends; what cannot be read counts for nothing.
"""

from __future__ import annotations

import json

from sentinel_py.raft.disk import Disk

TIMES = 2
"""An entry that has ended the process so often is not applied any more."""

ENTRIES_MAX = 16
"""Entries that are remembered; more come from no bug, and older ones are in a snapshot by then."""

_NAME, _NEW_NAME = "faulty", "faulty.new"


class FaultyEntries:
    """How often entries have ended the process, by index."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._counts = self._load()

    def is_skipped(self, index: int) -> bool:
        return self._counts.get(index, 0) >= TIMES

    def count(self, index: int) -> None:
        """Note that this entry has ended the process once more, or raise OSError."""
        others = {it: times for it, times in self._counts.items() if it != index}
        others[index] = self._counts.get(index, 0) + 1
        self._counts = dict(list(others.items())[-ENTRIES_MAX:])
        text = json.dumps({str(it): times for it, times in self._counts.items()})
        self._disk.create(_NEW_NAME)
        self._disk.append(_NEW_NAME, text.encode() + b"\n")
        self._disk.sync(_NEW_NAME)
        self._disk.rename(_NEW_NAME, _NAME)
        self._disk.sync_dir()

    def _load(self) -> dict[int, int]:
        try:
            known = json.loads(self._disk.read(_NAME))
            return {int(index): int(times) for index, times in known.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}
