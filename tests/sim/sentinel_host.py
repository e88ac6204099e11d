"""A machine with one sentinel of the product on it.

The product's own parts are joined here as `daemon` joins them: core, node, links, server,
commands, notifier, history, config file, Raft member. In the place of the real clock, disk and log
stand those of the simulation. The rule it guards: nothing of the product is imitated, and whatever
it tells anybody is seen by the observer at that moment.
"""

import asyncio
from random import Random

from sentinel_py.acl.acl import Acl
from sentinel_py.config import config, directives, rewrite
from sentinel_py.core import views
from sentinel_py.core.model import State
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.history import Chronicler
from sentinel_py.links import LinkOptions, Links
from sentinel_py.node import Node
from sentinel_py.notify import Notifier
from sentinel_py.raft import report
from sentinel_py.raft.engine import Role
from sentinel_py.raft.identity import Phase
from sentinel_py.raft.member import Member
from sentinel_py.server import raft_commands
from sentinel_py.server.commands import CommandTable
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.sentinel_commands import build
from sentinel_py.server.server import Server
from sentinel_py.server.session import Session
from sentinel_py.storage import SaveError

from .disk import SimDisk, SimStorage
from .machine import Machine

CONFIG_FILE = "/data/sentinel.conf"
RAFT_FOLDER = "/data/raft"

WORLD_BEGAN_AT_MS = 1_700_000_000_000
"""What the calendar says when a world begins; no clock that jumps goes back to before 1970."""


class SentinelHost(Machine):
    """A machine whose config file and Raft files are on a disk of its own."""

    def __init__(self, world, observer, name, host, config_text):
        super().__init__(world, observer, name, host)
        self.disk = SimDisk(self.rng)
        self.disk.write_atomically(CONFIG_FILE, config_text)
        self.disk.on_cut = self.lose_power
        self.sync_us = 0

    def live(self, process):
        life = SentinelLife(process, self)
        process.loop.call_soon(life.begin)
        return life

    def _died(self):
        self.disk.crash()
        super()._died()


