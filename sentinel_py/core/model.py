"""The state: addresses, links, masters, replicas, peers, a running failover.

Plain data and the questions that need nothing but the data. What changes it stands in the modules
named after the job (``detector``, ``info``, ``hello``, ``election``, ``failover``, ``orders``).
Times are ms on the clock that ``step`` is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING

from sentinel_py.core.past import FormerMaster, HeardOrder, RecentOrder
from sentinel_py.values import dataclass

if TYPE_CHECKING:
    from sentinel_py.core.messages import Monitor, Request

MAX_EPOCH = 2**63 - 1
"""What files and the wire can hold."""

EPOCH_LEAP_MAX = 2**32
"""Epochs further ahead of ours are refused: one forged message must not use the counter up."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host as given, port, and the ip that the host stands for (both the same when numeric)."""

    host: str
    port: int
    ip: str

    def same_as(self, other: Address) -> bool:
        """Ports equal, and ips or host texts equal, as Sentinel compares addresses."""
        return self.port == other.port and (
            (self.ip == other.ip and self.ip != "") or self.host.lower() == other.host.lower()
        )

    def is_named(self, host: str, port: int, ip: str | None) -> bool:
        """Whether a host text from outside (``ip``: what it stands for, if known) means us."""
        return self.same_as(Address(host, port, ip or ""))


class LinkKind(Enum):
    """Command links carry requests; channel links subscribe to the hello channel."""

    COMMAND = "cmd"
    CHANNEL = "pubsub"


class LinkState(Enum):
    """Where a link's connection stands."""

    DOWN = 0
    CONNECTING = 1
    UP = 2


@dataclass(slots=True, eq=False)
class Link:
    """One connection, wanted for as long as it has owners; re-opened whenever it breaks.

    Rows of the same peer under several masters own one command link together.
    """

    id: int
    kind: LinkKind
    ok_at: int  # last acceptable ping reply; at first, the link's creation
    heard_at: int  # last reply or message of any kind
    ping_since: int | None  # when the oldest unanswered ping was sent
    owners: list[Instance] = field(default_factory=list)
    state: LinkState = LinkState.DOWN
    tried_at: int | None = None
    up_at: int = 0
    pinged_at: int | None = None
    local_ip: str = ""
    pending: int = 0
    fruitless: int = 0  # connections in a row that came up and brought nothing

    @property
    def is_up(self) -> bool:
        return self.state is LinkState.UP


class Role(Enum):
    """A data node's role as the wire names it."""

    MASTER = "master"
    REPLICA = "slave"


class Reconf(Enum):
    """How far a replica has been pointed to the new master; values are the row's flags."""

    NONE = ""
    SENT = "reconf_sent"
    IN_PROGRESS = "reconf_inprog"
    DONE = "reconf_done"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Whose history a server's data are, and how far they go, by its INFO; empty where unknown."""

    replid: str = ""
    replid2: str = ""  # the history that ours has grown out of
    parted_offset: int = -1  # where it did
    offset: int = 0
    keys: int | None = None
    is_all_new: bool = False  # whatever it has may have come since its start
    is_loading: bool = False
    is_syncing: bool = False
    has_aof: bool = False  # it is started from that file, which does not say whose data they are
    keeps_ids: bool = False  # the other file says so, since Redis 7
    started_as: str = ""  # with which file; or by which program, where there is none


@dataclass(slots=True)
class Lineage:
    """What a master is known to have had."""

    run_id: str
    replid: str
    replid2: str
    offset: int
    keys: int


@dataclass(slots=True)
class Fence:
    """How far we have stopped writes on a server, which is or was the master."""

    asked_at: int | None = None  # the last pause that was ordered
    is_on: bool = False  # the master has confirmed one
    is_refused: bool = False
    is_ending: bool = False  # it is to end, and the master cannot be told yet
    was_left: bool = False  # an earlier life of ours may have left one behind
    left: tuple[int, int] | None = None  # till when it may yet arrive; when to end it (again)


