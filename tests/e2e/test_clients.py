"""Stock client libraries: made once before a failover, and writing on after it.

All of them live through the same failovers of one cluster. The clients of npm are looked for where
scripts/test has put them.
"""

import asyncio
import os
import select
import shutil
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff

from sentinel_py.local import HOST, Sandbox, eventually

from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    PATIENCE,
    Listener,
    ask,
    start_cluster,
    start_sentinels,
    watch,
)
from .watched import Watched

SCRIPT = Path(__file__).parent / "clients" / "client.js"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
NPM = CACHE / "sentinel_py" / "npm"
ANSWER_WITHIN_S = 60


class SyncClient:
    """redis-py."""

    def __init__(self, places, protocol):
        options = {**PATIENCE, "protocol": protocol}
        self._entry = redis.Sentinel(places, sentinel_kwargs=options, **options)
        self._master = self._entry.master_for(NAME)

    def set(self, key, value):
        return self._master.set(key, value)

    def close(self):
        for client in (self._master, *self._entry.sentinels):
            client.close()


class AsyncClient:
    """The asyncio half of redis-py."""

    def __init__(self, places, protocol):
        patience = {"socket_timeout": 2, "retry": AsyncRetry(NoBackoff(), 0)}
        options = {**patience, "protocol": protocol}
        self._runner = asyncio.Runner()
        self._entry = redis.asyncio.Sentinel(places, sentinel_kwargs=options, **options)
        self._master = self._entry.master_for(NAME)

    def set(self, key, value):
        return self._runner.run(self._set(key, value))

    async def _set(self, key, value):
        return await self._master.set(key, value)

    def close(self):
        self._runner.run(self._close())
        self._runner.close()

    async def _close(self):
        for client in (self._master, *self._entry.sentinels):
            await client.aclose()


class NpmClient:
    """A client in a process of its own, told by lines what to do."""

    def __init__(self, places, kind):
        words = ["node", str(SCRIPT), kind, NAME, *(str(port) for _, port in places)]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "NODE_PATH": str(NPM / "node_modules")},
        )

    def set(self, key, value):
        return self._ask("set", key, value) == "OK"

    def where(self):
        """The port of the Redis that it is connected to; asking sends nothing there."""
        return int(self._ask("where"))

    def close(self):
        self._process.kill()
        self._process.communicate()

    def _ask(self, *words):
        self._process.stdin.write(f"{' '.join(words)}\n".encode())
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_WITHIN_S)
        assert ready, f"no answer to {words}"
        return self._process.stdout.readline().decode().strip()


CLIENTS = {
    "redis-py, RESP2": lambda places: SyncClient(places, 2),
    "redis-py, RESP3": lambda places: SyncClient(places, 3),
    "redis-py asyncio, RESP2": lambda places: AsyncClient(places, 2),
    "redis-py asyncio, RESP3": lambda places: AsyncClient(places, 3),
    "ioredis": lambda places: NpmClient(places, "ioredis"),
    "node-redis": lambda places: NpmClient(places, "node-redis"),
}
HAS_NPM = bool(shutil.which("node")) and (NPM / "installed.json").exists()
NO_NPM = "needs node and npm: scripts/test installs the clients"


@pytest.fixture(scope="module")
def watched(program):
    """One cluster and three sentinels for all tests here."""
    with Sandbox() as box:
        cluster = start_cluster(box)
        yield Watched(cluster, start_sentinels(box, watch(cluster), program))


def places(watched):
    return [(HOST, sentinel.port) for sentinel in watched.sentinels]


@pytest.fixture(scope="module")
def failed_over(watched):
    """All clients that can be had here, after the loss of the master on which they have written."""
    names = [name for name in CLIENTS if HAS_NPM or name.startswith("redis-py")]
    with ExitStack() as stack:
        clients = {n: stack.enter_context(closing(CLIENTS[n](places(watched)))) for n in names}
        for name, client in clients.items():
            eventually(lambda c=client, n=name: c.set(key_of(n), "before"), FAILOVER_WITHIN_MS)
        watched.lose_master()
        yield clients


def key_of(name):
    return name.replace(" ", "-")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_writes_on_after_a_failover(watched, failed_over, name):
    """It comes to the new master by itself; nobody has to make it anew."""
    if name not in failed_over:
        pytest.skip(NO_NPM)
    eventually(lambda: failed_over[name].set(key_of(name), "after"), FAILOVER_WITHIN_MS)
    assert ask(watched.master, "GET", key_of(name)) == "after"


