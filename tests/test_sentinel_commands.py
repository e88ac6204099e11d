"""SENTINEL on the wire: shapes of replies, errors, arities, aliases, help."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from random import Random
from types import SimpleNamespace

import pytest

from sentinel_py.core.messages import Answer, DownQuestion, FailOver, Monitor, Resolved
from sentinel_py.core.model import Address, LinkState, Options, State
from sentinel_py.core.roster import add_master, add_peer, add_replica
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.resp import (
    NOT_AN_INTEGER,
    NULL_ARRAY,
    OK,
    RESP2,
    RESP3,
    Error,
    Simple,
    encode,
    to_text,
)
from sentinel_py.scripts import Scripts
from sentinel_py.server import sentinel_commands
from sentinel_py.server.commands import CommandTable, Lasts
from sentinel_py.server.notation import parse_notation

NOW = 1_000_000
CANDIDATE = "c" * 40
SECOND = "d" * 40
RESP2_CLIENT = SimpleNamespace(protocol=RESP2)


class Host:
    """A core and its answers, without the connections and the disk of a node."""

    def __init__(self):
        self.state = State(myid="a" * 40)
        self.core = Sentinel(self.state, Random(1))
        self.orders = []
        self.waiting = {}
        self.scripts = Scripts(self.state.constants, lambda _notice: None)
        self.table = CommandTable([sentinel_commands.build(self, self.scripts)])

    def settled(self):
        return self.state

    def now(self):
        return NOW

    def order(self, make, render):
        ticket = len(self.orders) + 1
        self.orders.append(make(ticket))
        answers = self.step(self.orders[-1])
        if ticket in answers:
            return render(answers[ticket])
        reply = asyncio.get_running_loop().create_future()
        self.waiting[ticket] = lambda outcome: reply.done() or reply.set_result(render(outcome))
        return reply

    def step(self, event):
        effects = self.core.step(NOW, event)
        answers = {effect.ticket: effect.value for effect in effects if isinstance(effect, Answer)}
        for ticket in self.waiting.keys() & answers.keys():
            self.waiting.pop(ticket)(answers[ticket])
        return answers

    def find(self, *words):
        return self.table.find([b"SENTINEL", *words])

    def ask(self, *words):
        """What SENTINEL with these words replies, once it has passed dispatch."""
        args = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        command = self.find(*args)
        assert command.accepts(1 + len(args))
        return command.handler(RESP2_CLIENT, [b"SENTINEL", *args])

    def error(self, *words):
        """The text of the error reply to these words."""
        reply = self.ask(*words)
        assert type(reply) is Error
        return str(reply)


@pytest.fixture
def host():
    """A host whose core watches one master with a replica and a peer."""
    host = Host()
    options = Options(quorum=2, down_after_ms=5000, failover_timeout_ms=60000)
    master = add_master(host.state, NOW, "mymaster", address(6379), options)
    add_replica(host.state, NOW, master, address(6380))
    add_peer(host.state, NOW, master, "b" * 40, address(26380))
    host.core.start(NOW)
    return host


def address(port):
    return Address("127.0.0.1", port, "127.0.0.1")


def names(rows):
    return [row["name"] for row in rows]


# Dispatch ----------------------------------------------------------------------------------------

ARITIES = {
    "ckquorum": 3,
    "config": -4,
    "debug": -2,
    "admit": 5,
    "explain": 3,
    "failover": -3,
    "flushconfig": 2,
    "get-master-addr-by-name": 3,
    "get-primary-addr-by-name": 3,
    "help": 2,
    "info-cache": -3,
    "is-master-down-by-addr": 6,
    "is-primary-down-by-addr": 6,
    "master": 3,
    "masters": 2,
    "monitor": 6,
    "myid": 2,
    "pending-scripts": 2,
    "primaries": 2,
    "primary": 3,
    "remove": 3,
    "replicas": 3,
    "reset": 3,
    "sentinels": 3,
    "set": -5,
    "simulate-failure": -3,
    "slaves": 3,
}


def test_arities(host):
    """Every subcommand is there, and takes as many words as redis-sentinel's."""
    subcommands = host.find().subcommands
    assert {word.decode(): c.arity for word, c in subcommands.items()} == ARITIES
    assert all(c.name == f"sentinel|{word.decode()}" for word, c in subcommands.items())


