"""Several cores and model Redis servers on a faulty network, in virtual time, all from one seed.

A ``World`` delivers: effects become messages, messages become inputs. What goes wrong in it is for
the caller to say (``cut``, ``crash`` …); what must never happen is watched by ``watch`` functions,
which see each step of each sentinel. A message takes a random time, keeps its place on its
connection, and waits while its ends cannot reach each other, as in TCP.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from sentinel_py.core import roster
from sentinel_py.core.messages import (
    Answer,
    ChannelMessage,
    Close,
    DirectHello,
    DownAnswer,
    DownQuestion,
    Effect,
    ErrorReply,
    Input,
    LinkDown,
    LinkUp,
    Open,
    Order,
    Reply,
    Request,
    Save,
    SaveSoon,
    Send,
    Value,
    Wake,
)
from sentinel_py.core.model import Address, LinkKind, Options, State
from sentinel_py.core.sentinel import Sentinel

from .models import RedisModel

CLOCK_START = 1_000_000
SAVE_SOON_MS = 500
RETRANSMIT_MS = 50
"""How often a message tries again that cannot get through."""

INFO_PERIOD_MS = 2_000
"""In proportion to a down-after of 1 s: by default a master that has become a replica is found down
only when its replicas have been cut off for too long to be promoted (10 x down-after)."""

Disk = dict[str, object]
Watch = Callable[["Host", Input | None, list[Effect]], None]


def snapshot(state: State) -> Disk:
    """What the config file keeps of a state; whom we voted for is not in it."""
    return {
        "epoch": state.current_epoch,
        "masters": {
            master.name: {
                "address": master.address,
                "config_epoch": master.config_epoch,
                "leader_epoch": master.leader_epoch,
                "replicas": [replica.address for replica in master.replicas.values()],
                "peers": {peer.run_id: peer.address for peer in master.peers.values()},
            }
            for master in state.masters.values()
        },
    }


def restored(myid: str, disk: Disk, options: Options, now: int) -> State:
    """The state as a process has it that has just read its config file."""
    state = State(myid=myid, current_epoch=disk["epoch"])
    state.constants.info_period = INFO_PERIOD_MS
    for name, saved in disk["masters"].items():
        master = roster.add_master(state, now, name, saved["address"], options)
        master.config_epoch = saved["config_epoch"]
        master.leader_epoch = saved["leader_epoch"]
        for address in saved["replicas"]:
            roster.add_replica(state, now, master, address)
        for run_id, address in saved["peers"].items():
            roster.add_peer(state, now, master, run_id, address)
    return state


@dataclass(eq=False)
class Host:
    """A machine with one process: a sentinel (with its disk) or a Redis server."""

    ip: str
    port: int
    redis: RedisModel | None = None
    core: Sentinel | None = None
    disk: Disk = field(default_factory=dict)
    is_up: bool = True
    hangs: bool = False
    links: dict[int, Connection] = field(default_factory=dict)  # a sentinel's, by link id
    woken_at: int = 0
    owes_save: bool = False  # what it has learnt is saved soon, and lost if it crashes before

    @property
    def address(self) -> Address:
        return Address(self.ip, self.port, self.ip)


class Connection:
    """A sentinel's connection to a host, with a queue of messages in each direction."""

    def __init__(self, owner: Host, effect: Open, target: Host) -> None:
        self.owner = owner
        self.link = effect.link
        self.kind = effect.kind
        self.target = target
        self.is_open = True  # as its owner sees it
        self.is_served = True  # as its target does
        self.queues = {owner: deque(), target: deque()}  # by receiver


