"""A model of a Redis server: what sentinels and clients see of one, over the simulated network.

It speaks RESP, replicates a list of writes with offsets, lag and replication ids, and can be hung,
slow, loading, empty after a restart, or lie about its role. The rule it guards: it follows Redis
where sentinels look, and is no simpler there than Redis is: a promotion, a demotion and a resync
cost it connections and time.
"""

import asyncio
from collections import deque

from sentinel_py.resp import OK, Error, Raw, Simple, encode
from sentinel_py.server.request_parser import RequestParser

PORT = 6379
LINK_RETRY_S = 1.0
REPLICATION_PERIOD_S = 1.0
REPLICATION_TIMEOUT_S = 10.0
LINK_DOWN_NEVER_UP = -1

_PAUSED = b"SET", b"PUBLISH"
"""What CLIENT PAUSE ... WRITE holds back, of the commands that are known here."""

_READONLY = Error("READONLY You can't write against a read only replica.")
_LOADING = Error("LOADING Redis is loading the dataset in memory")
_NO_INFO = Error("NOPERM this user has no permissions to run the 'info' command")
_QUEUED = Simple("QUEUED")
_WHILE_LOADING = frozenset(
    "info subscribe publish client auth multi config replconf script".split()  # noqa: SIM905
)


class RedisHost:
    """A machine with one Redis on it: what outlives the process, and the process if it runs."""

    def __init__(self, world, name, host, rng):
        self.name = name
        self.host = host
        self.priority = 100
        self.saved_master = None  # as the config file says
        self.saved_writes = []
        self.saved_history = None  # the replication id that the saved writes belong to
        self.server = None
        self.load_ms = 0
        self.info_stall_ms = 0
        self.told_role = None  # a lie
        self.lag_ms = 0  # how far behind it applies its master's writes
        self.denies_info = False
        self._world = world
        self.rng = rng

    @property
    def address(self):
        return self.host, PORT

    @property
    def is_up(self):
        return self.server is not None

    def start(self):
        assert self.server is None
        self._world.network.power_on(self.host)
        process = self._world.spawn(self.host, self.name)
        run_id = f"{self.rng.getrandbits(160):040x}"
        self.server = RedisServer(process, self, run_id)

    def kill(self, *, loses_data):
        """SIGKILL. Without persistence the next start is an empty one."""
        if self.server:
            self.server.process.kill()
            self._died(0 if loses_data else self.server.offset)

    def lose_power(self):
        """Be gone without a word, and with the last writes."""
        if self.server:
            self.server.process.vanish()
            self._world.network.power_off(self.host)
            self._died(max(0, self.server.offset - self.rng.randint(0, 10)))

    def _died(self, writes_kept):
        self.saved_writes = self.server.writes[:writes_kept]
        self.saved_history = self.server.history if self.saved_writes else None
        self.server = None


