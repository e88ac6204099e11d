"""What clients say, down to the last handler: a session, all commands, and a core behind them."""

import asyncio
import socket

import hiredis

from sentinel_py.acl.acl import Acl
from sentinel_py.core.messages import Answer
from sentinel_py.resp import encode_command
from sentinel_py.scripts import Scripts
from sentinel_py.server import sentinel_commands
from sentinel_py.server.commands import CommandTable
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.server import Server
from sentinel_py.server.session import Session

from .strangers import NOW, Watch
from .streams import seeds, split

_LINES = """
    PING|PING a|HELLO 3|HELLO 2 AUTH default x SETNAME me|AUTH x|AUTH u x|RESET|INFO|INFO all nosuch
    ROLE|SUBSCRIBE a b|PSUBSCRIBE *|UNSUBSCRIBE|PUBLISH __sentinel__:hello x|PUBSUB CHANNELS|QUIT
    CLIENT LIST|CLIENT KILL ID 1|CLIENT SETNAME me|CLIENT REPLY SKIP|CLIENT TRACKING ON|CLIENT INFO
    COMMAND COUNT|COMMAND DOCS ping|COMMAND INFO client|id get|COMMAND GETKEYS get a|COMMAND LIST
    ACL SETUSER u on >x +ping ~* &*|ACL GETUSER default|ACL LIST|ACL DRYRUN default ping|ACL LOG 3
    ACL CAT|ACL GENPASS 10|ACL WHOAMI|ACL DELUSER u|SHUTDOWN NOSAVE|POST / HTTP/1.1
    SENTINEL MASTERS|SENTINEL MASTER mm|SENTINEL REPLICAS mm|SENTINEL SENTINELS mm|SENTINEL MYID
    SENTINEL GET-MASTER-ADDR-BY-NAME mm|SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379 1 *
    SENTINEL MONITOR other db.example 6379 2|SENTINEL REMOVE mm|SENTINEL RESET *
    SENTINEL MONITOR other 10.0.0.5 6379 2|SENTINEL CKQUORUM mm
    SENTINEL SET mm quorum 3 down-after-milliseconds 10|SENTINEL SET mm rename-command PING x
    SENTINEL FAILOVER mm|SENTINEL FAILOVER mm COORDINATED|SENTINEL INFO-CACHE mm|SENTINEL HELP
    SENTINEL CONFIG GET *|SENTINEL CONFIG SET announce-ip 10.0.0.9|SENTINEL DEBUG info-period 100
    SENTINEL SIMULATE-FAILURE help|SENTINEL PENDING-SCRIPTS|SENTINEL FLUSHCONFIG
"""
COMMANDS = [
    *(encode_command(it.split()) for it in _LINES.replace("\n", "|").split("|") if it.strip()),
    b"ping\r\nHELLO 3\r\nSENTINEL MASTERS\r\n",
]
SEEDS = {"commands": seeds(COMMANDS)}


class Desk:
    """A node without connections and disk; each input finds it as new."""

    run_id = "d" * 40
    myid = "a" * 40
    config_file = "/c"

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.watch = Watch()
        self.tickets = 0
        scripts = Scripts(self.state.constants, lambda _notice: None)
        self.table = CommandTable([*base_commands(), sentinel_commands.build(self, scripts)])

    @property
    def state(self):
        return self.watch.state

    def settled(self):
        return self.state

    def now(self):
        return NOW

    def order(self, make, render):
        self.tickets += 1
        for effect in self.watch.core.step(NOW, make(self.tickets)):
            if isinstance(effect, Answer) and effect.ticket == self.tickets:
                return render(effect.value)
        return self.loop.create_future()

    def master_names(self):
        return list(self.state.masters)

    def receive_hello(self, payload):
        self.watch.hear(payload)

    def info_sections(self):
        return [("Sentinel", [("sentinel_masters", len(self.state.masters))])]

    def shutdown(self):
        pass


class Wire(asyncio.Transport):
    """A connection whose client reads everything at once."""

    _socket = socket.socket()

    def __init__(self):
        super().__init__(
            {
                "socket": self._socket,
                "peername": ("127.0.0.1", 1),
                "sockname": ("127.0.0.1", 2),
            }
        )
        self.sent = b""
        self.is_over = False
        self.is_read = True

    def write(self, data):
        self.sent += data

    def is_closing(self):
        return self.is_over

    def abort(self):
        self.is_over, self.is_read = True, False

    close = abort

    def get_write_buffer_size(self):
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        self.is_read = False

    def resume_reading(self):
        self.is_read = not self.is_over


_desk = None


def commands(data):
    """Whatever is asked, what comes back is a row of whole replies."""
    global _desk  # noqa: PLW0603 - its table costs more than a thousand inputs
    _desk = _desk or Desk()
    _desk.watch = Watch()
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    reader.feed(_desk.loop.run_until_complete(_serve(_desk, split(data)[1])))
    while reader.gets() is not Ellipsis:
        pass
    assert not reader.has_data()


async def _serve(desk, chunks):
    """All that a client gets who sends this; a future in the place of a reply halts it."""
    server = Server(ServerOptions(), desk.table, Acl.from_config(desk.table), desk)
    session, wire = Session(server), Wire()
    session.connection_made(wire)
    for chunk in chunks:
        if wire.is_read:
            session.data_received(chunk)
    session.connection_lost(None)
    assert not server.clients
    assert not server.pubsub.channels
    assert not server.pubsub.patterns
    return wire.sent