def test_categories(host):
    """All subcommands are for administrators, but for HELP."""
    container = host.find()
    assert (container.name, container.arity) == ("sentinel", -2)
    others = [c for word, c in container.subcommands.items() if word != b"help"]
    for command in (container, *others):
        assert command.flags == ("admin",)
        assert command.categories == ("admin", "slow", "dangerous")
    assert host.find(b"help").flags == ("loading", "stale")


def test_what_has_two_names_is_listed_once(host):
    """COMMAND LIST has 21 subcommands with redis-sentinel, and tools count them."""
    subcommands = host.find().subcommands.values()
    hidden = {command.name.partition("|")[2] for command in subcommands if not command.is_listed}
    assert {"slaves", "primary", "primaries", "get-primary-addr-by-name"} <= hidden
    assert sum(command.is_listed for command in subcommands) == 20


def test_every_subcommand_is_documented(host):
    """COMMAND DOCS has a summary for each."""
    for command in (host.find(), *host.find().subcommands.values()):
        assert command.docs.summary
        assert command.docs.group == "sentinel"


def test_arguments_are_documented(host):
    """The documented arguments are as many as the arity asks for."""
    for command in host.find().subcommands.values():
        arguments = parse_notation(command.docs.arguments)
        if command.arity > 0:
            assert 2 + len(arguments) == command.arity
        else:
            assert "..." in command.docs.arguments or "[" in command.docs.arguments


# Questions ---------------------------------------------------------------------------------------


def test_rows_are_maps_for_resp3(host):
    """A row is a flat array in RESP2 and a map in RESP3, numbers being bulk strings."""
    row = host.ask("master", "mymaster")
    assert encode(row, RESP2).startswith(b"*40\r\n$4\r\nname\r\n$8\r\nmymaster\r\n$2\r\nip\r\n")
    assert encode(row, RESP3).startswith(b"%20\r\n$4\r\nname\r\n$8\r\nmymaster\r\n$2\r\nip\r\n")
    assert row["port"] == "6379"


def test_lists_of_rows(host):
    """MASTERS, REPLICAS, SLAVES and SENTINELS are lists of rows."""
    assert b"\r\n$4\r\nname\r\n$8\r\nmymaster\r\n" in host.ask("masters")
    assert names(host.ask("replicas", "mymaster")) == ["127.0.0.1:6380"]
    assert names(host.ask("slaves", "mymaster")) == ["127.0.0.1:6380"]
    assert names(host.ask("sentinels", "mymaster")) == ["b" * 40]


@pytest.mark.parametrize(
    "words",
    [
        ("master", "x"),
        ("replicas", "x"),
        ("slaves", "x"),
        ("sentinels", "x"),
        ("ckquorum", "x"),
        ("failover", "x"),
        ("remove", "x"),
        ("set", "x", "quorum", 1),
        ("master", "MYMASTER"),
    ],
)
def test_unknown_master(host, words):
    """Names of masters are case-sensitive, and an unknown one is an error."""
    assert host.error(*words) == "ERR No such master with that name"


def test_unknown_master_that_is_no_error(host):
    """Clients take the null array for `not monitored here`."""
    assert host.ask("get-master-addr-by-name", "x") is NULL_ARRAY
    assert host.ask("info-cache", "x") == []
    assert host.ask("reset", "x") == 0


def test_address(host):
    """The address is a pair of bulk strings."""
    reply = host.ask("get-master-addr-by-name", "mymaster")
    assert encode(reply, RESP3) == b"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n"