@dataclass(slots=True)
class FollowOrder:
    """An order to follow somebody, or nobody, while its answers are awaited."""

    change: tuple[str, ...]  # of its role, in the words of the order
    awaited: deque[Request]
    queued: tuple[str, ...]  # what users need for what is in the transaction, in its order
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Instance:
    """What masters, replicas and peers have in common. ``down_at`` outlives ``is_down``."""

    address: Address
    command: Link
    run_id: str
    created_at: int
    is_down: bool = False
    down_at: int | None = None
    due_at: int | None = None  # when the detector looks again; the one valid timer entry
    attend_at: int = 0  # till then, nothing but pings and hellos can be due
    hello_due_at: int = 0
    period_ms: int = 1  # from ping to ping
    hello_at: int = 0  # last hello that was delivered to it; its creation counts as one
    hello_asked_at: int | None = None


@dataclass(slots=True, eq=False)
class DataNode(Instance):
    """A Redis server: a master or a replica, with a channel link and an INFO."""

    channel: Link = field(kw_only=True)
    role: Role = field(kw_only=True)
    role_at: int = 0
    run_id_at: int = 0  # when the run id was first seen or last changed
    config_changed_at: int = 0
    info: bytes | None = None
    info_at: int | None = None
    info_asked_at: int | None = None
    dataset: Dataset | None = None
    data_at: int = 0  # since when it has the replication id that it has
    member_run_id: str = ""  # the server here that was last seen to be one of the group
    member_data: Dataset | None = None  # and what it had then
    member_kept: Dataset | None = None  # the same, as far as it is kept in the file
    master_host: str = "?"  # whom it follows, if it is a replica, and if that works
    master_port: int = 0
    master_link_up: bool = False
    fence: Fence = field(default_factory=Fence)
    paused_until: int = 0  # by somebody who is no sentinel, as INFO tells
    script_killed: bool = False
    is_failing_over: bool = False  # by a FAILOVER of its own, in which it takes no writes
    order: FollowOrder | None = None  # one that was not answered yet
    refusals: dict[str, str] = field(default_factory=dict)  # by right, in the server's words
    refused_at: int | None = None  # when it refused to be a master

    def links(self) -> tuple[Link, Link]:
        return self.command, self.channel

    @property
    def is_disconnected(self) -> bool:
        return any(link.state is LinkState.DOWN for link in self.links())


@dataclass(slots=True, eq=False)
class Replica(DataNode):
    """A replica of ``master``; the fields are what its last INFO said."""

    master: Master = field(kw_only=True)
    name: str = field(kw_only=True)
    master_link_down_ms: int = 0
    was_never_linked: bool = False  # since it was started
    listed_at: int | None = None  # when its master's INFO last had it among the replicas
    priority: int = 100
    offset: int = 0
    announced: bool = True
    reconf: Reconf = Reconf.NONE
    reconf_at: int = 0
    demote: bool = False  # a former master that has not yet been seen as a replica
    detached_at: int | None = None  # when it was kept from copying an emptied master
    parting: Dataset | None = None  # what it had as a master, until it can be compared
    told_offset: int = 0  # how far it had gone its own way, when that was told last
    corrected_at: int | None = None  # when it was last told to follow the right master
    is_hearsay: bool = False  # a master's INFO has named it, and nothing shows that it follows
    suspect_at: int | None = None  # since when it seems to be a foreign instance
    told_refusal: str = ""  # why it was said not to be promoted, but for numbers
    told_foreign: str = ""  # the run id of the one that was said to be

    @property
    def is_foreign(self) -> bool:
        return self.suspect_at is not None


@dataclass(slots=True, eq=False)
class Peer(Instance):
    """Another sentinel that watches ``master``; ``run_id`` is its id."""

    master: Master = field(kw_only=True)
    heard_at: int = 0  # its last hello
    last_hello: str = ""
    told_epoch: int = 0  # the latest epoch that it has said it is in
    asked_at: int | None = None
    told_at: int | None = None  # a fellow member: when it was last told what we see
    answered_at: int | None = None
    says_down: bool = False
    has_replica: bool = False  # a fellow member says that it sees one that it could promote
    leader: str | None = None
    leader_epoch: int = 0

    @property
    def is_disconnected(self) -> bool:
        return self.command.state is LinkState.DOWN


class Phase(Enum):
    """A failover's step; values are the row's ``failover-state``."""

    WAIT_START = "wait_start"
    SELECT = "select_slave"
    SEND = "send_slaveof_noone"
    WAIT_PROMOTION = "wait_promotion"
    RECONF = "reconf_slaves"


