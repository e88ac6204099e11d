"""What data nodes and peers tell the core: INFO and hello. Anybody can make one up.

Whatever they say, the core takes the step, and the file that it then saves can be read again.
"""

from random import Random

from sentinel_py.config import directives
from sentinel_py.config.config import load
from sentinel_py.core.messages import (
    Ask,
    DirectHello,
    LinkUp,
    Reply,
    Request,
    Resolve,
    Resolved,
    Wake,
)
from sentinel_py.core.model import Address, Options, State
from sentinel_py.core.roster import add_master, add_peer, add_replica
from sentinel_py.core.sentinel import Sentinel

from .files import MemoryDisk

NOW = 1_000_000
IP = "10.9.9.9"
PEER = "b" * 40
HELLOS = [
    f"10.0.1.1,26379,{PEER},7,mm,10.0.0.1,6379,5".encode(),
    f"new.example,26379,{'c' * 40},0,mm,db.example,6379,9".encode(),
    f"10.0.1.1,26379,{PEER},9223372036854775807,mm,10.0.0.2,6379,9223372036854775807".encode(),
    b"\xff,0,x,-1,mm,::1,65536,",
]
INFOS = [
    b"role:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online\r\n"
    b"slave1:10.0.0.3,6380,online\r\nrun_id:" + b"d" * 40,
    b"role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:down\r\n"
    b"master_link_down_since_seconds:12\r\nslave_repl_offset:4242\r\nslave_priority:25",
    b"run_id:" + b"e" * 40 + b"\r\nrole:master\r\nmaster_replid:" + b"f" * 40 + b"\r\n"
    b"master_repl_offset:99\r\nsecond_repl_offset:-1\r\nloading:0\r\n# Keyspace\r\n"
    b"db0:keys=3,expires=0,avg_ttl=0\r\n",
    b"role:slave\r\nmaster_host:db.example\r\nmaster_port:-1\r\nslave_priority:x",
]
SEEDS = {
    "hello": HELLOS,
    "info": [first + sample for first in (b"\0", b"\xff") for sample in INFOS],
}


class Watch:
    """A core that watches one master, with a replica, a peer and names that all resolve."""

    def __init__(self):
        self.state = State(myid="a" * 40)
        self.state.settings.resolve_hostnames = True
        self.core = Sentinel(self.state, Random(1))
        options = Options(quorum=1, down_after_ms=1000, failover_timeout_ms=6000)
        self.master = add_master(self.state, NOW, "mm", _address("10.0.0.1"), options)
        self.replica = add_replica(self.state, NOW, self.master, _address("10.0.0.2"))
        add_peer(self.state, NOW, self.master, PEER, Address("10.0.1.1", 26379, "10.0.1.1"))
        self.core.start(NOW)
        for node in (self.master, self.replica):
            self.step(LinkUp(node.command.id, "10.0.1.9"))

    def step(self, event, at=NOW):
        for effect in self.core.step(at, event):
            if isinstance(effect, Resolve):
                self.step(Resolved(effect.host, IP), at)

    def hear(self, payload):
        self.step(DirectHello(payload))

    def wake(self):
        self.step(Wake(), self.core.wake_at)

    def tell(self, node, info):
        """Answer one of the INFO that the node is asked for."""
        self.step(Reply(node.command.id, Request(("INFO",), Ask.INFO), info))


def _address(host):
    return Address(host, 6379, host)


def hello(data):
    watch = Watch()
    for payload in data.split(b"\n")[:8]:
        watch.hear(payload.decode(errors="surrogateescape"))
    watch.wake()
    _save_and_read(watch.state)


def info(data):
    """The first bit says whose INFO it is."""
    watch = Watch()
    node = watch.replica if data[:1] > b"\x7f" else watch.master
    watch.tell(node, data[1:])
    watch.wake()
    _save_and_read(watch.state)


def _save_and_read(state):
    """What was read may differ in the epoch, which is no less than any; not once more, though."""
    again = _read(directives.render(state))
    assert _texts(_read(directives.render(again))) == _texts(again)


def _read(lines):
    state = State(myid="")
    loaded = load("/c", disk=MemoryDisk("\n".join(line.text for line in lines)))
    directives.apply(loaded.statements, state, now=0, resolve=lambda _: IP)
    return state


def _texts(state):
    return [line.text for line in directives.render(state)]
