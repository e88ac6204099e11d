"""A thread for what a disk may take a second for, so that the loop goes on meanwhile.

The rule guarded: jobs are done one after the other, in the order in which they were given, and each
one's end is told by the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

CLOSE_WITHIN_S = 5.0
"""What the end of the process waits for a job; a disk that hangs longer is left alone with it."""

Job: TypeAlias = Callable[[], None]
Ended: TypeAlias = Callable[[BaseException | None], None]
"""Gets what a job has raised."""


class Worker:
    """A thread that does one job after the other, and tells the loop that gave it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Job, Ended] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, job: Job, ended: Ended) -> None:
        """Have a job done; ``ended`` is called by the running loop afterwards."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            # A daemon: a disk that hangs must not keep the process from its end.
            self._thread = threading.Thread(
                target=self._work, args=[loop], name=self._name, daemon=True
            )
            self._thread.start()
        self._jobs.put((job, ended))

    def close(self) -> bool:
        """End after the job that is under way; False if it does not end."""
        if self._thread is None:
            return True
        self._jobs.put(None)
        self._thread.join(CLOSE_WITHIN_S)
        return not self._thread.is_alive()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (task := self._jobs.get()) is not None:
            job, ended = task
            error: BaseException | None = None
            try:
                job()
            except BaseException as raised:  # whoever gave the job raises it
                error = raised
            # A loop that is closed has nobody any more who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended, error)
