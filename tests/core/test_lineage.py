"""What an INFO says of the data, what is written down of it, and who may be promoted by it."""

from random import Random

import pytest

from sentinel_py.config import directives
from sentinel_py.config.config import Origin, Statement
from sentinel_py.config.lines import split
from sentinel_py.core import failover, lineage, roster
from sentinel_py.core.info import parse
from sentinel_py.core.model import Address, Dataset, Lineage, Options, Raft, Role, State
from sentinel_py.core.turn import Turn

A, B, C = ("a" * 40, "b" * 40, "c" * 40)
NONE = "0" * 40


def info(*lines):
    return parse("\r\n".join(lines).encode()).dataset


@pytest.fixture
def state():
    return State(myid="0" * 40, raft=Raft("x"))


@pytest.fixture
def replica(state):
    """A replica of a master that had 10 keys, history A, and B before, up to offset 1000."""
    options = Options(2, 1000, 6000)
    master = roster.add_master(state, 0, "m", Address("10.0.0.1", 1, "10.0.0.1"), options)
    master.lineage = Lineage("r" * 40, A, B, 1000, 10)
    return roster.add_replica(state, 0, master, Address("10.0.0.2", 1, "10.0.0.2"))


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ((), None),
        (("# Keyspace",), 0),
        (("# Keyspace", "db0:keys=3,expires=0,avg_ttl=0", "db12:keys=4,expires=1"), 7),
        (("db0:keys=many,expires=0",), None),
        (("db0:keys=5", "# Keyspace", "dbsize:keys=9,"), 0),
    ],
)
def test_keys_are_counted_over_all_databases(lines, keys):
    """A server that has none says so with an empty section; without one it says nothing."""
    assert info(*lines).keys == keys


def test_histories_and_offsets_are_read():
    """The words of a master that was promoted once."""
    lines = ("master_replid:" + A, "master_replid2:" + B, "master_repl_offset:70")
    data = info(*lines, "second_repl_offset:51", "loading:1", "master_sync_in_progress:1")
    assert (data.replid, data.replid2, data.offset, data.parted_offset) == (A, B, 70, 51)
    assert data.is_loading
    assert data.is_syncing


@pytest.mark.parametrize("value", ["", "-5", "x", "9" * 30])
def test_nonsense_about_the_data_breaks_nothing(value):
    """Other servers than Redis may say these words in a way of their own."""
    lines = [f"{name}:{value}" for name in ("master_repl_offset", "second_repl_offset")]
    assert (info(*lines).offset, info(*lines).parted_offset) == (0, -1)


@pytest.mark.parametrize(
    ("lines", "is_all_new"),
    [
        (("# Keyspace",), True),
        (("db0:keys=3,", "rdb_changes_since_last_save:3"), True),
        (("db0:keys=4,", "rdb_changes_since_last_save:3"), False),
        (("db0:keys=3,", "rdb_changes_since_last_save:9", "aof_enabled:1"), False),
        (("db0:keys=3,", "rdb_changes_since_last_save:9", "rdb_last_load_keys_loaded:3"), False),
        (("db0:keys=3,", "rdb_changes_since_last_save:9", "rdb_last_load_keys_loaded:0"), True),
        (("db0:keys=3,",), False),
        ((), False),
    ],
)
def test_clients_may_have_written_to_an_empty_master_already(lines, is_all_new):
    """Keys that can have come since the start prove nothing; those that were loaded do."""
    assert info(*lines).is_all_new is is_all_new


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, ""),
        (Dataset(), ""),
        (Dataset(A, NONE, offset=1, keys=10), ""),
        (Dataset(B, NONE, offset=1, keys=10), ""),
        (Dataset(C, A, offset=1, keys=10), ""),
        (Dataset(C, NONE, offset=9000, keys=10), f"has another history, {C}, not {A}"),
        (Dataset(NONE, NONE), f"has another history, {NONE}, not {A}"),
        (Dataset(A, NONE, offset=1000, is_loading=True), "is loading"),
    ],
)
def test_only_what_is_known_speaks_against_a_replica(state, replica, data, reason):
    """Who has grown out of the master's history, or the master out of his, may be promoted."""
    replica.dataset = data
    assert lineage.why_not(state, replica, 1) == reason