@pytest.mark.parametrize(
    ("alias", "original", "args"),
    [
        ("primary", "master", ["mymaster"]),
        ("primaries", "masters", []),
        ("get-primary-addr-by-name", "get-master-addr-by-name", ["mymaster"]),
        ("is-primary-down-by-addr", "is-master-down-by-addr", ["127.0.0.1", 6379, 0, "*"]),
    ],
)
def test_aliases(host, alias, original, args):
    """Valkey's words mean the same."""
    assert host.ask(alias, *args) == host.ask(original, *args)


@pytest.mark.parametrize(("minority_reads", "lasts"), [(True, Lasts.STEP), (False, Lasts.NOT)])
def test_an_address_that_is_only_leased_is_not_kept(host, minority_reads, lasts):
    """With minority-reads no, an address ends with a lease, whether or not anything happens."""
    host.state.settings.minority_reads = minority_reads
    container = sentinel_commands.build(host, host.scripts)
    assert container.subcommands[b"get-master-addr-by-name"].lasts is lasts


def test_names_survive_whatever_their_bytes(host):
    """A name that is no UTF-8 is found, and sent back as it came."""
    assert host.ask("monitor", b"\xff\xfe", "127.0.0.1", 1, 1) == OK
    assert b"\xff\xfe" in encode(host.ask("master", b"\xff\xfe"), RESP2)


def test_ckquorum(host):
    """Good news is a status, bad news an error with its own code."""
    good = host.ask("ckquorum", "mymaster")
    assert type(good) is Simple
    assert good.startswith("OK 2 usable Sentinels. ")
    host.state.masters["mymaster"].peers["b" * 40].is_down = True
    bad = host.ask("ckquorum", "mymaster")
    assert type(bad) is Error
    assert bad.startswith("NOQUORUM 1 usable Sentinels. ")


def test_info_cache(host):
    """Name, then age and text for the master and for each replica."""
    master = host.state.masters["mymaster"]
    master.info, master.info_at = b"# Server\r\n", NOW - 30
    reply = host.ask("info-cache", "mymaster", "x", "mymaster")
    assert encode(reply, RESP2) == (
        b"*2\r\n$8\r\nmymaster\r\n*2\r\n"
        b"*2\r\n:30\r\n$10\r\n# Server\r\n\r\n"
        b"*2\r\n:0\r\n$-1\r\n"
    )  # fmt: skip


def test_explain(host):
    """A row for each condition, in the order in which a failover needs them."""
    rows = host.ask("explain", "mymaster")
    assert [row["condition"] for row in rows][:2] == ["down", "quorum"]
    assert {tuple(row) for row in rows} == {("condition", "value", "met", "meaning")}
    assert rows[0]["met"] == "no"
    assert host.error("explain", "nobody") == "ERR No such master with that name"


def test_myid(host):
    """The id is a bulk string."""
    assert host.ask("myid") == "a" * 40


def ask_down(host, port=6379, epoch=1, run_id=CANDIDATE, ip="127.0.0.1"):
    return host.ask("is-master-down-by-addr", ip, port, epoch, run_id)


def test_is_master_down_without_a_vote(host):
    """With a star for id nobody votes, and the master's health is told."""
    assert ask_down(host, run_id="*") == [0, "*", 0]
    host.state.masters["mymaster"].is_down = True
    assert ask_down(host, run_id="*") == [1, "*", 0]
    assert ask_down(host, run_id="*", ip="127.0.0.2") == [0, "*", 0]
    assert ask_down(host, run_id="*", port=70000) == [0, "*", 0]


def test_is_master_down_with_a_vote(host):
    """A candidate gets the vote with its epoch; a second one hears who has it."""
    for run_id, port in ((CANDIDATE, 26381), (SECOND, 26382)):
        peer = add_peer(host.state, NOW, host.state.masters["mymaster"], run_id, address(port))
        peer.command.state = LinkState.UP
    assert ask_down(host, epoch=5) == [0, CANDIDATE, 5]
    assert ask_down(host, epoch=5, run_id=SECOND) == [0, CANDIDATE, 5]