@dataclass(slots=True)
class CatchUp:
    """A promotion's wait until the chosen replica has all that the old master acknowledged."""

    ends_at: int  # the promotion waits no longer
    pause_ends_at: int  # till then, the old master may take no writes
    target: int | None = None  # where its history ends
    ask_at: int | None = None  # when the replica is to be asked how far it is


@dataclass(slots=True, eq=False)
class Failover:
    """A failover that this sentinel leads, or wants to lead."""

    epoch: int
    forced: bool
    started_at: int
    phase: Phase = Phase.WAIT_START
    phase_at: int = 0
    chosen: Replica | None = None
    is_coordinated: bool = False
    is_resumed: bool = False  # the chosen one may be promoted already: ask before telling it
    ticket: int | None = None  # the order to answer when the master has agreed
    takes_stale: bool = False  # replicas of any lineage and lag, by order
    held_until: int = 0  # when no silent member can be letting the old master take writes
    catch_up: CatchUp | None = None


@dataclass(slots=True)
class Mandate:
    """What the Raft log says of a master's failover, so that another member can finish it."""

    epoch: int
    leader: str
    forced: bool
    chosen: Address | None = None
    switched: bool = False
    is_over: bool = False  # seen here; for the log it goes on until that has its end


class Leave(Enum):
    """Whether a failover may start, where the program around us is asked."""

    UNASKED = 0
    ASKED = 1
    GIVEN = 2


class Wait(Enum):
    """Why a master's next failover attempt has to wait: what may cut the wait short."""

    NOTHING = 0
    LEADER = 1  # another sentinel leads or may lead: until it is seen dead
    NOT_ELECTED = 2  # until a peer answers that had not
    NO_REPLICA = 3  # until a replica becomes eligible


OptionValue = int | str | None


@dataclass(slots=True)
class Options:
    """What ``sentinel <option> <master-name> ...`` and SENTINEL SET configure."""

    quorum: int
    down_after_ms: int
    failover_timeout_ms: int
    parallel_syncs: int = 1
    reboot_down_after_ms: int = 0
    notification_script: str | None = None
    client_reconfig_script: str | None = None
    auth_user: str | None = None
    auth_pass: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)  # keys in lower case
    loading_down_after_ms: int = 0
    fence_isolated_master: bool = False
    protect_empty_restart: bool | None = None  # None: as Raft mode or classic mode has it
    check_lineage: bool | None = None  # likewise
    max_promotion_lag: int = 0  # bytes; 0 is any
    trust_addresses: bool = False  # whoever is at an address is the one who was there


@dataclass(frozen=True, slots=True)
class NamedSwitch:
    """A server that a hello of this sentinel has named as the master, until it has been asked."""

    address: Address
    config_epoch: int
    run_id: str
    at: int
    is_probe: bool  # its row was made to ask it