class World:
    """The hosts, the network and the clock. ``watches`` see all that the sentinels do."""

    def __init__(self, seed: int, *, sentinels: int = 3, redises: int = 3, groups: int = 1) -> None:
        self.rng = Random(seed)
        self.now = CLOCK_START
        self.delay_ms = (0, 2)
        self.options = Options(sentinels // 2 + 1, down_after_ms=1000, failover_timeout_ms=6000)
        self.watches: list[Watch] = []
        self.strangers: list[Host] = []
        self.crash_in_step = 0.0  # chance that a sentinel dies amid its effects
        self._coming: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._cut: set[frozenset[str]] = set()
        self.groups = {f"group{g}": self._group(g, redises) for g in range(groups)}
        self.redises = [host for hosts in self.groups.values() for host in hosts]
        self.sentinels = [Host(f"10.0.1.{n}", 26379) for n in range(1, sentinels + 1)]
        self.hosts = {(h.ip, h.port): h for h in (*self.redises, *self.sentinels)}
        self.hosts |= {place: h for h in self.redises for place in h.redis.others}
        for host in self.sentinels:
            self._set_up(host)

    def _group(self, group: int, size: int) -> list[Host]:
        port = 6379 + group
        first = ("10.0.0.1", port)
        return [
            Host(ip, port, redis=self._redis(n, ip, port, None if n == 1 else first))
            for n in range(1, size + 1)
            for ip in [f"10.0.0.{n}"]
        ]

    def _redis(
        self, number: int, ip: str, port: int, follows: tuple[str, int] | None
    ) -> RedisModel:
        """A server with an address in a second network, by which nobody knows it at first."""
        others = [(f"10.9.0.{number}", port)]
        return RedisModel(f"{ip}:{port}", ip, port, follows=follows, others=others)

    def give_histories(self, keys: int) -> None:
        """Have servers say what data they have; those that are linked have their master's."""
        for name, hosts in self.groups.items():
            for host in hosts:
                host.redis.replid, host.redis.keys = f"{name}-history", keys

    def give_away(self, host: Host) -> None:
        """Somebody else's server, with data, comes to the address of one that has ended."""
        assert not host.is_up
        host.redis = RedisModel(f"stranger at {host.ip}", host.ip, host.port, keys=50)
        host.redis.replid = f"history of {host.redis.name}"
        host.redis.started_as = "/etc/another.conf"
        self.strangers.append(host)

    def _set_up(self, host: Host) -> None:
        masters = {
            name: {
                "address": hosts[0].address,
                "config_epoch": 0,
                "leader_epoch": 0,
                "replicas": [],
                "peers": {},
            }
            for name, hosts in self.groups.items()
        }
        host.disk = {"epoch": 0, "masters": masters}
        self._boot(host)

    def _boot(self, host: Host) -> None:
        myid = host.ip.split(".")[-1].zfill(40)
        state = restored(myid, host.disk, self.options, self.now)
        host.core = Sentinel(state, Random(self.rng.random()))
        self._carry_out(host, None, host.core.start(self.now))

    # Time -----------------------------------------------------------------------------------------

    def run(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while self._coming and self._coming[0][0] <= end:
            self.now, _, what = heapq.heappop(self._coming)
            what()
        self.now = end

    def at(self, when: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (when, next(self._numbers), what))

    def _delay(self) -> int:
        return self.rng.randint(*self.delay_ms)

    def _wake(self, host: Host, core: Sentinel, at: int) -> None:
        if host.core is not core or host.woken_at != at:
            return
        if host.hangs:
            self.at(self.now + RETRANSMIT_MS, lambda: self._wake(host, core, at))
        else:
            self.step(host, Wake())

    # Sentinels ------------------------------------------------------------------------------------

    def step(self, host: Host, event: Input) -> list[Effect]:
        effects = host.core.step(self.now, event)
        self._carry_out(host, event, effects)
        return effects

    def order(self, host: Host, order: Order) -> None:
        if host.is_up and not host.hangs:
            self.step(host, order)

    def _carry_out(self, host: Host, event: Input | None, effects: list[Effect]) -> None:
        core = host.core
        survives = len(effects)
        if self.rng.random() < self.crash_in_step:
            survives = self.rng.randint(0, len(effects))
        for effect in effects[:survives]:
            match effect:
                case Save():
                    self._save(host, core)
                case SaveSoon():
                    host.owes_save = True
                    self.at(self.now + SAVE_SOON_MS, lambda: self._save(host, core))
                case Open():
                    self._open(host, effect)
                case Close():
                    self._hang_up(host.links[effect.link])
                case Send():
                    for request in effect.requests:
                        self._post(host.links[effect.link], host.links[effect.link].target, request)
        for watch in self.watches:
            watch(host, event, effects[:survives])
        if survives < len(effects):
            self.crash(host)
            return
        is_saved = host.disk == snapshot(core.state)
        assert is_saved or host.owes_save, "changed without being saved"
        host.woken_at = at = max(core.wake_at, self.now)
        self.at(at, lambda: self._wake(host, core, at))

    def _save(self, host: Host, core: Sentinel) -> None:
        if host.core is core:
            host.disk = snapshot(core.state)
            host.owes_save = False

    # Network --------------------------------------------------------------------------------------

    def reach(self, one: Host, other: Host) -> bool:
        return one.ip == other.ip or frozenset((one.ip, other.ip)) not in self._cut

    def cut(self, one: Host, other: Host) -> None:
        self._cut.add(frozenset((one.ip, other.ip)))

    def heal(self) -> None:
        self._cut.clear()

    def _open(self, host: Host, effect: Open) -> None:
        assert effect.link not in host.links, "opened twice"
        connection = Connection(host, effect, self.hosts[effect.ip, effect.port])
        host.links[effect.link] = connection
        self.at(self.now + self._delay(), lambda: self._accept(connection))

    def _accept(self, connection: Connection) -> None:
        if not connection.is_open:
            return
        if connection.owner.hangs or not self.reach(connection.owner, connection.target):
            self.at(self.now + RETRANSMIT_MS, lambda: self._accept(connection))
        elif connection.target.is_up:
            self.step(connection.owner, LinkUp(connection.link, connection.owner.ip))
        else:
            self._break(connection)

    def _hang_up(self, connection: Connection) -> None:
        connection.is_open = False
        del connection.owner.links[connection.link]

    def _break(self, connection: Connection) -> None:
        """The target drops the connection; its owner hears of that if anything reaches it."""
        connection.is_served = False
        if connection.owner.hangs:
            self.at(self.now + RETRANSMIT_MS, lambda: self._break(connection))
        elif connection.is_open and self.reach(connection.owner, connection.target):
            self._hang_up(connection)
            self.step(connection.owner, LinkDown(connection.link, "broken"))

    def _post(self, connection: Connection, receiver: Host, message: object) -> None:
        queue = connection.queues[receiver]
        queue.append(message)
        if len(queue) == 1:
            self.at(self.now + self._delay(), lambda: self._deliver(connection, receiver))

    def _deliver(self, connection: Connection, receiver: Host) -> None:
        queue = connection.queues[receiver]
        if not (connection.is_open and connection.is_served and queue):
            return
        if receiver.hangs or not self.reach(connection.owner, connection.target):
            self.at(self.now + RETRANSMIT_MS, lambda: self._deliver(connection, receiver))
            return
        waiting = list(queue)
        queue.clear()
        for message in waiting:
            if not (connection.is_open and connection.is_served):
                return
            if receiver is connection.owner:
                self.step(receiver, message)
            else:
                value = self._execute(receiver, connection, message)
                if connection.kind is LinkKind.COMMAND:
                    reply = Reply(connection.link, message, value)
                    self._post(connection, connection.owner, reply)

    # Servers --------------------------------------------------------------------------------------

    def _execute(self, host: Host, connection: Connection, request: Request) -> Value:
        if host.redis is None:
            return self._ask_sentinel(host, request.args)
        if request.args[0] == "INFO":
            return self._info(host)
        if request.args[0] == "PUBLISH":
            self._publish(host, request.args[2])
        if request.args[:2] == ("FAILOVER", "TO"):
            return self._hand_over(host, self.hosts[request.args[2], int(request.args[3])])
        value, kicks = host.redis.execute(request.args, self.now)
        if kicks:
            for other in self._connections_to(host):
                if other is not connection:
                    self.at(self.now, lambda other=other: self._break(other))
        return value

    def _ask_sentinel(self, host: Host, args: tuple[str, ...]) -> Value:
        match args:
            case ["PUBLISH", _, payload]:
                self.step(host, DirectHello(payload))
                return 1
            case ["SENTINEL", _, ip, port, epoch, candidate]:
                effects = self.step(host, DownQuestion(1, ip, int(port), int(epoch), candidate))
                [answer] = [e.value for e in effects if isinstance(e, Answer)]
                assert isinstance(answer, DownAnswer)
                return [int(answer.down), (answer.leader or "*").encode(), answer.epoch]
        return b"PONG" if args[0] == "PING" else b"OK"

    def _info(self, host: Host) -> bytes:
        redis = host.redis
        followers = [
            other.redis
            for other in self.redises
            if redis.is_at(other.redis.follows) and other.is_up and self.reach(host, other)
        ]
        master = self.hosts[redis.follows] if redis.follows else None
        is_linked = (
            master is not None
            and master.is_up
            and not master.hangs
            and master.redis.follows is None
            and self.reach(host, master)
        )
        if is_linked and redis.replid:
            redis.copy(master.redis)
        return redis.info(self.now, followers, is_linked)

    def _hand_over(self, host: Host, successor: Host) -> Value:
        """FAILOVER TO: agreed to at once, done a little later if nothing comes between."""
        if not host.redis.is_at(successor.redis.follows) or not self.reach(host, successor):
            return ErrorReply("ERR FAILOVER target is not a replica")

        def change_roles() -> None:
            if host.is_up and successor.is_up and self.reach(host, successor):
                successor.redis.follow(None, self.now)
                host.redis.follow(successor.redis.endpoint, self.now)

        self.at(self.now + 10 + self._delay(), change_roles)
        return b"OK"

    def _publish(self, host: Host, payload: str) -> None:
        for other in self.redises:
            if other is host or (host.redis.is_at(other.redis.follows) and other.is_up):
                for connection in self._connections_to(other):
                    if connection.kind is LinkKind.CHANNEL:
                        message = ChannelMessage(connection.link, payload)
                        self._post(connection, connection.owner, message)

    def _connections_to(self, host: Host) -> list[Connection]:
        links = itertools.chain.from_iterable(s.links.values() for s in self.sentinels)
        return [connection for connection in links if connection.target is host]

    # Faults ---------------------------------------------------------------------------------------

    def crash(self, host: Host) -> None:
        """The process ends; what it had not saved is lost."""
        host.is_up = host.hangs = False
        for connection in list(host.links.values()):
            self._hang_up(connection)
        host.core = None
        host.owes_save = False
        for connection in self._connections_to(host):
            connection.is_served = False
            self.at(self.now + self._delay(), lambda c=connection: self._break(c))

    def restart(self, host: Host) -> None:
        if host.is_up:
            return
        host.is_up = True
        if host.redis:
            host.redis.restarts += 1
        else:
            self._boot(host)

    def reset_connection(self) -> None:
        """One connection breaks for no reason."""
        links = [c for s in self.sentinels if s.is_up for c in s.links.values()]
        if links:
            self._break(self.rng.choice(links))

    # What can be seen -----------------------------------------------------------------------------

    def agreed_master(self, name: str) -> Address | None:
        """The address that every sentinel holds to be the master's, if they all agree."""
        held = {s.core.state.masters[name].address for s in self.sentinels if s.is_up}
        return held.pop() if len(held) == 1 else None

    def is_whole(self, name: str) -> bool:
        """All agree on a master, it is one, and everybody else follows it."""
        address = self.agreed_master(name)
        if address is None:
            return False
        master = self.hosts[address.host, address.port]
        return master.redis.follows is None and all(
            host is master or master.redis.is_at(host.redis.follows) for host in self.groups[name]
        )