def test_who_is_not_known_gets_no_vote(host):
    """Who is not known, or not connected to us, may be anybody, and gets none."""
    assert ask_down(host, epoch=5) == [0, "*", 0]
    assert ask_down(host, epoch=5, run_id="e" * 40) == [0, "*", 0]


@pytest.mark.parametrize("changed", [{"port": "x"}, {"epoch": "1x"}, {"epoch": 2**63}])
def test_is_master_down_takes_integers(host, changed):
    """Port and epoch are 64-bit integers."""
    assert ask_down(host, **changed) is NOT_AN_INTEGER


def test_a_negative_epoch_is_a_huge_one(host):
    """Epochs have no sign, and one out of range gets no vote."""
    assert ask_down(host, epoch=-1) == [0, "*", 0]
    assert host.orders == [DownQuestion(1, "127.0.0.1", 6379, 2**64 - 1, CANDIDATE)]


async def test_pending_scripts(host):
    """A running script shows its process and how long it has run; the next ones wait."""
    argv = (shutil.which("sleep"), "60")
    host.scripts.run(argv)
    pid = int(host.ask("pending-scripts")[0]["pid"])
    try:
        (script,) = host.ask("pending-scripts")
        assert int(script.pop("run-time")) >= 0
        assert script == {"argv": argv, "flags": "running", "pid": str(pid), "retry-num": "1"}
        host.state.constants.script_retry_delay = 60_000
    finally:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while (script := host.ask("pending-scripts")[0])["flags"] == "running":
            await asyncio.sleep(0.01)
    host.scripts.close()
    assert 0 < int(script["run-delay"]) <= 60_000
    assert list(script) == ["argv", "flags", "pid", "run-delay", "retry-num"]
    assert script["pid"] == "0"


# Orders ------------------------------------------------------------------------------------------


def test_monitor_and_remove(host):
    """An order that succeeds is answered by OK at once."""
    assert host.ask("monitor", "new", "127.0.0.2", 6379, 1) == OK
    assert host.ask("get-master-addr-by-name", "new") == ("127.0.0.2", "6379")
    assert host.ask("remove", "new") == OK
    assert host.ask("get-master-addr-by-name", "new") is NULL_ARRAY


def test_refusals_are_errors(host):
    """What the core refuses becomes an error reply."""
    assert host.error("monitor", "new", "x", 6379, 1) == (
        "ERR Invalid IP address or hostname specified"
    )
    assert host.error("failover", "mymaster") == "NOGOODSLAVE No suitable replica to promote"


async def test_a_reply_that_takes_time(host):
    """While a host name is looked up the reply is pending, then it comes."""
    host.state.settings.resolve_hostnames = True
    reply = host.ask("monitor", "new", "redis.example", 6379, 1)
    assert not reply.done()
    host.step(Resolved("redis.example", "10.0.0.1"))
    assert await reply == OK
    assert isinstance(host.orders[0], Monitor)


async def test_a_client_that_does_not_wait(host):
    """An order is carried out even when its client has gone."""
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    host.state.settings.resolve_hostnames = True
    reply = host.ask("monitor", "new", "redis.example", 6379, 1)
    reply.cancel()
    host.step(Resolved("redis.example", "10.0.0.1"))
    await asyncio.sleep(0)
    assert "new" in host.state.masters
    assert failures == []


def test_coordinated_failover(host):
    """One word more asks for a switchover; any other is one word too many."""
    host.ask("failover", "mymaster", "Coordinated")
    assert host.orders == [FailOver(1, "mymaster", coordinated=True)]
    for words in (["bogus"], ["coordinated", "x"]):
        error = host.error("failover", "mymaster", *words)
        assert error == "ERR wrong number of arguments for 'sentinel|failover' command"
    assert len(host.orders) == 1