@dataclass(slots=True, eq=False)
class Master(DataNode):
    """A watched master with its replicas (by row name) and peers (by id)."""

    name: str = field(kw_only=True)
    options: Options = field(kw_only=True)  # in effect here
    shared: Options = field(init=False)  # the same, before any overrides
    overrides: dict[str, OptionValue] = field(default_factory=dict)  # by field of Options
    own_scripts: dict[str, str] = field(default_factory=dict)  # whose paths our own file names
    peers_changed_at: int = 0  # the beginning of the second
    peers_changed: int = 0  # in which so many came or moved
    told_upstream: str = ""  # whom it was said to be a replica of
    unshared: tuple[str, str] = "", ""  # its record that the Raft log does not take, and why
    told_scripts: dict[str, str] = field(default_factory=dict)  # said not to be run, by option
    config_epoch: int = 0
    named: dict[str, NamedSwitch] = field(default_factory=dict)  # by ip and port
    judged: dict[str, tuple[bool, int]] = field(default_factory=dict)  # places: kin?, until when
    disbelieved: str = ""  # the last place that was named, and said not to be believed
    logged: tuple[Address, int] | None = None  # by the log, while we catch up with it
    switched_at: int | None = None  # since when this server has been the master
    leader: str | None = None
    leader_epoch: int = 0
    is_odown: bool = False
    odown_at: int | None = None
    rebooted_at: int | None = None
    loading_at: int | None = None  # since when it answers that it is loading
    lineage: Lineage | None = None
    ancestors: list[str] = field(default_factory=list)  # its replication ids, oldest first
    former_replicas: tuple[Address, ...] = ()  # before it was reset or monitored, and is unread
    admitted: dict[str, str] = field(default_factory=dict)  # by address, whose data may go
    emptied_at: int | None = None  # since when it is seen to have come back empty
    rescue_at: int = 0  # no attempt to save its data before this time
    replicas: dict[str, Replica] = field(default_factory=dict)
    aliases: dict[tuple[str, int], Alias] = field(default_factory=dict)  # by ip (or name) and port
    peers: dict[str, Peer] = field(default_factory=dict)
    failover: Failover | None = None
    stale_epoch: int = 0  # the attempt that may take replicas of any lineage, by order
    mandate: Mandate | None = None
    proposed: str | None = None  # our entry about this failover that is under way
    ballot: str | None = None  # our entry with a vote that is under way
    adoption: str | None = None  # our entry that brings this master into the log
    is_replicated: bool = False  # the log knows this master
    is_carried: bool = False  # a log that we have left knew it; what ours says of it counts
    wait: Wait = Wait.NOTHING
    awaited: str | None = None  # the leader waited for
    try_at: int | None = None  # no failover attempt before this time
    delay_logged_for: int | None = None
    leave: Leave = Leave.UNASKED
    leave_at: int = 0  # when it was given; or when it may be asked for again

    def __post_init__(self) -> None:
        self.shared = self.options

    @property
    def promoted(self) -> Replica | None:
        """The replica that a running failover has promoted or is about to."""
        return self.failover.chosen if self.failover else None

    def replica_at(self, address: Address) -> Replica | None:
        return next((r for r in self.replicas.values() if r.address.same_as(address)), None)

    def instances(self) -> Iterator[Instance]:
        yield self
        yield from self.replicas.values()
        yield from self.peers.values()

    def data_nodes(self) -> Iterator[DataNode]:
        yield self
        yield from self.replicas.values()


@dataclass(frozen=True, slots=True)
class Alias:
    """A second address of a server of the group: which server it led to, and till when we rely on
    that."""

    run_id: str
    ends_at: int


@dataclass(slots=True)
class Constants:
    """What SENTINEL DEBUG shows and sets, in its order; never saved."""

    info_period: int = 10_000
    ping_period: int = 1_000
    ask_period: int = 1_000
    publish_period: int = 2_000
    default_down_after: int = 30_000
    default_failover_timeout: int = 180_000
    tilt_trigger: int = 2_000
    tilt_period: int = 30_000
    slave_reconf_timeout: int = 10_000
    min_link_reconnect_period: int = 15_000
    election_timeout: int = 10_000
    script_max_runtime: int = 60_000
    script_retry_delay: int = 30_000


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events of a master, or of all (``*``), are posted to, signed if there is a secret."""

    master: str
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history; ``at`` is Unix time in ms, by the clock of who wrote it down."""

    id: int
    at: int
    name: str
    text: str
    master: str


@dataclass(slots=True)
class History:
    """The latest events; ``applied`` is the index of the last log entry about it."""

    is_shared: bool = False  # the log makes it
    applied: int = 0
    last_id: int = 0
    events: deque[Event] = field(default_factory=deque)
    characters: int = 0  # in all of them
    delivered: dict[str, int] = field(default_factory=dict)  # by webhook, the last event it took