class RedisServer:
    """One life of a Redis process."""

    def __init__(self, process, machine, run_id):
        self.process = process
        self._rng = machine.rng
        self.history = machine.saved_history or self._new_history()
        self._forget_former_history()
        self.run_id = run_id
        self.writes = list(machine.saved_writes)
        self.master = None  # (host, port), or None for a master
        self.machine = machine
        self.clients = {}
        self.link = None
        self._link_down_at = None
        self._paused_until = 0.0
        self._loop = process.loop
        self._loading_until = self._loop.time() + machine.load_ms / 1000
        process.network.listen(process, lambda: _Client(self), machine.host, PORT)
        self._loop.call_soon(self._begin)

    def _begin(self):
        if self.machine.saved_master:
            self.follow(self.machine.saved_master)
        self._replicate()

    @property
    def is_loading(self):
        return self._loop.time() < self._loading_until

    @property
    def offset(self):
        return len(self.writes)

    @property
    def link_is_up(self):
        return self.link is not None and self.link.is_synced

    def _forget_former_history(self):
        self.former_history, self.former_end = "0" * 40, -1

    def _new_history(self):
        """A replication id: whose writes these are."""
        return f"{self._rng.getrandbits(160):040x}"

    # Replication

    def follow(self, master):
        """SLAVEOF: replicas of ours are dropped, as their history may not be ours any more."""
        if master == self.master:
            return
        if master is None:
            self.former_history, self.former_end = self.history, self.offset + 1
            self.history = self._new_history()
        self.master = master
        self._link_down_at = None
        self._drop_replicas()
        if self.link:
            self.link.close()
            self.link = None
        if master:
            self._open_link()

    def _drop_replicas(self):
        for replica in self.replicas():
            replica.close()

    def _open_link(self):
        if self.master and self.link is None:
            self.link = _MasterLink(self, self.master)
            self.link.open()

    def link_lost(self, link):
        if link is self.link:
            if link.is_synced:
                self._link_down_at = self._loop.time()
            self.link = None
            self._loop.call_later(LINK_RETRY_S, self._open_link)

    def load(self, history, writes):
        """Take over the master's data; replicas of ours have to do the same."""
        self._drop_replicas()
        self.history, self.writes = history, writes
        self._forget_former_history()
        self._loading_until = self._loop.time() + self.machine.load_ms / 1000

    def replicas(self):
        return [client for client in self.clients if client.replica_port]

    def write(self, value):
        self.writes.append(value)
        self.feed([b"WRITE", value])

    def feed(self, message):
        for replica in self.replicas():
            replica.send(message)

    def _replicate(self):
        self._loop.call_later(REPLICATION_PERIOD_S, self._replicate)
        if not self.process.is_alive:
            return
        self.feed([b"PING"])
        if self.link:
            self.link.keep_alive()

    # What clients see

    @property
    def is_paused(self):
        """Whether writes wait: CLIENT PAUSE ... WRITE."""
        return self._loop.time() < self._paused_until

    def pause(self, ms):
        self._paused_until = self._loop.time() + ms / 1000
        self._loop.call_later(ms / 1000 + 0.0001, self._go_on)
        return OK

    def _go_on(self):
        for client in () if self.is_paused else list(self.clients):
            client.go_on()

    def publish(self, channel, payload):
        subscribers = [client for client in self.clients if channel in client.channels]
        for client in subscribers:
            client.send([b"message", channel, payload])
        return len(subscribers)

    def info(self):
        role = self.machine.told_role or ("slave" if self.master else "master")
        lines = [
            "# Server",
            "redis_version:7.2.4",
            f"run_id:{self.run_id}",
            f"tcp_port:{PORT}",
            "# Persistence",
            f"loading:{int(self.is_loading)}",
            "# Replication",
            f"role:{role}",
            *(self._link_lines() if self.master and role == "slave" else []),
            *self._replica_lines(),
            f"master_replid:{self.history}",
            f"master_replid2:{self.former_history}",
            f"master_repl_offset:{self.offset}",
            f"second_repl_offset:{self.former_end}",
            "# Keyspace",
            *(("db0:keys=1,expires=0,avg_ttl=0",) if self.writes else ()),
        ]
        return "\r\n".join(lines) + "\r\n"

    def _link_lines(self):
        host, port = self.master
        yield f"master_host:{host}"
        yield f"master_port:{port}"
        yield f"master_link_status:{'up' if self.link_is_up else 'down'}"
        yield f"slave_read_repl_offset:{self.offset}"
        yield f"slave_repl_offset:{self.offset}"
        if not self.link_is_up:
            yield f"master_link_down_since_seconds:{self._link_down_s()}"
        yield f"slave_priority:{self.machine.priority}"
        yield "slave_read_only:1"
        yield "replica_announced:1"

    def _link_down_s(self):
        if self._link_down_at is None:
            return LINK_DOWN_NEVER_UP
        return int(self._loop.time() - self._link_down_at)

    def _replica_lines(self):
        replicas = self.replicas()
        yield f"connected_slaves:{len(replicas)}"
        for number, replica in enumerate(replicas):
            where = f"ip={replica.host},port={replica.replica_port}"
            yield f"slave{number}:{where},state=online,offset={replica.acknowledged},lag=0"


