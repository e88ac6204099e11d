"""A sentinel inside this process: what the program around it sees, decides, and is spared."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from sentinel_py import Sentinel, SentinelError, Switch, Verdict, links
from sentinel_py.core import detector
from sentinel_py.core.messages import Level, Notice
from sentinel_py.embed import STREAM_MAX, Endpoint, Notices
from sentinel_py.local import (
    HOST,
    as_async,
    eventually_async,
    monitor,
    raft_peers,
    wait_ready_async,
)
from sentinel_py.server.server import Server

from .group import NAME, ask, follows
from .members import raft, status

EXAMPLE = Path(__file__).parents[2] / "examples" / "embedded.py"
TIMING = {"down-after-milliseconds": 500, "failover-timeout": 2000}
PATIENCE_S = 30


class Port(NamedTuple):
    """Where the sentinel in this process listens, for who asks it from another thread."""

    port: int


def events_of(server):
    return [row[2] for row in ask(server, "SENTINEL", "EVENTS")]


@pytest.fixture
async def servers(sandbox):
    """A master and a replica."""
    master = sandbox.redis()
    replica = sandbox.redis(replica_of=master)
    await wait_ready_async([master, replica])
    await eventually_async(as_async(lambda: follows(replica, master)))
    return master, replica


@pytest.fixture
def write(sandbox, servers):
    """Write a config file that watches the master alone, or with these lines."""
    folder = sandbox.folder / "elsewhere"
    folder.mkdir()

    def to(*lines, port=None):
        path = sandbox.folder / "embedded.conf"
        watched = monitor(NAME, servers[0], quorum=1, options=TIMING)
        head = [f"port {port or sandbox.port()}", f"bind {HOST}", f'dir "{folder}"']
        path.write_text("\n".join([*head, *watched, *lines, ""]))
        return path

    return to


async def knows_replica(sentinel):
    """Wait until a failover could begin."""

    async def known():
        return sentinel.master(NAME).replicas

    return await eventually_async(known)


async def fails_over(sentinel):
    """Order a failover; it is refused as long as nothing is known of the replica but its name."""
    try:
        await sentinel.failover(NAME)
    except SentinelError:
        return False
    return True


async def first(stream):
    async with asyncio.timeout(PATIENCE_S):
        return await anext(stream)


async def test_it_watches_and_tells(write, servers):
    """Masters as values, notices as a stream, each switch to an after-hook."""
    master, replica = servers
    switches = asyncio.Queue()
    sentinel = Sentinel(write())
    sentinel.after_failover(switches.put)
    async with sentinel:
        (seen,) = sentinel.masters()
        assert seen.endpoint == Endpoint(HOST, master.port)
        assert (seen.quorum, seen.sentinels, seen.is_down) == (1, 1, False)
        await knows_replica(sentinel)
        downs, everything = sentinel.notices("+sdown"), sentinel.notices()
        master.kill()
        assert (await first(downs)).master == NAME
        async with asyncio.timeout(PATIENCE_S):
            switch = await switches.get()
        assert switch == Switch(NAME, Endpoint(HOST, master.port), Endpoint(HOST, replica.port))
        assert sentinel.master(NAME).endpoint.port == replica.port
        assert (await first(everything)).name == "+sdown"
    names = [notice.name async for notice in everything]
    assert names.index("+odown") < names.index("+switch-master")


async def test_it_is_a_sentinel_like_any_other(write, sandbox):
    """Clients find it on its port; a SHUTDOWN of theirs ends it, and not the program."""
    port = sandbox.port()
    sentinel = Sentinel(write(), "--port", str(port))
    async with sentinel:
        assert await asyncio.to_thread(ask, Port(port), "SENTINEL", "MYID") == sentinel.myid
        stream = sentinel.notices("+sdown")
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"SHUTDOWN\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await sentinel.wait()
        writer.close()
    assert [notice async for notice in stream] == []


async def test_a_veto_keeps_the_master(write, servers):
    """The hook is asked before anything starts, and again after failover-timeout."""
    asked = []

    async def before(status):
        asked.append(status)
        return len(asked) > 1

    sentinel = Sentinel(write())
    sentinel.before_failover(before)
    async with sentinel:
        await knows_replica(sentinel)
        stream = sentinel.notices("-failover-vetoed", "+try-failover", "+switch-master")
        servers[0].kill()
        assert (await first(stream)).name == "-failover-vetoed"
        assert asked[0].is_agreed_down
        assert (await first(stream)).name == "+try-failover"
        assert (await first(stream)).name == "+switch-master"
    assert len(asked) == 2


class Stubborn:
    """Hooks that don't answer, or not well."""

    @staticmethod
    async def hangs(_status):
        await asyncio.Event().wait()

    @staticmethod
    async def hangs_on(_status):
        for _ in range(3):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    @staticmethod
    async def says_no(_status):
        return False

    @staticmethod
    async def fails(_status):
        raise RuntimeError("no idea")

    @staticmethod
    def fails_at_once(_status):
        raise RuntimeError("no idea")