@dataclass(slots=True)
class Settings:
    """What holds for the whole sentinel. ``port`` and ``own_pass`` are the server's own."""

    port: int = 26379
    own_pass: str = ""
    announce_ip: str = ""
    announce_port: int = 0
    resolve_hostnames: bool = False
    announce_hostnames: bool = False
    sentinel_user: str = ""
    sentinel_pass: str = ""
    deny_scripts_reconfig: bool = True
    replicate_config: bool = True
    minority_reads: bool = True
    raft_peers: list[str] = field(default_factory=list)  # host:port of each member
    raft_self: str = ""
    raft_secret: str = field(default="", repr=False)
    raft_count_outsiders: bool = False  # sentinels outside of the cluster vote, too
    bound_ip: str = ""  # the one address that we listen on; empty if there are more
    event_history: int = 1_000  # events that are kept
    raft_election_timeout_ms: int = 300  # without its leader, until a member stands for election
    webhooks: list[Webhook] = field(default_factory=list)
    webhook_per_node: bool = False
    http_port: int = 0
    http_bind: list[str] = field(default_factory=lambda: ["127.0.0.1"])
    http_hosts: list[str] = field(default_factory=list)  # names under which pages may be read
    http_tls: bool = False
    http_token: str = field(default="", repr=False)
    http_users: dict[str, str] = field(default_factory=dict, repr=False)  # name -> password
    loglevel: str = "notice"


class SimulatedFailure(Enum):
    """SENTINEL SIMULATE-FAILURE's words."""

    AFTER_ELECTION = "crash-after-election"
    AFTER_PROMOTION = "crash-after-promotion"


@dataclass(slots=True)
class Raft:
    """This sentinel as a member of a Raft cluster. ``members`` are ids of sentinels."""

    boot: str  # makes entry ids differ from those of earlier runs
    members: tuple[str, ...] = ()
    addresses: dict[str, Address] = field(default_factory=dict)  # of members, as far as known
    trouble: str = ""  # why there is no majority, as far as this member can tell
    floor_epoch: int = 0  # the latest epoch of the time before the log, which it is to begin behind
    floor_entry: str | None = None  # our entry that says so
    leader: str | None = None
    leads: bool = False
    has_lease: bool = False
    lead_entry: str | None = None  # the entry whose commit makes us lead
    has_majority: bool = False
    lost_at: int | None = None  # since when there is no majority
    joined_at: int | None = None  # since when we are a member that may have to fence
    contact_at: int | None = None  # the last proof that no other leader was at work
    is_current: bool = False  # with that proof, all was applied that had been committed
    gave_lead_at: int | None = None  # when another member was to lead in our place
    led_at: int = 0  # since when we have the lease, if we have it
    heard_at: dict[str, int] = field(default_factory=dict)  # when we gave members such proof
    relayed_at: dict[str, int] = field(default_factory=dict)  # and when through other members
    term: int = 0
    applied: int = 0
    proposals: int = 0
    tickets: dict[str, int] = field(default_factory=dict)
    heard_orders: list[HeardOrder] = field(default_factory=list)


@dataclass(slots=True)
class State:
    """Everything the core knows."""

    myid: str
    former_ids: set[str] = field(default_factory=set)  # what we still say under them is no peer's
    current_epoch: int = 0
    settings: Settings = field(default_factory=Settings)
    constants: Constants = field(default_factory=Constants)
    masters: dict[str, Master] = field(default_factory=dict)
    links: dict[int, Link] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # host name -> last known good ip
    history: History = field(default_factory=History)
    save_trouble: str = ""  # why it is not on disk; empty if it is
    unsaved_at: int | None = None  # since when that is so
    asks_leave: bool = False  # before a failover, the program around us is asked
    raft: Raft | None = None
    raft_applied: int = 0  # the log index that the config file stands for, when it was read
    recent_orders: list[RecentOrder] = field(default_factory=list)  # by the Raft log
    former: dict[str, FormerMaster] = field(default_factory=dict)  # removed a moment ago, by name
    namesakes: list[str] = field(default_factory=list)  # where else our id was heard from
    echoes: set[str] = field(default_factory=set)  # hellos of ours that came back; only looked up
    tilt_at: int | None = None
    waiting: list[Monitor] = field(default_factory=list)  # orders whose host is being looked up
    simulated_failures: list[SimulatedFailure] = field(default_factory=list)
    last_link_id: int = 0

    @property
    def is_tilted(self) -> bool:
        return self.tilt_at is not None

    def believes(self, epoch: int) -> bool:
        """Whether an epoch from outside may be taken for real."""
        return epoch <= min(MAX_EPOCH, self.current_epoch + EPOCH_LEAP_MAX)

    def shown(self, address: Address) -> str:
        """The address's host as rows, events, hello and the config file show it."""
        return address.host if self.settings.announce_hostnames or not address.ip else address.ip
