"""What nobody expected: found wherever it is raised, and told apart from what others do to us.

A bug leaves a part of the program undone, for good and without a word: a master that is never
looked at again, a timer that does not ring. So it ends the process, with its trace in the log, for
whatever supervises it to start it anew; a sentinel knows from its files what it has promised. The
rule guarded: no callback, task or thread fails unseen. What a connection's end brings about, and
what aiohttp's own tasks come to, is told and ends nothing.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

EXIT = 70
"""The exit status of a process that ends for a bug: EX_SOFTWARE of sysexits.h."""

PACKAGE = __name__.partition(".")[0]

_LOOPS = ("asyncio", "uvloop")
_OTHERS = ("aiohttp",)
"""Libraries with tasks and timers of their own, on which no failover waits."""

Context = dict[str, Any]
Failed = Callable[[BaseException], None]


def watch(loop: asyncio.AbstractEventLoop, failed: Failed, tell: Callable[[str], None]) -> None:
    """Have ``failed`` called with each bug that comes to the loop, or that ends a thread.

    Of everything else that comes to the loop, ``tell`` gets the lines for the log.
    """

    def handle(_loop: asyncio.AbstractEventLoop, context: Context) -> None:
        error = bug_in(context)
        if error is not None:
            failed(error)
            return
        for line in told(context):
            tell(line)

    def thread_failed(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        if error is not None and not loop.is_closed():
            loop.call_soon_threadsafe(failed, error)

    loop.set_exception_handler(handle)
    threading.excepthook = thread_failed


def bug_in(context: Context) -> BaseException | None:
    """The exception that ends us; None if the loop tells of something else."""
    error: BaseException | None = context.get("exception")
    if error is None:
        return None
    is_connections = "transport" in context or "protocol" in context or "socket" in context
    if is_connections and isinstance(error, OSError):
        return None
    return None if _began_in(error) in _OTHERS else error


def is_our_work(context: Context) -> bool:
    """Whether what has raised was begun by us, in a loop that others use as well.

    A program that calls us with what we do not take has its own code at the top of the trace.
    """
    error: BaseException | None = context.get("exception")
    return error is not None and _began_in(error) == PACKAGE


def _began_in(error: BaseException) -> str:
    """The package whose callback or task it was; empty if its first line was never reached."""
    trace = error.__traceback__
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _LOOPS:
            return package
        trace = trace.tb_next
    return ""


def told(context: Context) -> Iterator[str]:
    """What the loop says, as lines of a log."""
    yield str(context.get("message") or "Unhandled error in the event loop")
    if error := context.get("exception"):
        yield from trace_of(error)


def trace_of(error: BaseException) -> Iterator[str]:
    for part in traceback.format_exception(error):
        yield from part.rstrip("\n").split("\n")
