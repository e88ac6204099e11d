"""The config file as it is saved: here and now, or aside while the loop goes on; and what is said.

The rule guarded: whatever is saved last is what stays in the file, however long each one took.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from sentinel_py.config.lines import Line
from sentinel_py.config.rewrite import ConfigFile
from sentinel_py.config.state_file import StateFile
from sentinel_py.core.messages import Level
from sentinel_py.storage import LOCAL, SaveError
from sentinel_py.worker import Worker

WARNING_MS = 10_000
"""While saves fail, a line of the log says so no more often than this."""

_IN_PLACE = (
    "{path} is written in place, as nothing can be renamed over it ({why}). "
    "sentinel state-dir <directory> leaves it alone."
)

Lines: TypeAlias = tuple[Iterable[Line], Iterable[str]]
"""Those of the sentinel, and its users as ACL LIST shows them."""


class Saving:
    """Saves of one file; ``log`` gets what there is to say."""

    def __init__(
        self,
        file: ConfigFile | StateFile,
        log: Callable[[Level, str], None],
        now: Callable[[], int],
    ) -> None:
        self._file = file
        self._log = log
        self._now = now
        self._warned_at: int | None = None
        self._is_in_place = False
        self._lock = threading.Lock()
        self._number = self._saved_number = 0
        self._worker = Worker("config file")

    def save(self, lines: Lines) -> None:
        """Rewrite the file, or raise SaveError."""
        try:
            self._job(lines)()
        except SaveError as error:
            self._tell_failed(error)
            raise
        self._tell_saved()

    def save_aside(self, lines: Lines, done: Callable[[SaveError | None], None]) -> None:
        """Rewrite the file; go on, and tell when it is done."""

        def ended(error: BaseException | None) -> None:
            if error is None:
                self._tell_saved()
            elif isinstance(error, SaveError):
                self._tell_failed(error)
            else:
                raise error
            done(error)

        try:
            job = self._job(lines)
        except SaveError as error:
            ended(error)
        else:
            self._worker.begin(job, ended)

    def close(self) -> None:
        """End when what was begun is on disk, or its disk does not answer."""
        self._worker.close()

    def _job(self, lines: Lines) -> Callable[[], None]:
        write = self._file.rewriting(*lines)
        self._number = number = self._number + 1

        def job() -> None:
            # What was begun later may have been written before, if this was begun aside.
            with self._lock:
                if number > self._saved_number:
                    write()
                    self._saved_number = number

        return job

    def _tell_saved(self) -> None:
        self._warned_at = None
        self._log(Level.NOTICE, "Sentinel new configuration saved on disk")
        path = self._file.path
        why = LOCAL.why_in_place(path)
        if why and not self._is_in_place:
            self._is_in_place = True
            self._log(Level.NOTICE, _IN_PLACE.format(path=path, why=why))

    def _tell_failed(self, error: SaveError) -> None:
        now = self._now()
        if self._warned_at is not None and now < self._warned_at + WARNING_MS:
            return
        self._warned_at = now
        self._log(
            Level.WARNING,
            "WARNING: Sentinel was not able to save the new configuration on disk!!!: "
            f"{error.reason}",
        )
