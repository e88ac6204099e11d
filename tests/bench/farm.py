"""A farm of Redis servers that are none: one process that answers what sentinels ask.

Each has a port and a role of its own, an INFO as long as the real one, and hello messages that
reach its subscribers and those of its replicas; orders to follow others, or nobody, are carried out
at once, and clients cut as Redis cuts them. The dead refuse connections. It keeps no data.
"""

import asyncio
import itertools
import secrets
import time

import hiredis
import uvloop

from sentinel_py.local import HOST

BACKLOG = 64
_PING = b"*1\r\n$4\r\nPING\r\n"
_PONG = b"+PONG\r\n"
_OK = b"+OK\r\n"
_UNKNOWN = b"-ERR unknown command\r\n"


def run_farm(pipe, masters, template):
    """Serve until killed. The pipe tells the ports, pair by pair, and takes lists of the dead."""
    uvloop.run(Farm(pipe, template).serve(masters))


class Farm:
    """All servers, by port."""

    def __init__(self, pipe, template):
        self._pipe = pipe
        self._template = template
        self._servers = {}

    async def serve(self, masters):
        loop = asyncio.get_running_loop()
        pairs = [await self._pair() for _ in range(masters)]
        loop.add_reader(self._pipe.fileno(), self._kill)
        self._pipe.send([(master.port, replica.port) for master, replica in pairs])
        await loop.create_future()

    async def _pair(self):
        master = await self._start(None)
        return master, await self._start(master)

    async def _start(self, master):
        server = FakeRedis(self, self._template, master)
        await server.listen()
        self._servers[server.port] = server
        return server

    def at(self, port):
        return self._servers.get(port)

    def _kill(self):
        for port in self._pipe.recv():
            self._servers[port].die()
        self._pipe.send(time.monotonic())


class FakeRedis:
    """One server: its role, its clients, its subscribers."""

    def __init__(self, farm, template, master):
        self.farm = farm
        self.master = None
        self.replicas = []
        self.clients = []
        self.subscribers = []
        self.is_alive = True
        self._run_id = secrets.token_hex(20)
        self._head, self._tail = template
        self._requests = itertools.count(1)
        self.follow(master)

    async def listen(self):
        loop = asyncio.get_running_loop()
        make = lambda: Connection(self)  # noqa: E731 - as create_server wants it
        self._listener = await loop.create_server(make, HOST, 0, backlog=BACKLOG)
        self.port = self._listener.sockets[0].getsockname()[1]

    def die(self):
        self.is_alive = False
        self._listener.close()
        for client in list(self.clients):
            client.transport.abort()

    def follow(self, master):
        if self.master:
            self.master.replicas.remove(self)
        self.master = master
        if master:
            master.replicas.append(self)

    def info(self):
        """The text of a real server, with what differs at each request, and who follows whom."""
        number = next(self._requests)
        changing = f"uptime_in_seconds:{number}\r\nrun_id:{self._run_id}\r\n"
        text = f"{self._head}{changing}{self._tail}# Replication\r\n{self._replication(number)}"
        return b"$%d\r\n%b\r\n" % (len(text), text.encode())

    def _replication(self, offset):
        if self.master is None:
            replicas = [replica for replica in self.replicas if replica.is_alive]
            lines = [f"role:master\r\nconnected_slaves:{len(replicas)}\r\n"]
            lines += [
                f"slave{number}:ip={HOST},port={replica.port},state=online,"
                f"offset={offset},lag=0\r\n"
                for number, replica in enumerate(replicas)
            ]
            return "".join(lines)
        is_up = self.master.is_alive
        status = "up" if is_up else "down\r\nmaster_link_down_since_seconds:1"
        return (
            f"role:slave\r\nmaster_host:{HOST}\r\nmaster_port:{self.master.port}\r\n"
            f"master_link_status:{status}\r\nslave_repl_offset:{offset}\r\n"
            f"slave_priority:100\r\nslave_read_only:1\r\nreplica_announced:1\r\n"
        )

    def publish(self, channel, payload):
        """To subscribers here and, as replication carries it, at the replicas."""
        message = b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(channel),
            channel,
            len(payload),
            payload,
        )
        for server in (self, *self.replicas):
            for subscriber in server.subscribers:
                subscriber.transport.write(message)
        return b":%d\r\n" % len(self.subscribers)


class Connection(asyncio.Protocol):
    """One client of one server."""

    def __init__(self, server):
        self._server = server
        self._reader = hiredis.Reader()
        self._queued = None

    def connection_made(self, transport):
        self.transport = transport
        self._server.clients.append(self)
        if not self._server.is_alive:
            transport.abort()

    def connection_lost(self, exc):
        self._server.clients.remove(self)
        if self in self._server.subscribers:
            self._server.subscribers.remove(self)

    def data_received(self, data):
        if data == _PING:
            self.transport.write(_PONG)
            return
        self._reader.feed(data)
        replies = []
        while (words := self._reader.gets()) is not False:
            replies.append(self._answer(words))
        self.transport.write(b"".join(replies))

    def _answer(self, words):
        name = words[0].upper()
        if name == b"MULTI":
            self._queued = []
            return _OK
        if name == b"EXEC":
            queued, self._queued = self._queued, None
            return b"*%d\r\n" % len(queued) + b"".join(map(self._do, queued))
        if self._queued is not None:
            self._queued.append(words)
            return b"+QUEUED\r\n"
        return self._do(words)

    def _do(self, words):
        command = _COMMANDS.get(words[0].upper())
        return command(self, words) if command else _UNKNOWN

    def _publish(self, words):
        return self._server.publish(words[1], words[2])

    def _subscribe(self, words):
        self._server.subscribers.append(self)
        return b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(words[1]), words[1])

    def _client(self, words):
        if words[1].upper() != b"KILL":
            return _OK
        wants_subscribers = words[3] == b"pubsub"
        for client in list(self._server.clients):
            is_subscriber = client in self._server.subscribers
            if client is not self and is_subscriber == wants_subscribers:
                client.transport.abort()
        return b":1\r\n"

    def _follow(self, words):
        is_nobody = words[1].upper() == b"NO"
        self._server.follow(None if is_nobody else self._server.farm.at(int(words[2])))
        return _OK

    def _info(self, _words):
        return self._server.info()

    def _ping(self, _words):
        return _PONG

    def _agree(self, _words):
        return _OK


_COMMANDS = {
    b"PING": Connection._ping,
    b"INFO": Connection._info,
    b"PUBLISH": Connection._publish,
    b"SUBSCRIBE": Connection._subscribe,
    b"CLIENT": Connection._client,
    b"SLAVEOF": Connection._follow,
    b"REPLICAOF": Connection._follow,
    b"AUTH": Connection._agree,
    b"CONFIG": Connection._agree,
    b"SCRIPT": Connection._agree,
}


def template_of(info):
    """What stands before and behind the lines of a real INFO that differ from server to server."""
    sections = {part.partition("\r\n")[0]: part for part in info.split("# ")[1:]}
    own = ("run_id:", "uptime_in_seconds:")
    lines = sections["Server"].split("\r\n")
    head = "\r\n".join(line for line in lines if not line.startswith(own)).rstrip()
    others = [part for name, part in sections.items() if name not in ("Server", "Replication")]
    return f"# {head}\r\n", "".join(f"# {part}" for part in others)
