"""Hosts that are namespaces: cuts are silent and one-way, a heal undoes them, nothing is left."""

import subprocess
import sys
from contextlib import suppress

import pytest

from tests.chaos import network


@pytest.fixture(scope="module", autouse=True)
def allowed():
    if reason := network.refusal():
        pytest.skip(reason)


@pytest.fixture
def joined():
    with network.Network() as built:
        yield built


# Refused is an answer, too. In so short a time there is no second SYN.
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 1), 0.5)
except ConnectionRefusedError:
    print("answered")
except OSError:
    pass
"""


def reaches(joined, source, target):
    """Whether a packet gets there and its answer back."""
    argv = [*joined.run_on(source), sys.executable, "-c", CONNECT, network.address(target)]
    return subprocess.run(argv, capture_output=True, check=True).stdout == b"answered\n"


def dropped(joined, number):
    """How many packets this host's filter has dropped."""
    listing = subprocess.run(
        [*joined.run_on(number), "iptables", "-L", "INPUT", "-nvx"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(row.split()[0]) for row in listing.stdout.splitlines() if " DROP " in row]


def test_parted_hosts_reach_their_own_side(joined):
    """A partition parts every pair across it, and no other; a heal joins all again."""
    joined.part({1, 2}, {3, 4, 5})
    assert (reaches(joined, 1, 2), reaches(joined, 1, 3), reaches(joined, 3, 5)) == (1, 0, 1)
    joined.heal()
    assert reaches(joined, 1, 3)


def test_a_cut_has_one_direction(joined):
    """The packet is dropped where it arrives; a cut host answers itself."""
    joined.cut({1}, {2})
    assert not reaches(joined, 1, 2)
    assert dropped(joined, 2) == [1]
    assert dropped(joined, 1) == []
    assert reaches(joined, 1, 1)


def test_an_unplugged_host_is_unreachable(joined):
    """Until all heals."""
    joined.unplug(3)
    assert not reaches(joined, 1, 3)
    joined.heal()
    assert reaches(joined, 1, 3)


def test_nothing_is_left_after_a_failure():
    """Namespaces and files go, though the caller failed."""

    def ours():
        listing = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
        return [name for name in listing.stdout.split() if name.startswith(joined.switch[:-7])]

    with suppress(ZeroDivisionError), network.Network() as joined:
        assert len(ours()) == len(network.NUMBERS) + 1
        raise ZeroDivisionError
    assert ours() == []
    assert not [*network.FILES.glob(f"{joined.host(1)[:-1]}*")]
