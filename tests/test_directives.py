"""Sentinel directives: from lines to a state, and from a state to lines that mean the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.config import directives
from sentinel_py.config.config import ConfigError, Origin, Statement
from sentinel_py.config.lines import split
from sentinel_py.core import checks
from sentinel_py.core.model import MAX_EPOCH, Address, Mandate, Raft, State

ID = "a" * 40
NOW = 1_000


def parse(*lines, origin=Origin.FILE):
    """Statements of these lines, each without its first word."""
    return [
        Statement(("sentinel", *split(line)), f"sentinel {line}", number, origin, "")
        for number, line in enumerate(lines, start=1)
    ]


def state_of(*statements, names=()):
    """The state that statements, or lines, describe; `names` are the hosts that resolve."""
    parsed = [
        statement
        for each in statements
        for statement in (parse(each) if isinstance(each, str) else each)
    ]
    state = State(myid="")
    directives.apply(parsed, state, now=NOW, resolve=dict(names).get)
    return state


def refusal(*lines):
    with pytest.raises(ConfigError) as caught:
        directives.apply(parse(*lines), State(myid=""), now=NOW, resolve=lambda _: None)
    return caught.value


def lines_of(state):
    """The lines that must be written, without their first word."""
    return [
        line.text.removeprefix("sentinel ") for line in directives.render(state) if line.required
    ]


MONITOR = "monitor mm 127.0.0.1 6379 2"
FULL = [
    f"myid {ID}",
    "deny-scripts-reconfig no",
    "resolve-hostnames yes",
    "announce-hostnames yes",
    "replicate-config no",
    "minority-reads no",
    MONITOR,
    "down-after-milliseconds mm 5000",
    "failover-timeout mm 6000",
    "parallel-syncs mm 3",
    "notification-script mm /bin/true",
    "client-reconfig-script mm /bin/false",
    'auth-pass mm "a b"',
    "auth-user mm usr",
    "master-reboot-down-after-period mm 7000",
    "config-epoch mm 8",
    "leader-epoch mm 9",
    "known-replica mm 127.0.0.1 6380",
    "known-replica mm ::1 6381",
    f"known-sentinel mm 127.0.0.1 26380 {'b' * 40}",
    "rename-command mm config secret-config",
    "current-epoch 10",
    "announce-ip 10.0.0.1",
    "announce-port 26999",
    "sentinel-user su",
    "sentinel-pass sp",
    "raft-peers 10.0.0.1:26379 sentinel-2:26379 [::1]:26379",
    "raft-self 10.0.0.1:26379",
    'raft-secret "s e"',
]


def test_everything_is_read_and_written_in_order():
    """A file that says all there is to say is written as it was read."""
    assert lines_of(state_of(*FULL)) == FULL


def test_state_of_a_full_file():
    """Each directive reaches its place in the state."""
    state = state_of(*FULL)
    master = state.masters["mm"]
    assert (state.myid, state.current_epoch) == (ID, 10)
    assert (master.options.quorum, master.options.down_after_ms) == (2, 5000)
    assert (master.config_epoch, master.leader_epoch) == (8, 9)
    assert master.options.auth_pass == "a b"
    assert master.options.renamed == {"config": "secret-config"}
    assert [replica.address.port for replica in master.replicas.values()] == [6380, 6381]
    assert master.peers["b" * 40].address == Address("127.0.0.1", 26380, "127.0.0.1")
    assert state.settings.sentinel_pass == "sp"
    assert master.created_at == NOW


def test_defaults_are_not_written():
    """What is at its default needs no line; the switches may keep theirs."""
    state = state_of(f"myid {ID}", MONITOR)
    assert lines_of(state) == [
        f"myid {ID}",
        MONITOR,
        "config-epoch mm 0",
        "leader-epoch mm 0",
        "current-epoch 0",
    ]
    optional = [line.text for line in directives.render(state) if not line.required]
    assert optional == [
        "sentinel deny-scripts-reconfig yes",
        "sentinel resolve-hostnames no",
        "sentinel announce-hostnames no",
        "sentinel replicate-config yes",
        "sentinel minority-reads yes",
        "sentinel webhook-per-node no",
        "sentinel raft-count-outsiders no",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("raft-peers a:1 b", "'b' is not of the form host:port."),
        ("raft-peers a:1 b:0", "'b:0' is not of the form host:port."),
        ("raft-peers a:1 b:2 a:1", "raft-peers names a:1 twice."),
        ("raft-self a", "'a' is not of the form host:port."),
        ("minority-reads maybe", "Please specify yes or no for the minority-reads option."),
    ],
)
def test_members_are_addresses(line, reason):
    """Each wrong word of a Raft directive has its own text."""
    with pytest.raises(ConfigError) as error:
        state_of(line)
    assert error.value.reason == reason


def test_the_secret_is_not_shown_by_accident():
    """Settings that get into a log or a traceback do not tell it."""
    assert "hush" not in repr(state_of("raft-secret hush").settings)


EVENTS = [
    "event-history 50",
    "webhook * https://example.com/hook",
    'webhook mm http://user@10.0.0.1:8080/ "s e"',
]


def test_webhooks_are_kept():
    """What is written reads back the same; an address that is said twice is one."""
    state = state_of(f"myid {ID}", *EVENTS, "webhook-per-node yes", EVENTS[1])
    state.settings.webhooks.sort(key=lambda webhook: webhook.master)
    assert [line for line in lines_of(state) if line in EVENTS] == EVENTS
    assert "webhook-per-node yes" in lines_of(state)
    shown = repr(state.settings)
    assert "example.com" not in shown
    assert "s e" not in shown


@pytest.mark.parametrize(
    "address", ["", "example.com", "ftp://a/", "http://", "http://a:x/", "http://a b/", "http://[/"]
)
def test_a_webhook_needs_an_address(address):
    """It is checked when the file is read."""
    reason = refusal(f'webhook * "{address}"').reason
    assert reason == "A webhook needs an address that begins with http:// or https://."


def test_events_have_limits():
    """Neither webhooks nor events without end."""
    for word in ("-1", "10001", "x", "9" * 40):
        reason = refusal(f"event-history {word}").reason
        assert reason == "event-history takes a number from 0 to 10000."
    lines = [f"webhook * http://h/{number}" for number in range(17)]
    assert refusal(*lines).reason == "There can be no more than 16 webhooks."


def test_options_of_the_debug_defaults_are_written():
    """A default that SENTINEL DEBUG changed is not the next process's default."""
    state = state_of(MONITOR)
    state.constants.default_down_after = 5000
    state.masters["mm"].options.down_after_ms = 5000
    assert "down-after-milliseconds mm 5000" in lines_of(state)