def test_reset(host):
    """RESET answers with the number of masters that matched."""
    assert host.ask("reset", "*") == 1
    assert host.ask("sentinels", "mymaster") == []


def test_set(host):
    """SET takes pairs, and one option of three words."""
    words = ("quorum", 3, "rename-command", "PING", "PONG", "failover-timeout", 9)
    assert host.ask("set", "mymaster", *words) == OK
    options = host.state.masters["mymaster"].options
    assert (options.quorum, options.failover_timeout_ms) == (3, 9)
    assert options.renamed == {"ping": "PONG"}


def test_flushconfig(host):
    """FLUSHCONFIG is answered when the file is written."""
    assert host.ask("flushconfig") == OK


def test_debug(host):
    """Without arguments a map, with pairs OK."""
    assert host.ask("debug", "ping-period", 100) == OK
    assert host.ask("debug")["PING-PERIOD"] == "100"
    assert encode(host.ask("debug"), RESP3).startswith(
        b"%13\r\n$11\r\nINFO-PERIOD\r\n$5\r\n10000\r\n"
    )


def test_simulate_failure(host):
    """The words themselves are listed on request."""
    assert host.ask("simulate-failure", "crash-after-election") == OK
    assert host.ask("simulate-failure", "help") == ["crash-after-election", "crash-after-promotion"]


def test_config(host):
    """GET shows a map by patterns, SET changes pairs."""
    assert host.ask("config", "SET", "announce-ip", "10.0.0.9", "announce-port", 1) == OK
    assert host.ask("config", "GET", "announce-*", "x") == {
        "announce-hostnames": "no",
        "announce-ip": "10.0.0.9",
        "announce-port": "1",
    }


@pytest.mark.parametrize("words", [("set", "announce-ip"), ("bogus", "x", "y")])
def test_config_usage(host, words):
    """What is neither GET nor SET with a value is answered by the usage."""
    assert host.error("config", *words) == (
        "ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / "
        "SET <param> <value> [<param> <value> ...] are supported."
    )


def test_config_set_without_the_last_value(host):
    """An odd number of words names the option that has no value."""
    assert host.error("config", "set", "announce-ip", "x", "loglevel") == (
        "ERR Missing argument 'loglevel' value"
    )


# HELP --------------------------------------------------------------------------------------------


def test_help_shape(host):
    """49 lines: a head, then for each topic its synopsis and indented lines."""
    lines = host.ask("help")
    assert len(lines) == 49
    assert {type(line) for line in lines} == {Simple}
    assert lines[0] == "SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert lines[-2:] == ["HELP", "    Print this help."]
    assert [line.split(" <")[0].split(" [")[0] for line in lines[1:] if line[0] != " "] == [
        "CKQUORUM",
        "CONFIG SET",
        "CONFIG GET",
        "DEBUG",
        "GET-MASTER-ADDR-BY-NAME",
        "FAILOVER",
        "FLUSHCONFIG",
        "INFO-CACHE",
        "IS-MASTER-DOWN-BY-ADDR",
        "MASTER",
        "MASTERS",
        "MONITOR",
        "MYID",
        "PENDING-SCRIPTS",
        "REMOVE",
        "REPLICAS",
        "RESET",
        "SENTINELS",
        "SET",
        "SIMULATE-FAILURE",
        "HELP",
    ]
    for previous, line in itertools.pairwise(lines[1:]):
        if line.startswith("    "):
            assert not line.startswith("     ")
        else:
            assert previous.startswith("    ")


def test_help_names_only_what_exists(host):
    """Each topic of HELP is a subcommand."""
    topics = {line.split()[0].lower() for line in host.ask("help")[1:] if line[0] != " "}
    assert topics <= {to_text(word) for word in host.find().subcommands}