@pytest.mark.parametrize("hook", ["hangs", "hangs_on", "fails", "fails_at_once"])
@pytest.mark.parametrize("verdict", Verdict)
async def test_no_answer_is_what_the_caller_said(write, servers, hook, verdict):
    """After the time limit, or when the hook fails."""
    sentinel = Sentinel(write())
    sentinel.before_failover(getattr(Stubborn, hook), within_s=0.1, on_timeout=verdict)
    async with sentinel:
        await knows_replica(sentinel)
        stream = sentinel.notices("-failover-vetoed", "+switch-master")
        servers[0].kill()
        expected = "+switch-master" if verdict is Verdict.CONSENT else "-failover-vetoed"
        assert (await first(stream)).name == expected


async def test_an_after_hook_that_fails_or_hangs_is_the_programs_affair(write, servers, caplog):
    """It is logged; the sentinel goes on, and ends without waiting for it."""
    sentinel = Sentinel(write())
    sentinel.after_failover(Stubborn.fails)
    sentinel.after_failover(Stubborn.hangs)
    async with sentinel:
        await knows_replica(sentinel)
        stream = sentinel.notices("+failover-end")
        await eventually_async(lambda: fails_over(sentinel))
        assert (await first(stream)).master == NAME
        with pytest.raises(SentinelError, match="No such master"):
            await sentinel.failover("nobody")
    assert "An after-hook for mymaster failed" in caplog.text


async def test_in_a_raft_cluster_the_leaders_hook_decides(write, sandbox, servers):
    """What the leader's program forbids does not begin, and the others know it."""
    us, *ports = (sandbox.port() for _ in range(3))
    cluster = raft_peers([us, *ports])
    lines = [*monitor(NAME, servers[0], options=TIMING), cluster]
    others = [sandbox.sentinel(lines, port=port) for port in ports]
    await wait_ready_async(others)
    sentinel = Sentinel(write(cluster, port=us))
    sentinel.before_failover(Stubborn.says_no)

    async def leads():
        leading = (await asyncio.to_thread(status, Port(us))).get("has_lease") == "1"
        if not leading:
            await asyncio.to_thread(raft, others[0], "TRANSFER", f"{HOST}:{us}")
        return leading

    async with sentinel:
        await eventually_async(leads)
        await knows_replica(sentinel)
        stream = sentinel.notices("-failover-vetoed", "+switch-master")
        servers[0].kill()
        assert (await first(stream)).name == "-failover-vetoed"
        await eventually_async(as_async(lambda: "-failover-vetoed" in events_of(others[0])))


