"""The simulated world itself: time, processes, connections and disks behave as real ones do."""

import asyncio
import socket
from random import Random

import pytest

from sentinel_py.storage import SaveError
from tests.sim.cluster import World
from tests.sim.disk import SimDisk
from tests.sim.net import NO_LINGER

HERE, THERE = "10.0.0.1", "10.0.0.2"
PORT = 1000


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self):
        self.transport = None
        self.data = b""
        self.lost = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data

    def connection_lost(self, exc):
        self.lost.append(exc)


@pytest.fixture
def world():
    world = World(1, lambda _line: None)
    yield world
    world.close()


@pytest.fixture
def client(world):
    return world.spawn(HERE, "client")


@pytest.fixture
def server(world):
    return world.spawn(THERE, "server")


def listen(server):
    accepted = []

    def accept():
        accepted.append(Recorder())
        return accepted[-1]

    server.network.listen(server, accept, THERE, PORT)
    return accepted


def connect(client):
    """Begin to connect; the task's result or exception is there when the world has run."""
    recorder = Recorder()
    attempt = client.loop.create_task(client.loop.create_connection(lambda: recorder, THERE, PORT))
    return recorder, attempt


def connected(world, client, server):
    accepted = listen(server)
    recorder, attempt = connect(client)
    world.run_ms(10)
    attempt.result()
    return recorder, accepted[0]


# Processes ----------------------------------------------------------------------------------------


def test_timers_ring_in_order_of_time(world, client):
    """Callbacks run at their time, and those of the same time in the order of asking."""
    rung = []
    for delay_s, name in ((0.2, "b"), (0.1, "a"), (0.2, "c")):
        client.loop.call_later(delay_s, rung.append, name)
    world.run_ms(150)
    assert rung == ["a"]
    world.run_ms(100)
    assert rung == ["a", "b", "c"]


def test_cancelled_timer_is_silent(world, client):
    """A cancelled timer does not ring, and does not keep a later one from ringing."""
    rung = []
    client.loop.call_later(0.1, rung.append, "cancelled").cancel()
    client.loop.call_later(0.2, rung.append, "kept")
    world.run_ms(300)
    assert rung == ["kept"]


def test_stopped_process_catches_up_when_it_goes_on(world, client):
    """SIGSTOP holds callbacks back; SIGCONT lets them all run, late."""
    rung = []
    client.loop.call_later(0.1, lambda: rung.append(world.now_ms))
    client.stop()
    world.run_ms(1000)
    assert rung == []
    client.resume()
    world.run_ms(1)
    assert rung == [1000]


def test_stalled_process_is_late(world, client):
    """What is due while a process is busy runs when it is no longer."""
    rung = []
    client.loop.call_later(0.1, lambda: rung.append(world.now_ms))
    client.stall(500_000)
    world.run_ms(1000)
    assert rung == [500]


def test_killed_process_runs_nothing(world, client):
    """No callback of a dead process runs."""
    rung = []
    client.loop.call_later(0.1, rung.append, "dead")
    client.kill()
    world.run_ms(1000)
    assert rung == []


def test_clock_jump_moves_timers(world, client):
    """A clock set forward makes timers due sooner, by as much."""
    rung = []
    client.loop.call_later(10, lambda: rung.append(world.now_ms))
    client.jump(4_000_000)
    world.run_ms(7000)
    assert rung == [6000]


