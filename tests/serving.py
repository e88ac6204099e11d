"""A real server on loopback with a node that does nothing, and a client that sees every byte."""

import asyncio
import contextlib
import socket

import hiredis

from sentinel_py.acl.acl import Acl
from sentinel_py.resp import encode_command
from sentinel_py.server.commands import Command, CommandTable, subcommand_map
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.server import Server

DEADLINE_S = 10


class Node:
    """The smallest host: it watches one master and remembers what it was told."""

    run_id = "r" * 40
    myid = "m" * 40
    config_file = "/etc/sentinel.conf"

    def __init__(self):
        self.hellos = []
        self.is_shut_down = False

    def master_names(self):
        return ["mymaster"]

    def receive_hello(self, payload):
        self.hellos.append(payload)

    def info_sections(self):
        return [("Sentinel", [("sentinel_masters", 1), ("sentinel_tilt", 0)])]

    def shutdown(self):
        self.is_shut_down = True


class Serving:
    """A running server; `answers` are the futures that SENTINEL WAIT and VOTE were given."""

    def __init__(self, node, server, port, answers):
        self.node, self.server, self.port, self.answers = node, server, port, answers

    @property
    def acl(self):
        return self.server.acl

    async def connect(self):
        return await Client.connect(port=self.port)


def sentinel_command(answers):
    """A container as the node adds it: one quick subcommand, two whose answers come later.

    The latter are published on the channel `waiting`; votes need not wait for one another.
    """

    def address(session, args):
        return ["127.0.0.1", "6379"]

    def wait(session, args):
        future = asyncio.get_running_loop().create_future()
        answers.append(future)
        session.server.publish("waiting", "")
        return future

    subcommands = [
        Command("sentinel|get-master-addr-by-name", 3, address, flags=("admin",)),
        Command("sentinel|wait", 2, wait, flags=("admin",)),
        Command("sentinel|vote", 2, wait, flags=("admin",), overlaps=True),
    ]
    return Command("sentinel", -2, flags=("admin",), subcommands=subcommand_map(subcommands))


def command_table(answers=None, added=()):
    answers = [] if answers is None else answers
    return CommandTable([*base_commands(), sentinel_command(answers), *added])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextlib.asynccontextmanager
async def serving(*, acl=None, ssl_context=None, commands=(), **options):
    """Run a server until the block ends; `acl` are the keywords of Acl.from_config."""
    answers = []
    table = command_table(answers, commands)
    bound = {"bind": ("127.0.0.1",), "port": free_port(), **options}
    node = Node()
    server = Server(
        ServerOptions(**bound), table, Acl.from_config(table, **(acl or {})), node, ssl_context
    )
    await server.start()
    try:
        running = Serving(node, server, bound["port"], answers)
        yield running
    finally:
        server.close()
        await eventually(lambda: not server.clients)


async def eventually(condition):
    """Wait until a condition holds; fail at the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


class Client:
    """A connection on which replies are read one by one, as the bytes they are."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, **where):
        if "path" in where:
            return cls(*await asyncio.open_unix_connection(**where))
        return cls(*await asyncio.open_connection("127.0.0.1", **where))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def stop_reading(self):
        """Leave what comes in the socket, so that the server's output stays with the server."""
        self._writer.transport.pause_reading()

    def go_on_reading(self):
        self._writer.transport.resume_reading()

    def send(self, data):
        self._writer.write(data)

    def request(self, *words):
        self.send(encode_command(words))

    async def raw(self):
        """The bytes of the next reply."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._frame()

    async def _frame(self):
        line = await self._reader.readuntil(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            return line + await self._reader.readexactly(int(rest) + 2)
        if kind in b"*~>%" and rest != b"-1":
            count = int(rest) * (2 if kind == b"%" else 1)
            return line + b"".join([await self._frame() for _ in range(count)])
        return line

    async def ask_raw(self, *words):
        self.request(*words)
        return await self.raw()

    async def ask(self, *words):
        """The value of a reply; an error is its text."""
        return value_of(await self.ask_raw(*words))

    async def rest(self):
        """All that comes until the server closes."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.read()

    async def is_closed(self):
        try:
            return await self.rest() == b""
        except ConnectionResetError:
            return True


def value_of(raw):
    reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
    reader.feed(raw)
    value = reader.gets()
    return str(value) if isinstance(value, hiredis.ReplyError) else value


def pairs(flat):
    """A flat RESP2 map as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
