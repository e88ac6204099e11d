"""Tasks: kept until they end, and what they raise is seen at once."""

import asyncio
import gc

import pytest

from sentinel_py.local import as_async, eventually_async
from sentinel_py.tasks import begin, spawn


@pytest.fixture
async def seen():
    """What comes to the loop's exception handler."""
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    yield contexts
    loop.set_exception_handler(None)


async def fail(error):
    await asyncio.sleep(0)
    raise error


async def test_what_a_task_raises_is_seen_although_it_is_kept(seen):
    """Not only when it is collected, which may be never."""
    error = ZeroDivisionError()
    task = spawn(fail(error))
    await eventually_async(as_async(lambda: seen))
    assert [it["exception"] for it in seen] == [error]
    assert task.done()


async def test_a_task_that_nobody_keeps_is_not_collected(seen):
    """It runs to its end."""
    done = asyncio.Event()

    async def work():
        for _ in range(3):
            await asyncio.sleep(0)
            gc.collect()
        done.set()

    spawn(work())
    async with asyncio.timeout(5):
        await done.wait()
    assert not seen


async def test_tasks_are_with_their_owner_until_they_end(seen):
    """Who ends can end them; a cancelled one has failed in nothing."""
    owned = set()
    first, second = spawn(asyncio.sleep(0), owned), spawn(asyncio.sleep(60), owned)
    assert owned == {first, second}
    await eventually_async(as_async(lambda: owned == {second}))
    second.cancel()
    await eventually_async(as_async(lambda: not owned))
    assert not seen


async def test_who_looks_at_the_outcome_is_not_spared_what_he_does_not_expect(seen):
    """What ``ended`` raises comes to the handler, too."""
    outcomes = []

    def ended(task):
        outcomes.append(task)
        task.result()

    error = ZeroDivisionError()
    task = begin(fail(error), ended)
    await eventually_async(as_async(lambda: seen))
    assert outcomes == [task]
    assert [it["exception"] for it in seen] == [error]
