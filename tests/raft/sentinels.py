"""Whole sentinels in one process, without a log and with their configuration in memory.

Core, node, links, server, commands and Raft are joined as `daemon` joins them; files of Raft are on
the real disk. What was published is kept, so that a test can ask for it.
"""

import asyncio
import contextlib
from random import Random

from serving import Client, eventually, free_port, pairs

from sentinel_py.acl.acl import Acl
from sentinel_py.core.model import Settings, State
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.links import LinkOptions, Links
from sentinel_py.node import Node
from sentinel_py.raft import report
from sentinel_py.raft.identity import Phase
from sentinel_py.raft.member import Member
from sentinel_py.raft.storage import LocalStorage
from sentinel_py.server import raft_commands
from sentinel_py.server.commands import CommandTable
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.sentinel_commands import build
from sentinel_py.server.server import Server


class InProcess:
    """One sentinel: its id and settings outlive a kill, as its configuration file would."""

    def __init__(self, folder, run_id, **settings):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.folder = folder / f"raft-{self.port}"
        self.saved_id = run_id * 40
        self.settings = Settings(port=self.port, **settings)
        self.notices, self.lines = [], []
        self.can_save = True
        self.saved_log_index = 0  # what the file says of a log, of whatever cluster
        self.member = None

    @property
    def myid(self):
        return self.state.myid

    @property
    def phase(self):
        return self.member.phase

    @property
    def status(self):
        return self.member.driver.status if self.member and self.member.driver else None

    @property
    def leads(self):
        return self.status is not None and self.status.has_lease

    async def start(self):
        loop = asyncio.get_running_loop()
        self.state = State(myid=self.saved_id, settings=self.settings)
        self.state.raft_applied = self.saved_log_index
        self.core = Sentinel(self.state, Random(self.port))
        self.node = Node(self.core, self, loop)
        self.links = Links(self.node.feed)
        self.member = Member(self, LocalStorage(str(self.folder)), LinkOptions(), Random(self.port))
        self.node.before_step = self._check_lease
        raft = raft_commands.build(self.member)
        table = CommandTable([*base_commands(), build(self.node, self, raft)])
        acl = Acl.from_config(table, requirepass=self.settings.own_pass)
        options = ServerOptions(bind=("127.0.0.1",), port=self.port)
        self.server = Server(options, table, acl, self)
        await self.server.start()
        self.node.start()
        self.member.start()

    def _check_lease(self):
        if self.member.driver:
            self.member.driver.check_lease()

    async def kill(self):
        """End without a word to anybody."""
        if self.member:
            self.member.close()
            self.node.stop()
            self.links.close_all()
            # asyncio leaks a connection that was accepted just before its listener is closed.
            await asyncio.sleep(0.001)
            self.server.close()
            await eventually(lambda: not self.server.clients)
            self.member = None

    async def shut_down(self):
        await self.member.stop()
        await self.kill()

    async def ask(self, *words):
        login = ["AUTH", self.settings.own_pass] if self.settings.own_pass else []
        async with await Client.connect(port=self.port) as client:
            if login:
                assert await client.ask(*login) == "OK"
            return await client.ask(*words)

    async def raft(self, *words):
        return await self.ask("SENTINEL", "RAFT", *words)

    async def raft_status(self):
        return pairs(await self.raft("STATUS"))

    def heard(self, name):
        return [text for heard, text in self.notices if heard == name]

    def said(self, text):
        return any(text in line for line in self.lines)

    # Host of the member

    def feed(self, event):
        self.node.feed(event)

    def held_up(self, ms):
        self.core.held_up(ms)

    def save_state(self):
        return self.can_save and self.save(self.state)

    def notice(self, notice):
        self.notices.append((notice.name, notice.text))

    def log(self, *line):
        self.lines.append(line[-1] if len(line) == 2 else line[0].text)

    # World of the node

    publisher = property(lambda self: self)

    def now(self):
        return int(asyncio.get_running_loop().time() * 1000)

    def fail(self, error, *, is_sound):
        raise error

    def save(self, state):
        self.saved_id = state.myid
        return True

    def save_aside(self, state, done):
        self.save(state)
        done(None)

    def resolve(self, host):
        raise AssertionError(f"nobody asks for {host}")

    def propose(self, effect):
        self.member.propose(effect)

    # Host of the server

    run_id = "r" * 40
    config_file = "/nowhere"

    def pending(self):
        return []

    def master_names(self):
        return list(self.state.masters)

    def receive_hello(self, payload):
        self.node.hello(payload)

    def info_sections(self):
        return [("Raft", report.info(self.member))]

    def shutdown(self):
        raise AssertionError("nobody shuts down")


@contextlib.asynccontextmanager
async def group(folder, ids="abc", start=True, listed=True, **settings):
    """Sentinels that list each other; started together, and ended whatever happens."""
    sentinels = [InProcess(folder, run_id, **settings) for run_id in ids]
    if listed:
        for sentinel in sentinels:
            sentinel.settings.raft_peers = [it.address for it in sentinels]
    try:
        if start:
            for sentinel in sentinels:
                await sentinel.start()
        yield sentinels
    finally:
        for sentinel in sentinels:
            await sentinel.kill()


async def formed(sentinels):
    """Wait until all are members and one leads; the leader."""
    await eventually(lambda: all(it.phase is Phase.MEMBER for it in sentinels))
    return await leader_of(sentinels)


async def leader_of(sentinels):
    """Wait until these follow one leader among them, and it has its lease."""

    def leader():
        leaders = [it for it in sentinels if it.leads]
        if len(leaders) != 1 or any(it.status.leader != leaders[0].myid for it in sentinels):
            return None
        return leaders[0]

    await eventually(leader)
    return leader()


def ids(sentinels):
    return {it.myid for it in sentinels}


async def agreed_members(sentinels, expected):
    """Wait until all of these hold exactly the expected ones for the members."""
    await eventually(lambda: all(set(it.status.members) == ids(expected) for it in sentinels))
