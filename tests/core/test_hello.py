"""The hello line: eight fields, exact numbers, and what a forged one cannot do."""

from random import Random

import pytest

from sentinel_py.core.hello import CHANGES_PER_S_MAX, PEERS_MAX, Hello, parse
from sentinel_py.core.messages import DirectHello
from sentinel_py.core.model import EPOCH_LEAP_MAX, MAX_EPOCH, Address, Options, State
from sentinel_py.core.roster import add_master
from sentinel_py.core.sentinel import Sentinel

ID = "b" * 40
LINE = f"10.0.1.1,26379,{ID},7,mymaster,10.0.0.1,6379,5"


def test_fields():
    """Ip, port, id and epoch of the sender; name, ip, port and config epoch of the master."""
    assert parse(LINE) == Hello("10.0.1.1", 26379, ID, 7, "mymaster", "10.0.0.1", 6379, 5)


def test_largest_numbers():
    """Ports up to 65535 and epochs up to what a signed 64-bit counter holds."""
    hello = parse(f"h,65535,{ID},{MAX_EPOCH},m,h,65535,{MAX_EPOCH}")
    assert (hello.port, hello.epoch, hello.config_epoch) == (65535, MAX_EPOCH, MAX_EPOCH)


@pytest.mark.parametrize("line", ["", "x", LINE + ",", LINE.rpartition(",")[0], LINE + "," + LINE])
def test_other_than_eight_fields(line):
    """A name with a comma, a cut line or two lines in one are no hello."""
    assert parse(line) is None


@pytest.mark.parametrize("field", [1, 3, 6, 7])
@pytest.mark.parametrize(
    "number",
    ["", "x", "1x", "-1", "+1", " 1", "1 ", "1_0", "0x1", "1.0", "\u0661", "\u00b2", "9" * 20],
)
def test_junk_numbers(field, number):
    """What is no plain decimal number drops the whole line, in each of the four places."""
    fields = LINE.split(",")
    fields[field] = number
    assert parse(",".join(fields)) is None


@pytest.mark.parametrize(
    ("field", "number"), [(1, 65536), (6, 65536), (3, MAX_EPOCH + 1), (7, MAX_EPOCH + 1)]
)
def test_numbers_out_of_range(field, number):
    """One more than the largest is too much."""
    fields = LINE.split(",")
    fields[field] = str(number)
    assert parse(",".join(fields)) is None


@pytest.fixture
def core():
    """A sentinel that watches one master."""
    state = State(myid="a" * 40)
    options = Options(quorum=2, down_after_ms=1000, failover_timeout_ms=6000)
    add_master(state, 0, "mymaster", Address("10.0.0.1", 6379, "10.0.0.1"), options)
    return Sentinel(state, Random(1))


def hear(core, line, now=0):
    return core.step(now, DirectHello(line))


def test_own_hello(core):
    """A hello with our own id makes us no peer of ourselves; from elsewhere it is said, once."""
    own = LINE.replace(ID, core.state.myid)
    (notice,) = hear(core, own)
    host, port = LINE.split(",")[:2]
    assert (notice.name, notice.text) == ("+duplicate-myid", f"{core.state.myid} {host} {port}")
    assert hear(core, own) == []
    assert not core.state.masters["mymaster"].peers
    core.state.settings.announce_ip, core.state.settings.port = "10.0.7.7", 26379
    assert hear(core, own.replace(f"{host},{port}", "10.0.7.7,26379")) == []
    assert len(core.state.namesakes) == 1


def test_a_made_up_crowd_is_limited(core):
    """So many come in a second, and beyond the limit nobody new is taken in, ever."""
    peers = core.state.masters["mymaster"].peers
    for number in range(2 * PEERS_MAX):
        second = number // (2 * CHANGES_PER_S_MAX)
        line = f"10.9.{number // 250}.{number % 250},26379,{number:040},0,mymaster,10.0.0.1,6379,0"
        hear(core, line, now=second * 1_000)
        assert len(peers) <= (second + 1) * CHANGES_PER_S_MAX
    assert len(peers) == PEERS_MAX
    hear(core, LINE, now=10**6)
    assert len(peers) == PEERS_MAX


def test_a_repeated_hello_counts_as_sign_of_life(core):
    """The same line again changes nothing but the time at which the peer was heard."""
    hear(core, LINE)
    assert hear(core, LINE, now=100) == []
    assert core.state.masters["mymaster"].peers[ID].heard_at == 100


@pytest.mark.parametrize("field", [3, 7])
def test_a_leap_is_refused(core, field):
    """Neither epoch may lead further ahead than a group of sentinels can have come by itself."""
    fields = LINE.split(",")
    fields[field] = str(EPOCH_LEAP_MAX + 1)
    assert hear(core, ",".join(fields)) == []
    fields[field] = str(EPOCH_LEAP_MAX)
    assert hear(core, ",".join(fields)) != []
