"""The write of the journal that is under way, and until when its member is believed to be well.

While the disk works the member rests: it takes nothing in and computes nothing, since whatever it
would say rests on what is not on disk yet. That it is alive does not. So a leader goes on with its
heartbeats meanwhile, and a follower answers them with what it has acknowledged anyway: nobody whose
disk needs a second for a sync is taken for dead.

The rule guarded: one write at a time, settled in a step; and a disk that hangs makes its member
silent after `PATIENCE_MS`, so that the others go on without it.
"""

from __future__ import annotations

from collections.abc import Callable

from sentinel_py.raft.disk import Disk
from sentinel_py.raft.journal import Write

PATIENCE_MS = 3_000
"""The longest sync behind which a leader stays one. A leader that cannot write decides nothing, so
this is what a disk that hangs for ever adds to a failover."""


class Writing:
    """One write after the other. ``wake`` is called when a step is due, since one has ended."""

    def __init__(self, disk: Disk, clock: Callable[[], int], wake: Callable[[], None]) -> None:
        self._disk = disk
        self._clock = clock
        self._wake = wake
        self._write: Write | None = None
        self._has_ended = False
        self._is_beginning = False
        self._error: BaseException | None = None
        self._began_at = 0
        self.took_ms = 0
        """The longest write, forgotten slowly; at most `PATIENCE_MS`."""

    @property
    def is_under_way(self) -> bool:
        """Whether the disk has not said yet what became of it."""
        return self._write is not None and not self._has_ended

    @property
    def late_at(self) -> int:
        """From when on a write that is under way takes too long."""
        return self._began_at + PATIENCE_MS

    def is_late(self) -> bool:
        return self.is_under_way and self._clock() >= self.late_at

    def begin(self, write: Write) -> None:
        assert self._write is None, "one write at a time"
        self._write, self._has_ended = write, False
        self._began_at = self._clock()
        self._is_beginning = True
        self._disk.begin(write.job, self._ended)
        self._is_beginning = False

    def settle(self) -> bool:
        """Settle a write that has ended; whether there was one. Raises what its job has raised."""
        if self._write is None or not self._has_ended:
            return False
        write, self._write = self._write, None
        if self._error is not None:
            raise self._error
        write.settle()
        return True

    def _ended(self, error: BaseException | None) -> None:
        self._has_ended, self._error = True, error
        took_ms = min(self._clock() - self._began_at, PATIENCE_MS)
        self.took_ms = max(took_ms, self.took_ms * 7 // 8)
        if not self._is_beginning:
            self._wake()