@pytest.mark.skipif(not HAS_NPM, reason=NO_NPM)
def test_a_failover_detector_leaves_a_master_that_hangs(watched):
    """The old master keeps the connection open for ever: only +switch-master moves the client.

    Not with a master that is gone: ioredis gives up for good when it hears of the switch while it
    is about to connect, whoever the sentinels are.
    """
    others = [subscribers(sentinel) for sentinel in watched.sentinels]
    with closing(NpmClient(places(watched), "ioredis with failoverDetector")) as client:
        assert client.set("key", "before")
        for sentinel, before in zip(watched.sentinels, others, strict=True):
            eventually(lambda s=sentinel, b=before: subscribers(s) > b)
        old = watched.master
        old.pause()
        eventually(lambda: client.where() not in (0, old.port), FAILOVER_WITHIN_MS)
        assert client.where() == watched.master.port != old.port
        assert client.set("key", "after")
    old.resume()
    watched.wait_for_order()


def subscribers(sentinel):
    return len(ask(sentinel, "CLIENT", "LIST", "TYPE", "pubsub").splitlines())


# redis-py's own methods ---------------------------------------------------------------------------

SPARE = "spare"


@pytest.fixture(params=[(False, 2), (False, 3), (True, 2), (True, 3)], ids=str)
async def call(request, watched):
    """Call a `sentinel_*` method of redis-py, sync or asyncio, with RESP2 or RESP3."""
    is_async, protocol = request.param
    kind = redis.asyncio.Redis if is_async else redis.Redis
    client = kind(
        host=HOST, port=watched.sentinels[0].port, protocol=protocol, decode_responses=True
    )

    async def call(method, *args):
        reply = getattr(client, f"sentinel_{method}")(*args)
        return await reply if is_async else reply

    yield call
    if is_async:
        await client.aclose()
    else:
        client.close()


async def test_the_methods_that_ask(watched, call):
    """Rows come as dictionaries with numbers and flags taken apart."""
    port = watched.master.port
    row = (await call("masters"))[NAME]
    assert (row["ip"], row["port"], row["num-slaves"], row["quorum"]) == (HOST, port, 2, 2)
    assert row["is_master"] is True
    assert row["is_odown"] is False
    assert (await call("master", NAME))["name"] == NAME
    replicas = await call("slaves", NAME)
    assert {one["port"] for one in replicas} == {s.port for s in watched.cluster.servers} - {port}
    assert all(one["is_slave"] and one["master-port"] == port for one in replicas)
    peers = await call("sentinels", NAME)
    assert {one["port"] for one in peers} == {s.port for s in watched.sentinels[1:]}
    assert await call("get_master_addr_by_name", NAME) == (HOST, port)
    assert await call("get_master_addr_by_name", "nobody") is None


async def test_the_methods_that_change(call):
    """A master is added, configured, and removed again."""
    assert await call("monitor", SPARE, HOST, 1, 1) is True
    assert await call("set", SPARE, "down-after-milliseconds", 5000) is True
    assert (await call("master", SPARE))["down-after-milliseconds"] == 5000
    with pytest.raises(redis.ResponseError, match=r"^NOGOODSLAVE "):
        await call("failover", SPARE)
    assert await call("flushconfig") is True
    assert await call("remove", SPARE) is True
    with pytest.raises(redis.ResponseError, match=r"No such master with that name"):
        await call("remove", SPARE)


# What Lettuce looks for in the texts of what it hears ---------------------------------------------

LETTUCE = {
    "+elected-leader": lambda text: text.startswith(f"master {NAME} "),
    "+reset-master": lambda text: text.startswith(f"master {NAME} "),
    "+slave": lambda text: f"@ {NAME} " in text,
    "+convert-to-slave": lambda text: f"@ {NAME} " in text,
    "+role-change": lambda text: f"@ {NAME} " in text,
    "+sdown": lambda text: f"@ {NAME} " in text or text.startswith(f"master {NAME} "),
    "-sdown": lambda text: f"@ {NAME} " in text,
    "+switch-master": lambda text: text.startswith(f"{NAME} "),
    "+sentinel": lambda text: text.startswith("sentinel "),
}


def test_the_texts_that_lettuce_takes_apart(watched):
    """It matches beginnings and middles with a blank behind the name; then it asks again."""
    with ExitStack() as stack:
        ears = [stack.enter_context(closing(Listener(one))) for one in watched.sentinels]
        watched.lose_master()
        assert ask(watched.sentinels[0], "SENTINEL", "RESET", NAME) == 1
        watched.wait_for_order()
        watched.sentinels[1].pause()
        ears[0].wait("+sdown", "sentinel ")
        watched.sentinels[1].resume()
        assert f"@ {NAME} " in ears[0].wait("-sdown", "sentinel ")
        heard = [notice for one in ears for notice in one.heard()]
    assert LETTUCE.keys() - {name for name, _ in heard} == set()
    assert not [(name, text) for name, text in heard if name in LETTUCE and not LETTUCE[name](text)]