def test_exception_in_a_callback_ends_the_run(world, client):
    """Nothing that a process lets out is lost."""
    client.loop.call_soon(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        world.run_ms(1)


# Connections --------------------------------------------------------------------------------------


def test_bytes_arrive_in_order_however_they_are_split(world, client, server):
    """What arrives is what was sent, also when segments are torn apart."""
    world.network.splits = True
    near, far = connected(world, client, server)
    sent = [b"%d," % number for number in range(500)]
    for data in sent:
        near.transport.write(data)
    world.run_ms(100)
    assert far.data == b"".join(sent)


def test_nobody_listens(world, client, server):
    """A host that is up refuses what nobody listens for."""
    _, attempt = connect(client)
    world.run_ms(10)
    assert isinstance(attempt.exception(), ConnectionRefusedError)


def test_host_without_power_does_not_answer(world, client, server):
    """A host that is gone refuses nothing: the attempt hangs until it times out."""
    world.network.power_off(THERE)
    _, attempt = connect(client)
    world.run_ms(100_000)
    assert not attempt.done()
    world.run_ms(100_000)
    assert isinstance(attempt.exception(), TimeoutError)


def test_cut_way_holds_bytes_until_it_heals(world, client, server):
    """Bytes on a cut way wait, the other way works, and no end is told."""
    near, far = connected(world, client, server)
    world.network.cut(HERE, THERE)
    near.transport.write(b"there")
    far.transport.write(b"back")
    world.run_ms(1000)
    assert (near.data, far.data) == (b"back", b"")
    world.network.heal(HERE, THERE)
    world.run_ms(2000)
    assert (far.data, near.lost, far.lost) == (b"there", [], [])


def test_a_socket_that_does_not_linger_takes_back_what_is_stuck(world, client, server):
    """With SO_LINGER at zero, what waits behind a cut when its connection is closed never comes."""
    near, far = connected(world, client, server)
    world.network.cut(HERE, THERE)
    near.transport.write(b"late")
    world.run_ms(100)
    no_linger = socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
    near.transport.get_extra_info("socket").setsockopt(*no_linger)
    near.transport.abort()
    world.network.heal(HERE, THERE)
    world.run_ms(20_000)
    assert far.data == b""


def test_lost_way_swallows_bytes(world, client, server):
    """A connection can be dead in one direction without anybody being told."""
    near, far = connected(world, client, server)
    near.transport.lose_way()
    near.transport.write(b"gone")
    world.run_ms(60_000)
    assert (far.data, near.lost, far.lost) == (b"", [], [])


def test_lost_segments_come_late_and_in_order(world, client, server):
    """TCP sends again what is lost, and holds back what came after it."""
    near, far = connected(world, client, server)
    world.network.loss = 0.5
    for number in range(20):
        near.transport.write(b"%d," % number)
    world.run_ms(100)
    assert len(far.data) < 50
    world.run_ms(120_000)
    assert far.data == b"".join(b"%d," % number for number in range(20))


def test_unacknowledged_bytes_end_a_connection_that_asked_for_it(world, client, server):
    """TCP_USER_TIMEOUT: whoever set it hears of a dead way; the other end does not."""
    near, far = connected(world, client, server)
    option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3000
    near.transport.get_extra_info("socket").setsockopt(*option)
    near.transport.lose_way()
    near.transport.write(b"gone")
    world.run_ms(2900)
    assert near.lost == []
    world.run_ms(3500)
    assert isinstance(near.lost[0], TimeoutError)
    assert far.lost == []


def test_killed_process_hangs_up(world, client, server):
    """The kernel closes the connections of a process that is killed."""
    near, _ = connected(world, client, server)
    server.kill()
    world.run_ms(10)
    assert near.lost == [None]


def test_lost_power_is_noticed_by_speaking_only(world, client, server):
    """Nobody hears of a host that lost its power, until it is back and knows no connection."""
    near, _ = connected(world, client, server)
    world.network.power_off(THERE)
    server.vanish()
    near.transport.write(b"are you there?")
    world.run_ms(10_000)
    assert near.lost == []
    world.network.power_on(THERE)
    world.run_ms(10_000)
    assert isinstance(near.lost[0], ConnectionResetError)


def test_closed_end_is_heard_once(world, client, server):
    """A close reaches the other end behind the bytes before it, and both ends once."""
    near, far = connected(world, client, server)
    near.transport.write(b"bye")
    near.transport.close()
    world.run_ms(10)
    assert (far.data, near.lost, far.lost) == (b"bye", [None], [None])


def test_slow_reader_stops_the_writer(world, client, server):
    """What the other end does not read fills the buffers, and is told to the writer."""
    near, far = connected(world, client, server)
    told = []
    near.pause_writing = lambda: told.append("pause")
    near.resume_writing = lambda: told.append("resume")
    far.transport.pause_reading()
    near.transport.write(b"x" * 1_000_000)
    world.run_ms(10)
    assert (told, far.data) == (["pause"], b"")
    far.transport.resume_reading()
    world.run_ms(10)
    assert (told, len(far.data)) == (["pause", "resume"], 1_000_000)


# Disks --------------------------------------------------------------------------------------------


def test_crash_keeps_what_was_synced_and_a_part_of_the_rest():
    """A crash leaves the synced bytes and any beginning of those behind them."""
    left = set()
    for seed in range(50):
        disk = SimDisk(Random(seed))
        disk.create("/log")
        disk.sync_dir()
        disk.append("/log", b"safe")
        disk.sync("/log")
        disk.append("/log", b"lost")
        disk.crash()
        left.add(disk.read("/log"))
    assert left == {b"safe" + b"lost"[:size] for size in range(5)}


def test_rename_is_safe_once_the_directory_is_synced():
    """A rename may be undone by a crash, unless the directory was synced after it."""
    found = {_renamed(seed, sync_dir=False) for seed in range(20)}
    assert found == {b"old", b"new"}
    assert {_renamed(seed, sync_dir=True) for seed in range(20)} == {b"new"}


def _renamed(seed, *, sync_dir):
    disk = SimDisk(Random(seed))
    disk.write_atomically("/file", "old")
    disk.create("/next")
    disk.append("/next", b"new")
    disk.sync("/next")
    disk.rename("/next", "/file")
    if sync_dir:
        disk.sync_dir()
    disk.crash()
    return disk.read("/file")


def test_full_disk_leaves_the_old_file():
    """A save on a full disk fails, and the file is as it was."""
    disk = SimDisk(Random(1))
    disk.write_atomically("/file", "old")
    disk.is_full = True
    with pytest.raises(SaveError):
        disk.write_atomically("/file", "new")
    assert disk.read_text("/file") == "old"


@pytest.mark.parametrize("writes", range(4))
def test_power_cut_inside_a_save_leaves_the_old_file_or_the_new_one(world, client, writes):
    """Whichever write the power fails at, the file is whole afterwards."""
    disk = SimDisk(Random(writes))
    disk.write_atomically("/file", "old")
    disk.writes_left = writes
    disk.on_cut = client.vanish
    client.loop.call_soon(disk.write_atomically, "/file", "new")
    world.run_ms(1)
    disk.crash()
    assert not client.is_alive
    assert disk.read_text("/file") in ("old", "new")
