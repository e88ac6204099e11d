"""Ends of streams for tests: real servers on loopback, each with a table of streams behind it."""

import contextlib
from random import Random

from serving import Node, eventually, free_port

from sentinel_py.acl.acl import Acl
from sentinel_py.links import LinkOptions
from sentinel_py.raft.handshake import Introduction, is_secret
from sentinel_py.raft.peers import Peers
from sentinel_py.raft.questions import Yes
from sentinel_py.resp import to_text
from sentinel_py.server.commands import Command, CommandTable, subcommand_map
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.server import Server


class Party:
    """Owns a table of streams and remembers what came over them."""

    def __init__(self, run_id, *, cluster="c", secret="", boot="", password="", login=()):
        self.run_id, self.cluster, self.boot = run_id, cluster, boot or f"boot-{run_id}"
        self.password, self.login_words = password, login
        self.secret_text = secret
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.links_up, self.messages, self.met_ids, self.questions = [], [], [], []
        self.dead, self.parted_ids = [], []
        self.known_ids, self.is_out, self.listed = None, False, ["127.0.0.1:1"]
        self.peers = Peers(self, LinkOptions(), Random(1))
        self.server = None

    async def start(self):
        words = {"hello": self._hello, "prove": self._prove}

        def raft(session, args):
            return words[to_text(args[2]).lower()](session, [to_text(word) for word in args[3:]])

        raft_command = Command(
            "sentinel|raft",
            -3,
            raft,
            flags=("admin",),
            proves_itself=lambda _args: is_secret(self.secret_text),
        )
        sentinel = Command(
            "sentinel", -2, flags=("admin",), subcommands=subcommand_map([raft_command])
        )
        table = CommandTable([*base_commands(), sentinel])
        options = ServerOptions(bind=("127.0.0.1",), port=self.port)
        acl = Acl.from_config(table, requirepass=self.password)
        self.server = Server(options, table, acl, Node())
        await self.server.start()

    async def stop(self):
        self.peers.close()
        if self.server:
            self.server.close()
            await eventually(lambda: not self.server.clients)

    def _hello(self, session, words):
        return self.peers.greet(session, words)

    def _prove(self, session, words):
        return self.peers.admit(session, *words)

    # Owner

    def introduction(self):
        return Introduction(self.run_id, self.boot, self.cluster, self.address)

    def secret(self):
        return self.secret_text

    def login(self):
        return self.login_words

    def takes_part(self):
        return not self.is_out

    def knows(self, run_id):
        """Whether this is a member; everybody, unless a test says who is."""
        return self.known_ids is None or run_id in self.known_ids

    def places(self):
        return self.listed

    def met(self, peer):
        self.met_ids.append(peer.run_id)

    def parted(self, peer):
        self.parted_ids.append(peer.run_id)

    def connected(self, run_id):
        self.links_up.append(run_id)

    def disconnected(self, run_id):
        self.links_up.remove(run_id)

    def died(self, run_id):
        self.dead.append(run_id)

    def received(self, run_id, message):
        self.messages.append((run_id, message))

    def asked(self, run_id, question):
        self.questions.append((run_id, question))
        return Yes(self.run_id)


@contextlib.asynccontextmanager
async def parties(*members):
    """Start the servers of these; streams are dialled by the test."""
    try:
        for member in members:
            await member.start()
        yield members
    finally:
        for member in members:
            await member.stop()