def test_order_of_lines_does_not_matter():
    """Options may stand before their master, and switches behind what depends on them."""
    assert lines_of(state_of(*reversed(FULL[:14]))) == lines_of(state_of(*FULL[:14]))


def test_words_in_any_case():
    """Names of directives come in any case, names of masters do not."""
    state = state_of("MONITOR mm 127.0.0.1 6379 2", "Auth-Pass mm x")
    assert state.masters["mm"].options.auth_pass == "x"
    renamed = state_of(MONITOR, "rename-command mm CONFIG Hidden").masters["mm"].options.renamed
    assert renamed == {"config": "Hidden"}
    assert refusal(MONITOR, "auth-pass MM x").reason == "No such master with specified name."


def test_old_and_other_names():
    """Old names and Valkey's names mean the same."""
    state = state_of(
        MONITOR, "known-slave mm 127.0.0.1 6380", "primary-reboot-down-after-period mm 5"
    )
    assert "known-replica mm 127.0.0.1 6380" in lines_of(state)
    assert "master-reboot-down-after-period mm 5" in lines_of(state)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("monitor m2 127.0.0.1 6379 0", "Quorum must be 1 or greater."),
        ("monitor m2 127.0.0.1 6379 abc", "Quorum must be 1 or greater."),
        ("monitor m2 nohost 70000 1", "Invalid port number."),
        ("monitor m2 nohost 6379 1", "Can't resolve instance hostname."),
        ("monitor mm 127.0.0.1 6379 1", "Duplicate master name."),
        ("monitor m2 127.0.0.1 6379", "Unrecognized sentinel configuration statement."),
        ("down-after-milliseconds mm 0", "negative or zero time parameter."),
        ("down-after-milliseconds mm 4294967295", "negative or zero time parameter."),
        ("failover-timeout mm -1", "negative or zero time parameter."),
        ("master-reboot-down-after-period mm -1", "negative time parameter."),
        (
            "notification-script mm /nonexistent",
            "Notification script seems non existing or non executable.",
        ),
        (
            "client-reconfig-script mm /etc/passwd",
            "Client reconfiguration script seems non existing or non executable.",
        ),
        ("known-replica mm 127.0.0.1 1111", "Duplicate hostname and port for replica."),
        ("known-replica mm 127.0.0.1 65536", "Invalid port number."),
        ("known-replica mm nohost 1", "Can't resolve instance hostname."),
        (f"known-sentinel mm 127.0.0.1 5 {'c' * 40}", "Duplicate runid for sentinel."),
        (
            "rename-command mm ConFig other",
            "Same command renamed multiple times with rename-command.",
        ),
        ("auth-pass nobody x", "No such master with specified name."),
        ("auth-pass mm", "Unrecognized sentinel configuration statement."),
        ("myid abc", "Malformed Sentinel id in myid option."),
        (
            "deny-scripts-reconfig 1",
            "Please specify yes or no for the deny-scripts-reconfig options.",
        ),
        ("resolve-hostnames 1", "Please specify yes or no for the resolve-hostnames option."),
        ("announce-hostnames 1", "Please specify yes or no for the announce-hostnames option."),
        ("nonsense", "Unrecognized sentinel configuration statement."),
        (
            f"current-epoch {2**64 - 1}",
            f"Epoch out of range, the largest one possible is {MAX_EPOCH}.",
        ),
        ("config-epoch mm -1", f"Epoch out of range, the largest one possible is {MAX_EPOCH}."),
        (
            f"leader-epoch mm {MAX_EPOCH + 1}",
            f"Epoch out of range, the largest one possible is {MAX_EPOCH}.",
        ),
    ],
)
def test_refused_lines(line, reason):
    """A bad statement is refused in redis-sentinel's words, with its line."""
    base = [
        MONITOR,
        "known-replica mm 127.0.0.1 1111",
        f"known-sentinel mm 127.0.0.1 4 {'c' * 40}",
        "rename-command mm config x",
    ]
    error = refusal(*base, line)
    assert (error.line_no, error.line, error.reason) == (5, f"sentinel {line}", reason)


