"""The stage on which a transcript is played: one core, models of everybody else, a virtual clock.

A word of the script is a method whose name begins with ``do_``; what it takes is in its docstring.
Connections open and replies come 1 ms after they were asked for. Nodes that live answer by
themselves; what they are to answer is what the script has made of them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

from sentinel_py.core import roster
from sentinel_py.core.ledger import Claim, Finish, Switch
from sentinel_py.core.messages import (
    ChannelMessage,
    Close,
    Committed,
    ConfigSet,
    Debug,
    DirectHello,
    DownQuestion,
    DownReport,
    Effect,
    ErrorReply,
    FailOver,
    Input,
    LinkDown,
    LinkUp,
    Monitor,
    Open,
    Propose,
    RaftContact,
    RaftView,
    Remove,
    Reply,
    Request,
    Reset,
    Resolved,
    SaveOutcome,
    Send,
    SetOptions,
    SimulateFailure,
    Value,
    Wake,
)
from sentinel_py.core.model import Address, LinkKind, Master, Options, Raft, State
from sentinel_py.core.sentinel import Sentinel

from .models import OK, PeerModel, RedisModel
from .playbill import Playbill

CLOCK_START = 1_000_000
"""The clock's value at the transcript's 0; nothing may rely on a clock that starts at 0."""

OWN_IP = "10.0.1.100"

ORDERS = {
    "MONITOR": Monitor,
    "REMOVE": Remove,
    "SET": lambda ticket, name, *words: SetOptions(ticket, name, words),
    "RESET": Reset,
    "FAILOVER": lambda ticket, name, *how: FailOver(
        ticket, name, "COORDINATED" in how, "FORCE-STALE" in how
    ),
    "CONFIG-SET": lambda ticket, *words: ConfigSet(ticket, words),
    "DEBUG": lambda ticket, *words: Debug(ticket, words),
    "SIMULATE-FAILURE": lambda ticket, *words: SimulateFailure(ticket, words),
}

Node = RedisModel | PeerModel


class Dice(Random):
    """Random numbers that a script can foretell: always the middle, unless told otherwise."""

    share = 0.5

    def randint(self, a: int, b: int) -> int:
        return round(a + (b - a) * self.share)


class Connection:
    """One connection of a link, until either side ends it."""

    def __init__(self, effect: Open, node: Node | None) -> None:
        self.link = effect.link
        self.kind = effect.kind
        self.node = node
        self.is_up = False
        self.unread: deque[Request] = deque()  # while the node hangs


class Stage:
    """Plays a transcript's lines; what the core does meanwhile is in ``playbill``."""

    def __init__(self) -> None:
        self.now = 0
        self.state = State(myid="0" * 40)
        self.dice = Dice()
        self.core = Sentinel(self.state, self.dice)
        self.nodes: dict[str, Node] = {}
        self.conditions: dict[str, str] = {}  # of nodes that do not simply live
        self.connections: dict[int, Connection] = {}
        self.coming: list[tuple[int, int, Callable[[], None]]] = []
        self.planned = 0
        self.tickets = 0
        self.committed = 0
        self.in_contact: dict[str, int] = {}  # the leader's last word to members
        self.has_contact = False
        self.playbill = Playbill({self.state.myid: "S0"})

    def play(self, line: str) -> list[str]:
        """Carry out one line of a script; returns what there is to see."""
        word, *args = line.split()
        positional = [arg for arg in args if "=" not in arg]
        named = dict(arg.split("=", 1) for arg in args if "=" in arg)
        getattr(self, "do_" + word.replace("-", "_"))(*positional, **named)
        return self.playbill.take()

    # What the core does ---------------------------------------------------------------------------

    def step(self, event: Input) -> None:
        self.carry_out(self.core.step(CLOCK_START + self.now, event))

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            name = self.name_of_link(effect) if isinstance(effect, Send | Close) else ""
            match effect:
                case Open():
                    node = self.node_at(effect.ip, effect.port)
                    name = node.name if node else f"{effect.ip}:{effect.port}"
                    self.open(effect, node)
                case Close():
                    del self.connections[effect.link]
                case Send():
                    self.send(effect)
                case Propose():
                    self.propose(effect)
            self.playbill.show(self.now, effect, name)

    def name_of_link(self, effect: Send | Close) -> str:
        node = self.connections[effect.link].node
        return node.name if node else "nobody"

    def node_at(self, ip: str, port: int) -> Node | None:
        found = [node for node in self.nodes.values() if is_at(node, (ip, port))]
        return found[-1] if found else None

    def open(self, effect: Open, node: Node | None) -> None:
        assert effect.link not in self.connections, "opened twice"
        connection = Connection(effect, node)
        self.connections[effect.link] = connection
        condition = self.conditions.get(node.name, "alive") if node else "dead"
        if condition == "dead":
            self.later(lambda: self.drop(connection, "refused"))
        elif condition != "cut":
            self.later(lambda: self.accept(connection))

    def accept(self, connection: Connection) -> None:
        if self.connections.get(connection.link) is connection:
            connection.is_up = True
            self.step(LinkUp(connection.link, OWN_IP))

    def drop(self, connection: Connection, reason: str) -> None:
        if self.connections.get(connection.link) is connection:
            del self.connections[connection.link]
            self.step(LinkDown(connection.link, reason))

    def send(self, effect: Send) -> None:
        connection = self.connections[effect.link]
        assert connection.is_up, "sent before the link was up"
        for request in effect.requests:
            self.later(lambda request=request: self.execute(connection, request))

    def execute(self, connection: Connection, request: Request) -> None:
        node = connection.node
        if self.connections.get(connection.link) is not connection:
            return
        condition = self.conditions.get(node.name, "alive")
        if condition == "silent":
            connection.unread.append(request)
        elif condition == "alive" and connection.kind is LinkKind.COMMAND:
            self.answer(connection, request)

    def answer(self, connection: Connection, request: Request) -> None:
        node = connection.node
        if isinstance(node, PeerModel):
            value = node.execute(request.args)
        elif request.args[0] == "INFO":
            value = self.info(node)
        elif request.args[:2] == ("FAILOVER", "TO"):
            value = self.hand_over(node, self.node_at(request.args[2], int(request.args[3])))
        else:
            value, kicks = node.execute(request.args, self.now)
            if kicks:
                self.later(lambda: self.drop_links_of(node, LinkKind.CHANNEL))
        self.step(Reply(connection.link, request, value))
        if request.args[0] == "PUBLISH" and isinstance(node, RedisModel):
            self.publish(node, request.args[2])

    def propose(self, effect: Propose) -> None:
        """A log whose majority is near: what is proposed is committed."""
        self.committed += 1
        entry = Committed(self.committed, effect.entry_id, effect.entry)
        self.later(lambda: self.step(entry))

    def info(self, node: RedisModel) -> bytes:
        replicas = [
            other
            for other in self.nodes.values()
            if isinstance(other, RedisModel)
            and node.is_at(other.follows)
            and self.conditions.get(other.name) != "dead"
        ]
        followed = self.node_at(*node.follows) if node.follows else None
        is_up = (
            isinstance(followed, RedisModel)
            and followed.follows is None
            and followed.name not in self.conditions
        )
        return node.info(self.now, replicas, is_up)

    def hand_over(self, node: RedisModel, successor: RedisModel) -> Value:
        """FAILOVER TO: agreed to at once, done when the successor has caught up."""
        if not node.obeys:
            return ErrorReply("ERR unknown command 'FAILOVER'")
        self.coming_at(self.now + successor.sync_ms, lambda: successor.follow(None, self.now))
        self.coming_at(self.now + successor.sync_ms, lambda: node.follow(successor.endpoint, 0))
        return OK

    def publish(self, node: RedisModel, payload: str) -> None:
        for link in self.links_of(node, LinkKind.CHANNEL):
            if link.is_up:
                self.step(ChannelMessage(link.link, payload))

    def links_of(self, node: Node, *kinds: LinkKind) -> list[Connection]:
        return [c for c in self.connections.values() if c.node is node and c.kind in kinds]

    def drop_links_of(self, node: Node, *kinds: LinkKind) -> None:
        for connection in self.links_of(node, *kinds):
            self.drop(connection, "closed")

    def later(self, what: Callable[[], None]) -> None:
        self.coming_at(self.now + 1, what)

    def coming_at(self, at: int, what: Callable[[], None]) -> None:
        self.planned += 1
        heapq.heappush(self.coming, (at, self.planned, what))

    # Words of the script: who there is ------------------------------------------------------------

    def do_redis(self, name, host, follows="", **fields):
        """``redis R1 10.0.0.2 follows=M offset=10``: a server, ``follows`` left out for masters."""
        followed = self.nodes[follows].endpoint if follows else None
        self.nodes[name] = RedisModel(name, host, follows=followed)
        self.do_now(name, **fields)

    def do_peer(self, name, host):
        """``peer S1 10.0.1.1``: another sentinel; its id is made of its digits."""
        peer = PeerModel(name, (name.strip("S") * 40)[:40], host)
        self.nodes[name] = peer
        self.playbill.aliases[peer.id] = name

    def do_cast(self, replicas="2", peers="2"):
        """``cast replicas=2 peers=2``: master M and, following it, R1, R2…; peers S1, S2…"""
        self.do_redis("M", "10.0.0.1")
        for number in range(1, int(replicas) + 1):
            self.do_redis(f"R{number}", f"10.0.0.{1 + number}", follows="M")
        for number in range(1, int(peers) + 1):
            self.do_peer(f"S{number}", f"10.0.1.{number}")

    def do_watch(self, name, node, knows="", at="", **options):
        """``watch mymaster M quorum=2 knows=S1,S2``: a master that the config file names.

        ``at=10.9.0.1``: by that one of its addresses.
        """
        numbers = {
            "quorum": 2,
            "down_after_ms": 1000,
            "failover_timeout_ms": 6000,
            **{option.replace("-", "_"): _value(value) for option, value in options.items()},
        }
        target = self.nodes[node]
        address = Address(at or target.host, target.port, at or target.host)
        master = roster.add_master(
            self.state, CLOCK_START + self.now, name, address, Options(**numbers)
        )
        # As if the log had it already.
        master.is_replicated = self.state.raft is not None
        for known in filter(None, knows.split(",")):
            self.know(master, self.nodes[known])

    def know(self, master: Master, node: Node) -> None:
        address = Address(node.host, node.port, node.host)
        if isinstance(node, PeerModel):
            roster.add_peer(self.state, CLOCK_START + self.now, master, node.id, address)
        else:
            roster.add_replica(self.state, CLOCK_START + self.now, master, address)

    def do_start(self):
        """``start``: the process has read its config file."""
        self.carry_out(self.core.start(CLOCK_START + self.now))

    def do_ready(self, name="mymaster", **options):
        """``ready quorum=2``: a cast that is watched and settled for 3 s; shown from now on."""
        peers = ",".join(n.name for n in self.nodes.values() if isinstance(n, PeerModel))
        self.do_watch(name, "M", knows=peers, **options)
        self.do_start()
        self.do_advance("3000")
        self.playbill.take()

    def do_address(self, name, host):
        """``address M 10.9.0.1``: the server is reached there, too, at the same port."""
        self.nodes[name].others.append((host, self.nodes[name].port))

    # Words of the script: what happens ------------------------------------------------------------

    def do_advance(self, duration_ms):
        """``advance 1000``: let time pass; replies, broken links and wake-ups come in order."""
        self.do_until(self.now + int(duration_ms))

    def do_until(self, at):
        """``until 12000``: advance to that time."""
        end = int(at)
        while (due := self.due_at()) <= end:
            self.now = due
            if self.coming and self.coming[0][0] <= self.now:
                heapq.heappop(self.coming)[2]()
            else:
                self.step(Wake())
        self.now = end

    def due_at(self) -> int:
        wake_at = self.core.wake_at - CLOCK_START
        return max(self.now, min([wake_at, *(at for at, _, _ in self.coming[:1])]))

    def do_skip(self, at):
        """``skip 4000``: advance to that time without a look at what happens."""
        self.do_until(at)
        self.playbill.take()

    def do_stall(self, duration_ms):
        """``stall 3000``: our own process stands still."""
        self.now += int(duration_ms)

    def do_kill(self, *names):
        """``kill M``: its connections break, and new ones are refused."""
        for name in names:
            self.conditions[name] = "dead"
            self.drop_links_of(self.nodes[name], *LinkKind)

    def do_drop(self, name, kind):
        """``drop R1 pubsub``: one of its connections breaks."""
        self.drop_links_of(self.nodes[name], LinkKind(kind))

    def do_silence(self, *names):
        """``silence M``: it hangs; connections stand, what is sent is read when it wakes up."""
        self.conditions.update(dict.fromkeys(names, "silent"))

    def do_cut(self, *names):
        """``cut M``: the network towards it swallows everything."""
        self.conditions.update(dict.fromkeys(names, "cut"))

    def do_wake(self, *names):
        """``wake M``: a silenced node reads on."""
        for name in names:
            del self.conditions[name]
            for connection in self.links_of(self.nodes[name], *LinkKind):
                while connection.unread and connection.is_up:
                    self.execute(connection, connection.unread.popleft())

    def do_revive(self, *names):
        """``revive M``: a killed or cut off node is back; in any case, connections are new."""
        for name in names:
            self.conditions.pop(name, None)
            self.drop_links_of(self.nodes[name], *LinkKind)

    def do_restart(self, name):
        """``restart M``: the server comes up as another process, with another run id."""
        node = self.nodes[name]
        node.restarts += 1
        self.conditions.pop(name, None)
        self.drop_links_of(node, *LinkKind)

    def do_now(self, name, **fields):
        """``now R1 offset=10 follows=R2 says=-LOADING``: what a node is from now on."""
        node = self.nodes[name]
        for key, value in fields.items():
            if key == "follows":
                node.follow(self.nodes[value].endpoint if value else None, self.now)
            elif key == "says":
                node.ping_reply = value.encode() if value[0] != "-" else ErrorReply(value[1:])
            elif key == "sees":
                node.sees_down = value == "down"
            elif key == "votes":
                node.vote = None if value == "first" else self.fixed_vote(value)
            elif key == "told":
                node.told = (value, node.port)
            elif key in ("host", "replid", "replid2", "refuses"):
                setattr(node, key, value)
            else:
                assert hasattr(node, key), key
                setattr(node, key, int(value))

    def fixed_vote(self, text: str) -> Callable[[str, int], tuple[str | None, int]]:
        """``S2@5`` (that vote), ``S2`` (in the epoch it is asked for), ``nobody@5``."""
        whom, _, epoch = text.partition("@")
        leader = None if whom == "nobody" else self.id_of(whom)
        return lambda _candidate, asked: (leader, int(epoch or asked))

    def id_of(self, name: str) -> str:
        return self.state.myid if name == "S0" else self.nodes[name].id

    def do_hello(self, name, via="", **fields):
        """``hello S1 epoch=1 address=R1 config-epoch=1 via=M``: heard on M's channel, or published
        to us if ``via`` is left out."""
        payload = self.hello_of(self.nodes[name], **fields)
        if via:
            self.publish(self.nodes[via], payload)
        else:
            self.step(DirectHello(payload))

    def do_direct(self, payload):
        """``direct <payload>``: a client publishes this to us as a hello."""
        self.step(DirectHello(payload))

    def hello_of(self, peer, master="mymaster", host="", address="M", **fields) -> str:
        about = self.nodes.get(address)
        peer.epoch = int(fields.get("epoch", peer.epoch))
        return ",".join(
            str(field)
            for field in (
                host or peer.host,
                peer.port,
                peer.id,
                peer.epoch,
                master,
                about.host if about else address,
                about.port if about else 6379,
                fields.get("config-epoch", self.state.masters[master].config_epoch),
            )
        )

    def do_ask(self, name, about="M", epoch="0", candidate="*"):
        """``ask S1 about=M epoch=1 candidate=S1``: S1 asks us IS-MASTER-DOWN-BY-ADDR."""
        node = self.nodes[about]
        whom = candidate if candidate == "*" else self.id_of(candidate)
        self.tickets += 1
        self.step(DownQuestion(self.tickets, node.host, node.port, int(epoch), whom))

    def do_order(self, word, *args):
        """``order FAILOVER mymaster``: a SENTINEL subcommand of an operator."""
        self.tickets += 1
        self.step(ORDERS[word](self.tickets, *args))

    def do_resolved(self, host, ip=None):
        """``resolved db.example ip=10.0.0.1``: the answer to a resolve effect; no ip: none."""
        self.step(Resolved(host, ip))

    def do_raft(self, leader="S0"):
        """``raft leader=S1``: all sentinels are members of a Raft cluster, S0 (we) or S1 leads."""
        if self.state.raft is None:
            self.state.raft = Raft(boot="stage")
            self.playbill.topics.add("log")
        peers = [node.id for node in self.nodes.values() if isinstance(node, PeerModel)]
        view = RaftView(
            members=(self.state.myid, *peers),
            leader=self.id_of(leader) if leader else None,
            leads=leader == "S0",
            has_majority=bool(leader),
            term=1,
        )
        self.step(view)

    def do_fenced(self, name="mymaster"):
        """``fenced``: the config file says that we had paused the master when we were killed."""
        self.state.masters[name].fence.was_left = True

    def do_report(self, name, down="yes", replica="no", master="mymaster"):
        """``report S1 down=yes replica=yes``: a member tells what it sees, on the Raft stream."""
        epoch = self.state.masters[master].config_epoch
        self.step(DownReport(self.id_of(name), master, epoch, down == "yes", replica == "yes"))

    def do_claimed(self, epoch="1", master="mymaster"):
        """``claimed epoch=1``: another leader's claim is committed."""
        raft = self.state.raft
        self.commit(Claim(master, int(epoch), raft.leader or raft.members[-1], False, False))

    def do_switched(self, name, epoch="1", master="mymaster"):
        """``switched R1 epoch=1``: another leader's claim and its switch to R1 are committed."""
        node = self.nodes[name]
        self.do_claimed(epoch, master)
        self.commit(Switch(master, int(epoch), node.host, node.port, node.host))

    def do_finished(self, epoch="1", master="mymaster"):
        """``finished epoch=1``: another leader has told all replicas."""
        self.commit(Finish(master, int(epoch)))

    def commit(self, entry: Claim | Switch | Finish) -> None:
        self.committed += 1
        self.step(Committed(self.committed, f"x:{self.committed}", entry))

    def do_contact(self, *names, lacks="nothing"):
        """``contact S1 S2``: from now on we have proof of contact, and as leader gave it to these.

        Without a name: alone. ``lacks=entries``: but we lack what was committed meanwhile.
        """
        others = {self.id_of(name) for name in names if name != "S0"}
        self.in_contact = {it: self.in_contact.get(it, 0) for it in self.in_contact.keys() | others}
        self.has_contact = bool(names)
        self.speakers, self.is_current = others, lacks == "nothing"
        self.planned_contact = object()
        if names:
            self.renew_contact(self.planned_contact)

    def renew_contact(self, plan: object) -> None:
        if plan is not self.planned_contact:
            return
        now = CLOCK_START + self.now
        self.in_contact.update(dict.fromkeys(sorted(self.speakers), now))
        heard = tuple(sorted(self.in_contact.items()))
        self.step(RaftContact(now, heard, is_current=self.is_current))
        self.coming_at(self.now + 100, lambda: self.renew_contact(plan))

    # Words of the script: how it is shown ---------------------------------------------------------

    def do_show(self, *topics):
        """``show ping info hello links words``: what is not of interest as a rule."""
        self.playbill.topics.update(topics)

    def do_hide(self, *topics):
        """``hide asks``: take a topic out of the output."""
        self.playbill.topics.difference_update(topics)

    def do_dice(self, share):
        """``dice 0``: every random time is the least that is possible; 1: the most."""
        self.dice.share = float(share)

    def do_unsaved(self, *reason):
        """``unsaved disk full``: saves fail from now on; without a reason: they work again."""
        self.step(SaveOutcome(" ".join(reason)))

    def do_settings(self, **fields):
        """``settings resolve-hostnames=yes``: what the config file says of the whole sentinel."""
        for key, value in fields.items():
            setattr(self.state.settings, key.replace("-", "_"), value == "yes" or value)

    def do_state(self, name="mymaster"):
        """``state``: epochs, vote, and where a failover stands."""
        self.playbill.state(self.now, self.state, self.state.masters[name])


def is_at(node: Node, endpoint: tuple[str, int]) -> bool:
    """Whether that address leads to the node."""
    return node.is_at(endpoint) if isinstance(node, RedisModel) else node.endpoint == endpoint


def _value(text: str) -> int | bool:
    return text == "yes" if text in ("yes", "no") else int(text)
