"""Who may say words that redis-sentinel does not have: who has the right to its old ones."""

import pytest

from sentinel_py.acl.acl import Acl
from sentinel_py.acl.log import Reason
from sentinel_py.server import event_commands, raft_commands
from sentinel_py.server.commands import CommandTable
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.sentinel_commands import build

ORDERS = ("monitor", "remove", "set", "failover")


class _Member:
    """All that the command asks of a member when it is looked up: whether there is a secret."""

    text = "s3cret"

    def secret(self):
        return self.text


class _Node:
    def __init__(self):
        self.state = self
        self.settings = self
        self.minority_reads = True


@pytest.fixture
def member():
    return _Member()


@pytest.fixture
def table(member):
    node = _Node()
    added = raft_commands.build(member), event_commands.build(node)
    return CommandTable([*base_commands(), build(node, None, *added)])


@pytest.fixture
def may(table):
    """Whether a user with these rules may say these words."""
    acl = Acl.from_config(table)

    def judge(rules, words):
        acl.set_user("u", ["on", "nopass", "&*", *rules.split()])
        user = acl.users["u"]
        args = words.encode().split()
        command = table.find(args)
        denial = user.check(command, args)
        assert denial is None or denial.reason is Reason.COMMAND
        assert (command.name in user.permitted) <= (denial is None)
        return denial is None

    return judge


@pytest.mark.parametrize(
    ("original", "alias"),
    [
        ("masters", "primaries"),
        ("master", "primary"),
        ("get-master-addr-by-name", "get-primary-addr-by-name"),
        ("is-master-down-by-addr", "is-primary-down-by-addr"),
    ],
)
def test_a_second_name_is_no_way_around_a_rule(may, original, alias):
    """What is said of the original holds for Valkey's word, in both directions."""
    words = f"sentinel {alias} x"
    assert may("+@all", words)
    assert not may(f"+@all -sentinel|{original}", words)
    assert not may(f"+@all -sentinel|{alias}", f"sentinel {original} x")
    assert may(f"-@all +sentinel|{original}", words)
    assert may(f"-@all +sentinel|{alias}", f"sentinel {original} x")


@pytest.mark.parametrize("word", ["add x", "remove x", "transfer", "form", "anything"])
def test_who_changes_members_may_change_masters(may, word):
    """Each of four old denials closes what would give the same power; so does ours."""
    words = f"sentinel raft {word}"
    assert may("+@all", words)
    for denied in (*ORDERS, "raft"):
        assert not may(f"+@all -sentinel|{denied}", words)
    assert may(f"-@all +sentinel|raft {' '.join(f'+sentinel|{it}' for it in ORDERS)}", words)


@pytest.mark.parametrize("words", ["raft status", "raft members", "explain m", "events"])
def test_who_looks_may_look_at_masters(may, words):
    """An old list that hides the masters hides what tells of them."""
    own = words.split()[0]
    assert may("+@all", f"sentinel {words}")
    assert not may("+@all -sentinel|masters", f"sentinel {words}")
    assert not may(f"+@all -sentinel|{own}", f"sentinel {words}")
    assert may(f"-@all +sentinel|masters +sentinel|{own}", f"sentinel {words}")


def test_the_account_of_peers_gives_no_orders(may):
    """What 0.1 needed for its members, +sentinel|raft, is good for no order and no look."""
    rules = "-@all +ping +info +publish +subscribe +sentinel|raft +sentinel|is-master-down-by-addr"
    for words in ("raft add x", "raft remove x", "raft form", "raft status", "failover m"):
        assert not may(rules, f"sentinel {words}")


def test_a_proof_needs_no_account_where_there_is_a_secret(table, member):
    """HELLO and PROVE go past login and rules with a secret, and are held to them without one."""
    command = table.by_name["sentinel|raft"]
    for word in (b"hello", b"PROVE"):
        assert command.proves_itself([b"sentinel", b"raft", word])
    assert not command.proves_itself([b"sentinel", b"raft", b"add"])
    assert not command.proves_itself([b"sentinel", b"raft"])
    for member.text in ("", "none"):
        assert not command.proves_itself([b"sentinel", b"raft", b"hello"])