def test_numbers_as_c_reads_them():
    """Junk behind a number is ignored, and what is no number is 0."""
    state = state_of(
        "monitor mm 127.0.0.1 6379x 2y",
        "monitor m0 127.0.0.1 abc 1",
        "down-after-milliseconds mm 0005000ms",
        "parallel-syncs mm abc",
        "current-epoch 7seven",
        "announce-port 4294967297",
        f"failover-timeout mm {2**32 + 5}",
    )
    options = state.masters["mm"].options
    assert state.masters["mm"].address.port == 6379
    assert state.masters["m0"].address.port == 0
    assert (options.quorum, options.down_after_ms, options.parallel_syncs) == (2, 5000, 0)
    assert (state.current_epoch, state.settings.announce_port) == (7, 1)
    assert options.failover_timeout_ms == 5


def test_epochs_only_rise():
    """The current epoch is the highest that any line names."""
    assert state_of("current-epoch 9", "current-epoch 3").current_epoch == 9
    state = state_of("current-epoch 9", MONITOR, "config-epoch mm 12")
    assert (state.current_epoch, state.masters["mm"].config_epoch) == (12, 12)
    assert state_of(f"current-epoch {MAX_EPOCH}").current_epoch == MAX_EPOCH


def test_empty_values_unset():
    """An empty word clears what an earlier line said."""
    state = state_of(MONITOR, "auth-pass mm x", 'auth-pass mm ""', 'announce-ip ""')
    assert state.masters["mm"].options.auth_pass is None
    assert not any("announce-ip" in line or "auth-pass" in line for line in lines_of(state))


def test_peer_without_an_id_is_ignored():
    """The oldest form of the line does not even need its master."""
    assert not state_of(MONITOR, "known-sentinel nobody x y").masters["mm"].peers


def test_lines_that_redis_7_0_leaves_behind():
    """A known-slave line may repeat a replica, or name what is the master by now."""
    state = state_of(
        MONITOR,
        "known-slave mm 127.0.0.1 6379",
        "known-slave mm 127.0.0.1 6380",
        "known-replica mm 127.0.0.1 6380",
    )
    assert list(state.masters["mm"].replicas) == ["127.0.0.1:6380"]


@pytest.mark.parametrize("origin", [Origin.GIVEN, Origin.INCLUDE])
def test_the_file_knows_better_where_a_master_is(origin):
    """What the command line or an included file says again is older than the file itself."""
    again = parse(
        "monitor mm 127.0.0.1 7777 5",
        "known-replica mm 127.0.0.1 6380",
        "rename-command mm config other",
        f"known-sentinel mm 127.0.0.1 1 {'c' * 40}",
        origin=origin,
    )
    file = parse(
        MONITOR,
        "known-replica mm 127.0.0.1 6380",
        "rename-command mm config first",
        f"known-sentinel mm 127.0.0.1 4 {'c' * 40}",
    )
    for statements in ([*file, *again], [again[0], *file, *again[1:]]):
        master = state_of(statements).masters["mm"]
        assert (master.address.port, master.options.quorum) == (6379, 2)
        assert len(master.replicas) == 1
        assert master.options.renamed == {"config": "first"}
        assert master.peers["c" * 40].address.port == 4


def test_a_master_twice_outside_the_file():
    """Two included files that name the same master are a mistake, as two lines of one file are."""
    twice = parse(MONITOR, MONITOR, origin=Origin.INCLUDE)
    with pytest.raises(ConfigError, match=r"Duplicate master name\."):
        state_of(twice)


NAMES = {"db.example": "10.0.0.5"}


