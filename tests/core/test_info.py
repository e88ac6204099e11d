"""INFO: what is read of it, and what becomes of nonsense."""

from random import Random

import pytest

from sentinel_py.core import info
from sentinel_py.core.info import InfoError, Report, parse
from sentinel_py.core.messages import Ask, Close, LinkUp, Log, Reply, Request
from sentinel_py.core.model import Address, Options, Role, State
from sentinel_py.core.roster import REPLICAS_MAX, add_master
from sentinel_py.core.sentinel import Sentinel

RUN_ID = "d" * 40


def lines(*text):
    return "\r\n".join(("# Server", *text, "")).encode()


def test_master():
    """Its run id, its role, and its replicas in both formats that servers have had."""
    report = parse(
        lines(
            f"run_id:{RUN_ID}",
            "role:master",
            "connected_slaves:2",
            "slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=1",
            "slave1:10.0.0.3,6380,online",
        )
    )
    replicas = [("10.0.0.2", 6379), ("10.0.0.3", 6380)]
    assert report == Report(run_id=RUN_ID, role=Role.MASTER, replicas=replicas)


def test_replica():
    """Whom it follows and how well; seconds become milliseconds."""
    report = parse(
        lines(
            "role:slave",
            "master_host:10.0.0.1",
            "master_port:6379",
            "master_link_status:down",
            "master_link_down_since_seconds:12",
            "slave_repl_offset:4242",
            "slave_priority:25",
            "replica_announced:0",
        )
    )
    assert report == Report(
        role=Role.REPLICA,
        master_host="10.0.0.1",
        master_port=6379,
        master_link_up=False,
        master_link_down_ms=12_000,
        offset=4242,
        priority=25,
        announced=False,
    )


def test_empty():
    """Without a role line a node counts as a replica, with the values that servers start with."""
    assert parse(b"") == Report()


def test_never_connected():
    """Redis says -1 for how long the link has been down when it has never been up."""
    report = parse(lines("master_link_down_since_seconds:-1"))
    assert (report.was_never_linked, report.master_link_down_ms) == (True, 0)
    report = parse(lines("master_link_down_since_seconds:0"))
    assert (report.was_never_linked, report.master_link_down_ms) == (False, 0)


def test_lines_that_only_look_alike():
    """slave_priority and slave_read_only are no replicas, nor is a key without a colon."""
    assert parse(lines("slave_read_only:1", "slavex:1", "slave0", "role", "slaves:2")) == Report()


def test_bytes_that_are_no_text():
    """A path of any bytes, in a line that means nothing to us, does no harm."""
    assert parse(b"executable:/\xff\xfe\r\nrole:master\r\n").role is Role.MASTER


@pytest.mark.parametrize(
    "line",
    [
        "slave_priority:high",
        "slave_repl_offset:",
        "slave_repl_offset:" + "9" * 5000,
        "master_port:6379x",
        "master_link_down_since_seconds:1.5",
        "slave0:ip=10.0.0.2,port=x,state=online",
        "slave0:ip=10.0.0.2",
        "slave0:",
    ],
)
def test_broken_numbers(line):
    """A number that is none is an error with a short text, not a guess."""
    with pytest.raises(InfoError) as caught:
        parse(lines("role:slave", line))
    assert len(str(caught.value)) < 100


def test_too_many_replicas():
    """A server that claims thousands of replicas is not believed."""
    many = [f"slave{n}:ip=10.0.0.2,port={n + 1}" for n in range(REPLICAS_MAX + 1)]
    assert len(parse(lines(*many[:-1])).replicas) == REPLICAS_MAX
    with pytest.raises(InfoError):
        parse(lines(*many))


@pytest.fixture
def core():
    """A sentinel whose command link to its master is up."""
    state = State(myid="a" * 40)
    options = Options(quorum=2, down_after_ms=1000, failover_timeout_ms=6000)
    add_master(state, 0, "mymaster", Address("10.0.0.1", 6379, "10.0.0.1"), options)
    core = Sentinel(state, Random(1))
    core.start(0)
    core.step(0, LinkUp(1, "10.0.1.100"))
    return core


def take(core, value):
    return core.step(1, Reply(1, Request(("INFO",), Ask.INFO, "mymaster"), value))


def test_nonsense_breaks_the_link(core):
    """What answers INFO with broken numbers is no Redis: the connection is dropped, and logged."""
    effects = take(core, lines("role:master", "slave0:ip=10.0.0.2,port=x"))
    assert Close(1) in effects
    assert any(isinstance(effect, Log) and "port" not in effect.text for effect in effects)
    assert core.state.masters["mymaster"].info is None


@pytest.mark.parametrize("value", [None, 1, [b"role:slave"]])
def test_other_replies_are_ignored(core, value):
    """Only a bulk string is an INFO."""
    take(core, value)
    assert core.state.masters["mymaster"].info is None


@pytest.mark.parametrize(
    "where", ["ip=10.0.0.2,port=0", "ip=10.0.0.2,port=65536", "ip=10.0.0.1,port=6379"]
)
def test_impossible_replicas_are_skipped(core, where):
    """No replica at a port that cannot be, and none at the master's own address."""
    take(core, lines("role:master", f"slave0:{where}", "slave1:ip=10.0.0.3,port=6379"))
    assert list(core.state.masters["mymaster"].replicas) == ["10.0.0.3:6379"]


@pytest.mark.parametrize(
    "text",
    [
        b"x" * (info.BYTES_MAX + 1),
        b"\r\nrun_id:" * (info.FIELDS_MAX + 1),
        b"slave_priority:" + b"9" * 19,
        b"master_link_down_since_seconds:" + b"9" * 4_000,
        b"slave_repl_offset:1_000",
        b"master_port:+6379",
    ],
)
def test_what_no_server_says_is_an_error(text):
    """Too many bytes, fields or digits: whatever answers there is not read on."""
    with pytest.raises(info.InfoError):
        info.parse(text)