class _Client(asyncio.Protocol):
    """One connection to the server, a replica's included."""

    def __init__(self, server):
        self.server = server
        self.channels = {}
        self.replica_port = 0
        self.acknowledged = 0
        self.host = ""
        self._announced_port = 0
        self._queued = None
        self._parser = RequestParser()
        self._parser.authenticated = True
        self._transport = None
        self._unread = deque()
        self._out = []

    def connection_made(self, transport):
        self._transport = transport
        self.host = transport.get_extra_info("peername")[0]
        self.server.clients[self] = None

    def connection_lost(self, exc):
        self.server.clients.pop(self, None)

    def close(self):
        self.server.clients.pop(self, None)
        self._transport.abort()

    def send(self, reply):
        self._transport.write(encode(reply, 2))

    def data_received(self, data):
        self._unread.extend(self._parser.feed(data))
        self.go_on()

    def go_on(self):
        """Answer what was asked, up to a write that has to wait."""
        unread = self._unread
        while unread and not (self.server.is_paused and unread[0][0].upper() in _PAUSED):
            self._out.append(encode(self._answer(unread.popleft()), 2))
        # A server that is kept busy by a request is so before it answers.
        if self.server.process.is_running:
            self._flush()
        else:
            self.server.process.loop.call_soon(self._flush)

    def _flush(self):
        self._transport.write(b"".join(self._out))
        self._out.clear()

    def _answer(self, words):
        name = words[0].decode().lower()
        if name in ("multi", "exec"):
            return getattr(self, f"_{name}")()
        if self.server.is_loading and name not in _WHILE_LOADING:
            self._queued = None
            return _LOADING
        if self._queued is not None:
            self._queued.append(words)
            return _QUEUED
        return self._carry_out(name, words)

    def _multi(self):
        self._queued = []
        return OK

    def _exec(self):
        queued, self._queued = self._queued, None
        if queued is None:
            return Error("EXECABORT Transaction discarded because of previous errors.")
        return [self._carry_out(words[0].decode().lower(), words) for words in queued]

    def _carry_out(self, name, words):
        command = _COMMANDS.get(name)
        if command is None:
            return Error(f"ERR unknown command '{name}'")
        return command(self, *words[1:])

    # Commands

    def _ping(self):
        return Simple("PONG")

    def _info(self, *_sections):
        if self.server.machine.denies_info:
            return _NO_INFO
        self.server.process.stall(self.server.machine.info_stall_ms * 1000)
        return self.server.info()

    def _client(self, verb, *words):
        match verb.upper():
            case b"SETNAME":
                return OK
            case b"PAUSE":
                assert words[1].upper() == b"WRITE", words
                return self.server.pause(int(words[0]))
            case b"UNPAUSE":
                return self.server.pause(0)
        assert (verb.upper(), words[0].upper()) == (b"KILL", b"TYPE"), words
        is_wanted = {b"normal": lambda it: not it.channels, b"pubsub": lambda it: it.channels}
        victims = [
            client
            for client in self.server.clients
            if is_wanted[words[1]](client) and not client.replica_port and client is not self
        ]
        for client in victims:
            client.close()
        return len(victims)

    def _slaveof(self, host, port):
        is_master = (host.upper(), port.upper()) == (b"NO", b"ONE")
        self.server.follow(None if is_master else (host.decode(), int(port)))
        return OK

    def _failover(self, *_words):
        """FAILOVER, which it does not know: as a Redis before 6.2."""
        return Error("ERR unknown command 'failover'")

    def _config(self, verb):
        assert verb.upper() == b"REWRITE"
        self.server.machine.saved_master = self.server.master
        return OK

    def _subscribe(self, channel):
        self.channels[channel] = None
        return [b"subscribe", channel, len(self.channels)]

    def _publish(self, channel, payload):
        if not self.server.master:
            self.server.feed([b"PUBLISH", channel, payload])
        return self.server.publish(channel, payload)

    def _set(self, _key, value):
        if self.server.master:
            return _READONLY
        self.server.write(value)
        return OK

    def _script(self, _kill):
        return Error("NOTBUSY No scripts in execution right now.")

    def _replconf(self, option, value):
        if option == b"listening-port":
            self._announced_port = int(value)
        else:
            self.acknowledged = int(value)
        return Raw()

    def _psync(self):
        server = self.server
        if server.master and not server.link_is_up:
            return [b"NOMASTERLINK"]
        self.replica_port = self._announced_port
        return [b"FULL", server.history.encode(), *server.writes]


_COMMANDS = {
    "ping": _Client._ping,
    "info": _Client._info,
    "client": _Client._client,
    "slaveof": _Client._slaveof,
    "failover": _Client._failover,
    "replicaof": _Client._slaveof,
    "config": _Client._config,
    "subscribe": _Client._subscribe,
    "publish": _Client._publish,
    "set": _Client._set,
    "script": _Client._script,
    "replconf": _Client._replconf,
    "psync": _Client._psync,
}


class _MasterLink(asyncio.Protocol):
    """A replica's connection to its master. What comes is RESP arrays of bulks, as requests are."""

    def __init__(self, server, master):
        self.is_synced = False
        self._server = server
        self._master = master
        self._parser = RequestParser()
        self._parser.authenticated = True
        self._transport = None
        self._heard_at = server.process.loop.time()
        self._late = deque()
        self._is_over = False

    def open(self):
        loop = self._server.process.loop
        attempt = loop.create_task(loop.create_connection(lambda: self, *self._master))
        attempt.add_done_callback(self._attempted)

    def _attempted(self, attempt):
        if attempt.exception():
            self._end()

    def close(self):
        self._is_over = True
        if self._transport:
            self._transport.abort()

    def _end(self):
        if not self._is_over:
            self.close()
            self._server.link_lost(self)

    def keep_alive(self):
        now = self._server.process.loop.time()
        if now - self._heard_at > REPLICATION_TIMEOUT_S:
            self._end()
        elif self.is_synced:
            self._send(b"REPLCONF", b"ACK", self._server.offset)

    def _send(self, *words):
        self._transport.write(
            encode([str(w).encode() if isinstance(w, int) else w for w in words], 2)
        )

    def connection_made(self, transport):
        self._transport = transport
        if self._is_over:
            transport.abort()
            return
        self._send(b"REPLCONF", b"listening-port", PORT)
        self._send(b"PSYNC")

    def connection_lost(self, exc):
        self._end()

    def data_received(self, data):
        self._heard_at = self._server.process.loop.time()
        for message in self._parser.feed(data):
            self._take(*message)

    def _catch_up(self):
        if self._late and not self._is_over:
            self._server.write(self._late.popleft())

    def _take(self, kind, *values):
        server = self._server
        match kind:
            case b"NOMASTERLINK":
                self._end()
            case b"FULL":
                server.load(values[0].decode(), list(values[1:]))
                self.is_synced = True
            case b"WRITE" if server.machine.lag_ms or self._late:
                self._late.append(values[0])
                loop = server.process.loop
                loop.call_later(server.machine.lag_ms / 1000, self._catch_up)
            case b"WRITE":
                server.write(values[0])
            case b"PUBLISH":
                server.publish(*values)
                server.feed([b"PUBLISH", *values])