class SentinelLife:
    """One life of a sentinel; also ``World`` of its node, ``Host`` of its server and member."""

    def __init__(self, process, machine):
        self.process = process
        self.machine = machine
        self.config_file = CONFIG_FILE
        self.run_id = f"{machine.rng.getrandbits(160):040x}"
        self.member = None
        self._config = config.load(CONFIG_FILE, disk=machine.disk)
        self._file = rewrite.ConfigFile(CONFIG_FILE, self._config, machine.disk)
        self.core = Sentinel(self._restored(), Random(machine.rng.getrandbits(64)))
        machine.observer.started(self)

    def begin(self):
        """Join the parts, now that the loop runs, and start them."""
        self.node = Node(self.core, self, self.process.loop)
        self.links = _SeenLinks(self)
        rng = Random(self.machine.rng.getrandbits(64))
        self.member = Member(self, SimStorage(RAFT_FOLDER, self.machine.disk), LinkOptions(), rng)
        self.node.before_step = self._check_lease
        raft = raft_commands.build(self.member)
        table = CommandTable([*base_commands(), build(_SeenNode(self), self, raft)])
        self._acl = Acl.from_config(table)
        self._server = _SimServer(ServerOptions(), table, self._acl, self)
        self.publisher = _SeenNotifier(self, self._server.publish)
        self.chronicler = Chronicler(self.state, self.node.feed, self.wall_clock)
        self.chronicler.listen(_SeenEvents(self))
        self.publisher.listeners.append(self.chronicler.notice)
        task = self.process.loop.create_task(self._server.start())
        task.add_done_callback(asyncio.Future.result)
        self.node.start()
        self.member.start()

    def _check_lease(self):
        if self.is_member:
            self.member.driver.check_lease()

    def _restored(self):
        state = State(myid="")
        directives.apply(self._config.statements, state, now=self.now(), resolve=lambda _host: None)
        return state

    @property
    def name(self):
        return self.machine.name

    # World: what the node has carried out

    def now(self):
        return self.process.now_us // 1000

    def wall_clock(self):
        return WORLD_BEGAN_AT_MS + self.now()

    def save(self, state):
        self.process.stall(self.machine.sync_us)
        lines = directives.render(state)
        self._file.rewrite(lines, self._acl.describe_users())
        self.machine.observer.saved(self)

    def save_aside(self, state, done):
        error = None
        try:
            self.save(state)
        except SaveError as refused:
            error = refused
        done(error)

    def resolve(self, host):
        raise AssertionError(f"nobody has names here: {host}")

    def propose(self, effect):
        self.machine.observer.proposed(self, effect)
        self.member.propose(effect)

    def tell(self, effect):
        self.member.tell(effect)

    def give_lead(self, effect):
        self.member.give_lead(effect)

    def crash(self):
        self.machine.kill()

    def fail(self, error, *, is_sound):
        """A bug is what the simulator looks for: it ends the world, with its trace."""
        raise error

    # Host of the member

    def feed(self, event):
        self.machine.observer.fed(self, event)
        self.node.feed(event)
        self.chronicler.look()

    def held_up(self, ms):
        self.core.held_up(ms)

    def save_state(self):
        return self.node.save()

    def notice(self, notice):
        self.publisher.notice(notice)

    def log(self, _level, text):
        self.machine.observer.logged(self, text)

    # Host: what clients' commands ask of the node

    @property
    def state(self):
        return self.core.state

    @property
    def myid(self):
        return self.state.myid

    def master_names(self):
        return list(self.state.masters)

    def receive_hello(self, payload):
        self.node.hello(payload)

    def info_sections(self):
        pairs = views.sentinel_info(self.state, self.now(), 0, 0)
        return [("Sentinel", pairs), ("Raft", report.info(self.member))]

    # As others see it from above

    @property
    def is_member(self):
        """Whether it is in a Raft cluster now, whatever it was or will be."""
        return self.member is not None and self.member.driver is not None

    @property
    def votes_by_log(self):
        """Whether it casts no vote of its own: it is a member, is to be one, or was."""
        return self.state.raft is not None

    @property
    def applied_index(self):
        """How far it has come in the Raft log; None if it has none."""
        return self.member.driver.status.applied_index if self.is_member else None

    @property
    def has_halted(self):
        """Whether its Raft journal could not be written: it does no more until it is restarted."""
        return self.is_member and self.member.driver.status.role is Role.HALTED

    def belief(self, name):
        """Where it has a master, and since which epoch."""
        master = self.state.masters[name]
        return master.address.ip, master.address.port, master.config_epoch

    def known_replicas(self, name):
        replicas = self.state.masters[name].replicas.values()
        return {(it.address.ip, it.address.port) for it in replicas}

    def trouble(self, name, peers, replicas):
        """What keeps it from being at rest, with so many others to know."""
        master = self.state.masters[name]
        down = [it.address.ip for it in master.instances() if it.is_down]
        troubles = (
            (len(master.peers) != peers, f"knows {len(master.peers)} peers"),
            (len(master.replicas) != replicas, f"knows replicas {sorted(master.replicas)}"),
            (master.failover, "is failing over"),
            (down, f"sees down {down}"),
            (self.state.is_tilted, "is in tilt"),
        )
        found = next((text for is_so, text in troubles if is_so), None)
        return found or self._raft_trouble()

    def _raft_trouble(self):
        if self.member is None:
            return "is not yet started"
        if self.member.phase is Phase.CLASSIC:
            return None
        if not self.is_member:
            return f"is no member, but {self.member.phase}"
        status = self.member.driver.status
        return None if status.leader and status.has_majority else "has no Raft leader"

    # Scripts and the log: none are kept

    def run(self, _argv):
        pass

    def pending(self):
        return []

    def write(self, level, text):
        pass

    def shutdown(self):
        raise AssertionError("nobody shuts a sentinel down")


class _SimServer(Server):
    """The server, on the simulated network and clock."""

    def now(self):
        return self.host.now()

    async def start(self):
        loop = asyncio.get_running_loop()
        address = self.host.machine.address
        self._listeners.append(await loop.create_server(lambda: Session(self), *address))
        self._keep_house()


class _SeenNode:
    """The node as the SENTINEL command sees it; votes that are told are shown to the observer."""

    def __init__(self, life):
        self._life = life

    @property
    def state(self):
        return self._life.state

    def settled(self):
        return self._life.node.settled()

    def now(self):
        return self._life.now()

    def order(self, make, render):
        def seen(outcome):
            self._life.machine.observer.answered(self._life, outcome)
            return render(outcome)

        return self._life.node.order(make, seen)


class _SeenLinks(Links):
    """The links; what leaves, and the end of each step, is shown to the observer."""

    def __init__(self, life):
        super().__init__(life.node.feed)
        self._life = life

    def send(self, effect):
        self._life.machine.observer.sent(self._life, effect)
        super().send(effect)

    def flush(self):
        super().flush()
        self._life.machine.observer.stepped(self._life)


class _SeenNotifier(Notifier):
    """The notifier; each notice is shown to the observer before anybody else."""

    def __init__(self, life, publish):
        super().__init__(life, publish, life)
        self._life = life

    def notice(self, notice):
        self._life.machine.observer.notice(self._life, notice)
        super().notice(notice)


class _SeenEvents:
    """A listener of the history, as webhooks are, that shows it all to the observer."""

    def __init__(self, life):
        self._life = life

    def seen(self, event):
        self._life.machine.observer.saw(self._life, event)

    def recorded(self, events):
        self._life.machine.observer.recorded(self._life, events)

    def lead_changed(self, leads):
        pass