def test_host_names_are_resolved():
    """With resolve-hostnames a name is looked up, and what it stands for is remembered."""
    state = state_of("resolve-hostnames yes", "monitor mm db.example 6379 2", names=NAMES)
    assert state.masters["mm"].address == Address("db.example", 6379, "10.0.0.5")
    assert state.names == NAMES


def test_host_name_without_an_address_is_accepted():
    """A name that cannot be resolved now may be later, and is kept."""
    lines = ["monitor mm gone.example 6379 2", "known-replica mm gone.example 6380"]
    state = state_of("resolve-hostnames yes", *lines)
    assert state.masters["mm"].address == Address("gone.example", 6379, "")
    assert set(lines) <= set(lines_of(state))


def test_monitored_host_names_are_kept_in_the_file():
    """A master's name stays in the file, though ips are announced."""
    state = state_of(
        "resolve-hostnames yes",
        "monitor mm db.example 6379 2",
        "known-replica mm db.example 6380",
        names=NAMES,
    )
    assert "monitor mm db.example 6379 2" in lines_of(state)
    assert "known-replica mm 10.0.0.5 6380" in lines_of(state)


def test_short_numeric_hosts():
    """A short form of an ip is its normal form in the file."""
    assert "monitor mm 127.0.0.1 6379 2" in lines_of(state_of("monitor mm 127.1 6379 2"))


WORD = st.binary(min_size=1).map(lambda data: data.decode(errors="surrogateescape"))
NAME = WORD.filter(lambda it: not checks.has_control(it) and it[0] != "-")


@given(name=NAME, password=WORD, user=WORD, command=WORD, renamed=WORD)
def test_any_text_survives_a_restart(name, password, user, command, renamed):
    """Blanks and quotes in names, and any byte in secrets, do not break the file."""
    state = state_of(f"myid {ID}", "monitor mm 127.0.0.1 6379 2")
    master = state.masters["mm"]
    del state.masters["mm"]
    master.name = name
    state.masters[name] = master
    master.options.auth_pass, master.options.auth_user = password, user
    master.options.renamed[command.lower()] = renamed
    state.settings.sentinel_pass = password

    again = state_of(*lines_of(state))
    options = again.masters[name].options
    assert (options.auth_pass, options.auth_user) == (password, user)
    assert options.renamed == master.options.renamed
    assert again.settings.sentinel_pass == password


@pytest.mark.parametrize("is_replicated", [True, False])
def test_a_failover_of_the_raft_log_outlives_a_restart(is_replicated):
    """Whoever resumes it promotes the replica that was chosen, and no other."""
    state = state_of(f"myid {ID}", "monitor m 10.0.0.1 6379 2")
    state.raft = Raft(boot="b", applied=7)
    master = state.masters["m"]
    master.is_replicated = is_replicated
    chosen = Address("10.0.0.2", 6379, "10.0.0.2")
    master.mandate = Mandate(3, ID, forced=False, chosen=chosen)
    lines = [line.text for line in directives.render(state) if line.text.startswith("sentinel ")]
    restored = state_of(parse(*(line.removeprefix("sentinel ") for line in lines)))
    assert restored.masters["m"].mandate == master.mandate
    assert restored.masters["m"].is_replicated is is_replicated


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("-x", "The name of a master begins with '-', as options of programs do."),
        (r'"a\nb"', "The name of a master has control characters."),
        ("x" * 4097, "The name of a master has more than 4096 bytes."),
    ],
)
def test_names_that_no_order_could_give(name, reason):
    """They are refused at the start, in one line."""
    with pytest.raises(ConfigError) as error:
        state_of(f"monitor {name} 127.0.0.1 6379 2")
    assert error.value.reason == reason


@pytest.mark.parametrize("word", ["299", "10001", "-1", "1s", ""])
def test_election_timeouts_out_of_range(word):
    """Neither one that every stall ends, nor one that makes a failover last for ever."""
    with pytest.raises(ConfigError) as error:
        state_of(f'raft-election-timeout "{word}"')
    assert error.value.reason == "raft-election-timeout takes 300 to 10000 milliseconds."


def test_an_election_timeout():
    """It is kept in the file, if it is not the usual one."""
    state = state_of("raft-election-timeout 3000")
    assert state.settings.raft_election_timeout_ms == 3000
    assert "sentinel raft-election-timeout 3000" in [it.text for it in directives.render(state)]


def test_a_member_starts_on_a_name_that_the_log_has_brought():
    """Its cluster has forbidden names since; a sentinel of its own is told, as ever."""
    line = "monitor m db.example 6379 2"
    state = state_of("raft-peers 127.0.0.1:26379", line)
    assert state.masters["m"].address == Address("db.example", 6379, "")
    with pytest.raises(ConfigError) as error:
        state_of(line)
    assert error.value.reason == "Can't resolve instance hostname."
