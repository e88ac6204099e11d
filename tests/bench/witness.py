"""A failover seen from outside: what sentinels publish and answer, and what clients can write.

Instants are seconds of the monotonic clock, which all processes of a machine share. Clients are
processes of their own, so that what they do takes nothing from the one that measures.
"""

import asyncio
import contextlib
import multiprocessing
import time

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from sentinel_py.local import HOST

ASK_EVERY_S = 0.002
WRITE_EVERY_S = 0.005
CLIENT_TIMEOUT_S = 0.1

# Without the client's own waits, which are far longer than what is measured.
_PATIENCE = {"socket_timeout": CLIENT_TIMEOUT_S, "retry": Retry(NoBackoff(), 0)}


class _Reader(asyncio.Protocol):
    """A connection that speaks first, and takes replies one by one."""

    def __init__(self):
        self.reader = hiredis.Reader()
        self.is_lost = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        at = time.monotonic()
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.take(reply, at)

    def connection_lost(self, exc):
        self.is_lost = True


class Listener(_Reader):
    """Every notice of one sentinel, with the instant of its arrival."""

    def __init__(self):
        super().__init__()
        self.notices = []

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(b"PSUBSCRIBE *\r\n")

    def take(self, reply, at):
        if reply[0] == b"pmessage":
            self.notices.append((at, reply[2].decode(), reply[3].decode()))


class Asker(_Reader):
    """Asks one sentinel for the master, again and again, until it names another."""

    def __init__(self, name, old_port):
        super().__init__()
        self._query = f"SENTINEL GET-MASTER-ADDR-BY-NAME {name}\r\n".encode()
        self._old_port = str(old_port).encode()
        self.switched_at = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._ask()

    def _ask(self):
        if not self.is_lost:
            self.transport.write(self._query)

    def take(self, reply, at):
        if reply[1] != self._old_port:
            self.switched_at = at
        else:
            asyncio.get_running_loop().call_later(ASK_EVERY_S, self._ask)

    @property
    def is_done(self):
        return self.is_lost or self.switched_at is not None


async def connect(ports, make):
    """One connection of this kind to each port."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(make, HOST, port) for port in ports]
    return [protocol for _, protocol in made]


class Worker:
    """A process beside the one that measures; it says when it is ready, and ends with the block."""

    def __init__(self, work, *arguments):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.greeting = None
        self._process = context.Process(target=work, args=(theirs, *arguments), daemon=True)

    def __enter__(self):
        self._process.start()
        self.greeting = self.pipe.recv()
        return self

    @property
    def pid(self):
        return self._process.pid

    def __exit__(self, *_):
        self._process.kill()
        self._process.join()


def write_through_sentinel(pipe, ports, name, old_port):
    """Write to whom redis-py's Sentinel finds; tell when another than the old one acknowledges."""
    sentinel = Sentinel([(HOST, port) for port in ports], sentinel_kwargs=_PATIENCE)
    client = sentinel.master_for(name, **_PATIENCE)
    client.set("first", "write")
    pipe.send("ready")
    while True:
        with contextlib.suppress(redis.RedisError):
            client.set("first", "write")
            acknowledged_at = time.monotonic()
            if client.connection_pool.master_address[1] != old_port:
                pipe.send(acknowledged_at)
                return
        time.sleep(WRITE_EVERY_S)


def write_to_one(pipe, port):
    """Write to one server, come what may; when asked to end, tell which were acknowledged."""
    client = redis.Redis(HOST, port, **_PATIENCE)
    acknowledged = []
    number = 0
    while not pipe.poll(WRITE_EVERY_S):
        number += 1
        with contextlib.suppress(redis.RedisError):
            client.set(f"write:{number}", number)
            acknowledged.append(number)
            if number == 1:
                pipe.send("ready")
    pipe.send(acknowledged)
