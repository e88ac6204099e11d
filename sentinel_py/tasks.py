"""Tasks that cannot fail unseen: the one place where they are made.

asyncio keeps no more than a weak reference to a task, and tells what one has raised when the task
is collected, if nobody has asked by then. So each has an owner who keeps it, and what it raises
comes to the loop's exception handler at once (`faults`). A test holds that tasks are made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def spawn(
    work: Coroutine[Any, Any, T], owned: set[asyncio.Task[T]] | None = None
) -> asyncio.Task[T]:
    """Run this beside everything else. It is in ``owned`` until it ends, so that it can be ended.

    Who awaits it himself keeps what is returned.
    """
    kept = _KEPT if owned is None else owned

    def ended(task: asyncio.Task[T]) -> None:
        kept.discard(task)
        if not task.cancelled():
            task.result()

    return begin(work, ended, kept)


def begin(
    work: Coroutine[Any, Any, T],
    ended: Callable[[asyncio.Task[T]], None],
    owned: set[asyncio.Task[T]] | None = None,
) -> asyncio.Task[T]:
    """Run this beside everything else; ``ended`` looks at what it has come to."""
    task = asyncio.get_running_loop().create_task(work)
    kept = _KEPT if owned is None else owned
    kept.add(task)
    task.add_done_callback(kept.discard)
    task.add_done_callback(ended)
    return task


_KEPT: set[asyncio.Task[Any]] = set()