async def test_what_is_the_programs_stays_its_own(write, servers, sandbox, capfd):
    """Signals, the working directory, standard output and files of the process."""
    before = [signal.getsignal(it) for it in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    folder = os.getcwd()
    pidfile = sandbox.folder / "pid"
    async with Sentinel(write(f"pidfile {pidfile}", "daemonize yes")) as sentinel:
        await knows_replica(sentinel)
        assert os.getcwd() == folder
        assert not pidfile.exists()
        after = [signal.getsignal(it) for it in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        assert after == before
    assert capfd.readouterr().out == ""


async def test_what_cannot_start_says_why(write, sandbox):
    """One clear text; the port is free again, and another try may follow."""
    port = sandbox.port()
    with pytest.raises(SentinelError, match="No such master"):
        await Sentinel(write("sentinel parallel-syncs nobody 1")).start()
    with pytest.raises(SentinelError, match="config file"):
        await Sentinel(sandbox.folder / "missing.conf").start()
    with pytest.raises(SentinelError, match="not started"):
        Sentinel(write()).masters()
    async with Sentinel(write(port=port)) as first_one:
        with pytest.raises(SentinelError, match="started already"):
            await first_one.start()
        with pytest.raises(SentinelError, match=str(port)):
            await Sentinel(write(port=port)).start()
    async with Sentinel(write(port=port)):
        pass


async def test_a_stream_that_nobody_reads_is_bounded():
    """The oldest notices are dropped, and counted."""
    stream = Notices(())
    for number in range(STREAM_MAX + 3):
        stream.put(Notice(Level.WARNING, "+sdown", str(number)))
    stream.close()
    texts = [notice.text async for notice in stream]
    assert (stream.missed, texts[0], len(texts)) == (3, "3", STREAM_MAX)


async def test_the_example_runs(write, servers, sandbox):
    """As the documentation has it: vetoed during maintenance, then done and told."""
    master, replica = servers
    (sandbox.folder / "maintenance").touch()
    path, log = write(), sandbox.folder / "example.log"
    with log.open("wb") as out:
        program = subprocess.Popen(
            [sys.executable, EXAMPLE, path], cwd=sandbox.folder, stdout=out, stderr=out
        )
    try:
        await eventually_async(as_async(lambda: f"{NAME}: {HOST}:{master.port}" in log.read_text()))
        await eventually_async(as_async(lambda: f"known-replica {NAME}" in path.read_text()))
        master.kill()
        await eventually_async(as_async(lambda: "no failover during" in log.read_text()))
        (sandbox.folder / "maintenance").unlink()
        done = f"{NAME}: {master.port} -> {replica.port}"
        await eventually_async(as_async(lambda: done in log.read_text()))
    finally:
        program.send_signal(signal.SIGINT)
        program.wait(PATIENCE_S)
    assert "Traceback" not in log.read_text()


def test_the_package_alone_is_cheap_to_import():
    """A version number does not load a server."""
    code = "import sys, sentinel_py; print(len([it for it in sys.modules if 'sentinel_py' in it]))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "1"


# A bug of ours -----------------------------------------------------------------------------------


def raise_once(monkeypatch, owner, name):
    """Let this function of ours raise from now on, with a trace that begins in it."""
    error = AssertionError("a bug")

    def wrong(*_args, **_options):
        raise error

    namespace = {"__name__": owner.__module__ if isinstance(owner, type) else owner.__name__}
    made = eval("lambda wrong: lambda *args, **options: wrong()", namespace)(wrong)
    monkeypatch.setattr(owner, name, made)
    return error


@pytest.mark.parametrize(
    ("owner", "name"),
    [(detector, "_check_down"), (Server, "_keep_house"), (links.ReplyReader, "read")],
    ids=["the core", "a timer", "a link"],
)
async def test_a_bug_ends_the_sentinel_and_not_the_program(write, monkeypatch, caplog, owner, name):
    """The program is told by `wait`, streams end, and another sentinel may take its place."""
    path = write()
    handled = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: handled.append(context))
    sentinel = Sentinel(path)
    await sentinel.start()
    await knows_replica(sentinel)
    notices = sentinel.notices()
    with monkeypatch.context() as patch:
        error = raise_once(patch, owner, name)
        async with asyncio.timeout(PATIENCE_S):
            assert [notice async for notice in notices if notice.name == "+switch-master"] == []
            with pytest.raises(SentinelError, match="has ended for a bug") as caught:
                await sentinel.wait()
    assert caught.value.__cause__ is error
    with pytest.raises(SentinelError):
        sentinel.master(NAME)
    with pytest.raises(SentinelError):
        await sentinel.stop()
    assert "AssertionError: a bug" in caplog.text
    async with Sentinel(path) as another:
        await knows_replica(another)
    # What it did not handle itself came to the program, too; and the program's handler is back.
    assert {id(it["exception"]) for it in handled} <= {id(error)}
    loop.call_exception_handler({"message": "of the program"})
    assert handled[-1]["message"] == "of the program"
    loop.set_exception_handler(None)


async def test_leaving_the_block_tells_of_a_bug(write, monkeypatch):
    """But it does not hide what the program has raised itself."""

    async def run(ending):
        async with Sentinel(write()) as sentinel:
            raise_once(monkeypatch, detector, "_check_down")
            async for _ in sentinel.notices():
                pass
            ending()

    with pytest.raises(SentinelError, match="a bug"):
        await run(lambda: None)
    monkeypatch.undo()
    with pytest.raises(ZeroDivisionError):
        await run(lambda: 1 / 0)


async def test_a_verdict_that_cannot_be_read_is_a_hook_that_failed(servers, write):
    """A failover does not wait for ever for what `bool` makes of it."""

    class Verdictless:
        def __bool__(self):
            raise ZeroDivisionError

    async def hook(_master):
        return Verdictless()

    sentinel = Sentinel(write())
    sentinel.before_failover(hook, within_s=PATIENCE_S)
    async with sentinel, asyncio.timeout(PATIENCE_S):
        await knows_replica(sentinel)
        notices = sentinel.notices("+switch-master")
        servers[0].kill()
        assert await anext(notices)