@pytest.mark.parametrize(("limit", "lags"), [(0, False), (399, True), (400, False)])
def test_a_lag_counts_if_there_is_a_limit(state, replica, limit, lags):
    """Measured from the offset that the master, or any replica of it, is known to have reached."""
    replica.dataset = Dataset(A, NONE, offset=600, keys=10)
    replica.master.shared.max_promotion_lag = limit
    assert lineage.why_not(state, replica, 1) == ("is 400 bytes behind offset 1000" if lags else "")


@pytest.mark.parametrize(
    ("raft", "option", "holds"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_raft_mode_has_it_on_and_classic_mode_off(state, replica, raft, option, holds):
    """By default; what the file says is as it says."""
    state.raft = state.raft if raft else None
    options = replica.master.shared
    options.check_lineage = options.protect_empty_restart = option
    replica.dataset = Dataset(C, NONE)
    assert bool(lineage.why_not(state, replica, 1)) is holds
    assert lineage.protects(state, replica.master) is holds


def report(state, node, run_id, data, now=5000):
    """Have a master report these data, under this run id."""
    if node.run_id != run_id:
        node.run_id, node.run_id_at = run_id, now
    node.dataset = data
    lineage.note(Turn(now, state, Random(0), lambda _: True), node, Role.MASTER)


@pytest.mark.parametrize(
    ("data", "is_empty"),
    [
        (Dataset(C, NONE, offset=0, keys=0, is_all_new=True), True),
        (Dataset(C, A, 901, offset=950, keys=0, is_all_new=True), True),
        (Dataset(C, A, 1000, offset=1000, keys=0, is_all_new=True), True),
        (Dataset(C, A, 1001, offset=1050, keys=0, is_all_new=True), False),
        (Dataset(C, B, 2000, offset=2050, keys=0, is_all_new=True), False),
        (Dataset(C, "d" * 40, 2000, offset=2050, keys=0, is_all_new=True), True),
        (Dataset(C, NONE, offset=0, keys=3), False),
    ],
)
def test_what_has_outgrown_the_known_history_was_emptied_by_order(state, replica, data, is_empty):
    """Another process without keys has lost them, unless it has all that is known, and more."""
    report(state, replica.master, "s" * 40, data)
    assert (replica.master.emptied_at is not None) is is_empty


def test_a_successor_is_no_restart_of_its_predecessor(state, replica):
    """With the switch its run id is the known one: emptied by order, it is still followed."""
    master, run_id = replica.master, "s" * 40
    replica.run_id, replica.dataset = run_id, Dataset(C, A, 901, offset=900, keys=10)
    turn = Turn(4000, state, Random(0), lambda _: True)
    failover.switch(turn, master, replica.address, as_leader=False)
    emptied = Dataset(C, A, 901, offset=920, keys=0, is_all_new=True)
    report(state, master, run_id, emptied)
    assert master.emptied_at is None
    master.lineage.keys = 10
    report(state, master, "t" * 40, Dataset(B, NONE, offset=0, keys=0, is_all_new=True))
    assert master.emptied_at == 5000


def reloaded(state):
    """A state made of what the file says about this one."""
    copy = State(myid="", raft=state.raft)
    texts = [line.text for line in directives.render(state)]
    statements = [Statement(tuple(split(it)), it, 1, Origin.FILE, "") for it in texts]
    directives.apply(statements, copy, now=0, resolve=lambda _: None)
    return copy


def test_what_is_known_outlives_a_restart(state, replica):
    """So does each of the options; a file without these lines is read as before."""
    options = replica.master.shared
    options.fence_isolated_master = options.check_lineage = True
    options.protect_empty_restart = False
    options.max_promotion_lag, options.loading_down_after_ms = 5000, 60_000
    master = reloaded(state).masters["m"]
    assert master.lineage == replica.master.lineage
    assert master.options == options


def test_a_stock_file_stays_one(state, replica):
    """In classic mode nothing is written that redis-sentinel would not read."""
    state.raft = None
    assert not [line for line in directives.render(state) if "known-lineage" in line.text]
