"""Look-ups of host names, real ones and such that hang until the test lets them go."""

import asyncio
import subprocess
import sys
import threading

import pytest

from sentinel_py import resolver as resolver_module
from sentinel_py.core.messages import Resolved
from sentinel_py.local import as_async, eventually_async
from sentinel_py.resolver import MAX_LOOKUPS, Resolver, is_numeric, resolve_now

HUNG = """
import asyncio, threading
from sentinel_py.resolver import Resolver

async def main():
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look_up(host):
        loop.call_soon_threadsafe(started.set)
        threading.Event().wait()

    Resolver(print, look_up).resolve("host")
    await started.wait()

asyncio.run(main())
"""


class SlowNames:
    """A resolver library whose answers come when the test says so."""

    def __init__(self):
        self.asked = []
        self._answers = {}

    def __call__(self, host):
        gate = self._answers.setdefault(host, [threading.Event(), None])
        self.asked.append(host)
        assert gate[0].wait(10)
        del self._answers[host]
        return gate[1]

    def answer(self, host, ip):
        self._answers[host][1] = ip
        self._answers[host][0].set()

    def release(self):
        for gate, _ in list(self._answers.values()):
            gate.set()


@pytest.fixture
def names():
    names = SlowNames()
    yield names
    names.release()


@pytest.fixture
def seen():
    return []


@pytest.fixture
def soon(monkeypatch):
    """Make the deadline short."""
    monkeypatch.setattr(resolver_module, "DEADLINE_S", 0.05)


async def holds(condition):
    await eventually_async(as_async(condition), 5000)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"]
)
def test_addresses_are_numeric(host):
    """IPv4 and IPv6 addresses need no look-up."""
    assert is_numeric(host)


@pytest.mark.parametrize(
    "host", ["", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.4 ", "1.2.3.4%eth0", "\0", "é", "\ud800"]
)
def test_names_are_not_numeric(host):
    """Anything else is a name, or nothing at all."""
    assert not is_numeric(host)


def test_resolve_now():
    """The blocking look-up knows names and addresses, and is calm about everything else."""
    assert resolve_now("localhost") in ("127.0.0.1", "::1")
    assert resolve_now("127.0.0.1") == "127.0.0.1"
    assert resolve_now("::1") == "::1"
    for nothing in ("", "no.such.host.invalid", "x" * 300, "a..b", "a\0b", "\ud800"):
        assert resolve_now(nothing) is None


async def test_a_real_name(seen):
    """A name is looked up beside the loop; the answer never comes before resolve returns."""
    Resolver(seen.append).resolve("localhost")
    assert seen == []
    await holds(lambda: seen)
    assert seen == [Resolved("localhost", resolve_now("localhost"))]


async def test_one_look_up_per_host(names, seen):
    """Whoever asks for a name that is being looked up shares its answer."""
    resolver = Resolver(seen.append, names)
    for _ in range(3):
        resolver.resolve("a")
    await holds(lambda: names.asked)
    names.answer("a", "10.0.0.1")
    await holds(lambda: seen)
    resolver.resolve("a")
    await holds(lambda: names.asked == ["a", "a"])
    assert seen == [Resolved("a", "10.0.0.1")]


async def test_deadline(names, seen, soon):
    """A name that takes too long has no address for now; its late answer still counts."""
    resolver = Resolver(seen.append, names)
    resolver.resolve("a")
    await holds(lambda: seen)
    resolver.resolve("a")
    await holds(lambda: len(seen) == 2)
    assert names.asked == ["a"]
    names.answer("a", "10.0.0.1")
    await holds(lambda: len(seen) == 3)
    assert seen == [Resolved("a", None), Resolved("a", None), Resolved("a", "10.0.0.1")]


async def test_late_no_is_not_repeated(names, seen, soon):
    """That a name has no address is said once per question."""
    resolver = Resolver(seen.append, names)
    resolver.resolve("a")
    await holds(lambda: seen)
    names.answer("a", None)
    resolver.resolve("b")
    await holds(lambda: Resolved("b", None) in seen)
    assert seen == [Resolved("a", None), Resolved("b", None)]


async def test_threads_are_bounded(names, seen):
    """When all threads hang, names wait; the next thread that comes free serves the oldest."""
    resolver = Resolver(seen.append, names)
    hosts = [f"h{number}" for number in range(MAX_LOOKUPS + 3)]
    for host in hosts:
        resolver.resolve(host)
    await holds(lambda: len(names.asked) == MAX_LOOKUPS)
    names.answer("h5", "10.0.0.5")
    await holds(lambda: len(names.asked) > MAX_LOOKUPS)
    assert set(names.asked) == set(hosts[: MAX_LOOKUPS + 1])
    assert seen == [Resolved("h5", "10.0.0.5")]


async def test_waiting_names_have_a_deadline_too(names, seen, soon):
    """Behind threads that hang, a name is answered in time, and forgotten."""
    resolver = Resolver(seen.append, names)
    hosts = [f"h{number}" for number in range(MAX_LOOKUPS + 1)]
    for host in hosts:
        resolver.resolve(host)
    await holds(lambda: len(seen) == len(hosts))
    names.answer("h0", "10.0.0.0")
    await holds(lambda: len(seen) == len(hosts) + 1)
    assert hosts[-1] not in names.asked


async def test_questions_are_bounded(names, seen, monkeypatch):
    """A flood of names is refused at once, but not from within resolve."""
    monkeypatch.setattr(resolver_module, "MAX_QUESTIONS", 2)
    resolver = Resolver(seen.append, names)
    for host in "abc":
        resolver.resolve(host)
    assert seen == []
    await holds(lambda: seen)
    assert seen == [Resolved("c", None)]


def test_a_hung_look_up_does_not_hold_the_process():
    """The process ends although the resolver library does not return."""
    subprocess.run([sys.executable, "-c", HUNG], check=True, timeout=10)


async def test_loop_ends_first(names):
    """An answer that finds its loop closed is dropped without a trace."""
    failures = []
    hook, threading.excepthook = threading.excepthook, failures.append
    try:
        threads = set(threading.enumerate())

        async def ask():
            Resolver(lambda _: None, names).resolve("a")

        await asyncio.to_thread(asyncio.run, ask())
        (thread,) = {t for t in threading.enumerate() if t.daemon} - threads
        await holds(lambda: names.asked)
        names.answer("a", "10.0.0.1")
        thread.join(5)
        assert not thread.is_alive()
    finally:
        threading.excepthook = hook
    assert failures == []
