"""Which exceptions are bugs, and how they are found."""

import asyncio
import threading

import pytest

from sentinel_py import faults
from sentinel_py.local import as_async, eventually_async


@pytest.fixture
async def watched():
    """The bugs and the lines that a watch over this loop has come to."""
    loop = asyncio.get_running_loop()
    before = threading.excepthook
    bugs, lines = [], []
    faults.watch(loop, bugs.append, lines.append)
    yield bugs, lines
    threading.excepthook = before
    loop.set_exception_handler(None)


def fail(error):
    raise error


def raised(error, package="sentinel_py"):
    """This exception, with a trace that begins in a module of that package."""
    name = f"{package}.some.module"
    with pytest.raises(type(error)) as caught:
        eval("fail(error)", {"__name__": name, "fail": fail, "error": error})
    error = caught.value
    # Without the frame of this test.
    return error.with_traceback(error.__traceback__.tb_next)


async def test_a_callback_a_timer_and_a_thread_are_seen(watched):
    """Each exception comes once."""
    bugs, lines = watched
    loop = asyncio.get_running_loop()
    errors = [ZeroDivisionError() for _ in range(3)]
    loop.call_soon(fail, errors[0])
    loop.call_later(0.001, fail, errors[1])
    thread = threading.Thread(target=fail, args=(errors[2],))
    thread.start()
    await eventually_async(as_async(lambda: len(bugs) == 3))
    thread.join()
    assert set(map(id, bugs)) == set(map(id, errors))
    assert not lines


CONNECTION = {"transport": None, "protocol": None}


@pytest.mark.parametrize(
    ("error", "context", "is_bug"),
    [
        (raised(AssertionError()), {}, True),
        (raised(AssertionError()), CONNECTION, True),
        (raised(OSError()), {}, True),
        (raised(OSError()), CONNECTION, False),
        (raised(ConnectionResetError()), CONNECTION, False),
        (raised(OSError()), {"socket": None}, False),
        (raised(AssertionError(), "aiohttp"), {}, False),
        (raised(AssertionError(), "somebody"), {}, True),
        (TypeError(), {}, True),
    ],
)
def test_what_is_a_bug(error, context, is_bug):
    """A connection that breaks is none; what cannot even be called is one."""
    assert faults.bug_in({"message": "m", "exception": error, **context}) is (
        error if is_bug else None
    )


async def test_what_is_no_bug_is_told_with_its_trace(watched):
    """It is in the log, and ends nothing."""
    bugs, lines = watched
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "A socket was not closed"})
    loop.call_exception_handler(
        {"message": "It broke", "exception": raised(OSError("no way")), **CONNECTION}
    )
    assert not bugs
    assert lines[:2] == ["A socket was not closed", "It broke"]
    assert lines[-1] == "OSError: no way"
    assert not [line for line in lines if "\n" in line]


def test_our_work_in_the_loop_of_a_program():
    """Who calls us with what we do not take has failed himself."""
    ours, theirs = raised(KeyError()), raised(KeyError(), "program")
    assert faults.is_our_work({"exception": ours})
    assert not faults.is_our_work({"exception": theirs})
    assert not faults.is_our_work({"message": "nothing of anybody"})
