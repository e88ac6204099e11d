"""Rewriting: the new state in the old file's shape."""

import time

import pytest
from test_directives import state_of

from sentinel_py.config import directives
from sentinel_py.config.config import Config, ConfigError, load
from sentinel_py.config.lines import CACHED_LINES, Line, split
from sentinel_py.config.rewrite import SIGNATURE, ConfigFile, merged
from sentinel_py.core.model import Raft, State
from sentinel_py.storage import LOCAL, SaveError


def line(text, required=True):
    """A wanted line; its key is its first word, or its first two for a sentinel line."""
    words = text.split()
    return Line(" ".join(words[: 2 if words[0] == "sentinel" else 1]), text, required)


class MemoryDisk:
    """One file that is not on any disk."""

    def __init__(self, text=None):
        self.text = text

    def read_text(self, path):
        if self.text is None:
            raise FileNotFoundError(path)
        return self.text

    def write_atomically(self, path, text):
        self.text = text


def test_lines_are_replaced_where_they_stand():
    """Order, comments and empty lines stay; only the value changes."""
    old = "# head\nport 1\n\n# tail\nsentinel myid x\n"
    new = merged(old, [line("sentinel myid y"), line("port 2")])
    assert new == "# head\nport 2\n\n# tail\nsentinel myid y\n\n"


def test_new_lines_are_signed():
    """Lines that were not there are appended behind the signature, in their order."""
    assert merged("port 1\n", [line("port 1"), line("timeout 5"), line("sentinel myid y")]) == (
        f"port 1\n\n{SIGNATURE}\ntimeout 5\nsentinel myid y\n"
    )


def test_one_signature_is_enough():
    """A signed file is not signed again; later batches follow an empty line."""
    old = f"port 1\n\n{SIGNATURE}\ntimeout 5\n"
    new = merged(old, [line("port 1"), line("timeout 5"), line("hz 5")])
    assert new == f"port 1\n\n{SIGNATURE}\ntimeout 5\n\nhz 5\n"


def test_a_file_that_was_not_there():
    """A missing or empty file becomes a signed one."""
    assert merged("", [line("port 1")]) == f"{SIGNATURE}\nport 1\n"


def test_optional_lines():
    """A line that need not be written only takes the place of an old one."""
    wanted = [line("timeout 0", required=False), line("tcp-backlog 511", required=False)]
    assert merged("timeout 5", wanted) == "timeout 0\n"


def test_orphans_disappear():
    """Old lines of what is known by now, and no longer true, become one empty line."""
    old = "port 1\nport 2\nsentinel monitor gone h 1 1\nsentinel auth-pass gone x\nhz 7\n"
    assert merged(old, [line("port 3")]) == "port 3\n\nhz 7\n\n"


def test_known_names_are_any_case_and_any_spelling():
    """Old spellings make place for the line that means the same."""
    old = "PORT 1\nSENTINEL Known-Slave m a 1\nsentinel primary-reboot-down-after-period m 1"
    wanted = [
        line("port 2"),
        line("sentinel known-replica m a 1"),
        line("sentinel master-reboot-down-after-period m 2"),
    ]
    assert merged(old, wanted) == "".join(f"{each.text}\n" for each in wanted)


def test_what_is_not_understood_is_kept_as_a_comment():
    """Nothing that an operator wrote is deleted."""
    old = 'nonsense 1\nport "1\nmod.option 5\n\v\n'
    new = merged(old, [])
    assert new == '# ??? nonsense 1\n# ??? port "1\n# ??? mod.option 5\n# ??? \v\n\n'
    assert merged(new, []) == new


def test_lines_of_others_are_left_alone():
    """Directives of a data node, includes and unknown sentinel lines stay as they are."""
    old = (
        "include a.conf\nrename-command PING P\nloadmodule /x.so\nsave 900 1\nsave 300 10\n"
        "slave-priority 5\nsentinel\nsentinel future-option m 1\n"
    )
    assert merged(old, []) == old + "\n"


def test_users_leave_the_file_only_for_others():
    """Without users to write, as with an ACL file, user lines are not touched."""
    assert merged("user a on\n", []) == "user a on\n\n"
    assert merged("user a on\nuser b on", [line("user a off")]) == "user a off\n\n"


def test_lines_of_a_master_stay_with_its_comment():
    """Masters do not trade places, in whichever order they are written."""
    old = "# one\nsentinel auth-pass one x\n# two\nsentinel auth-pass two y\n"
    wanted = [line("sentinel auth-pass two Y"), line("sentinel auth-pass one X")]
    assert merged(old, wanted) == (
        "# one\nsentinel auth-pass one X\n# two\nsentinel auth-pass two Y\n\n"
    )


def test_a_new_master_takes_a_place_that_became_free():
    """A line without an owner is used before one is appended."""
    old = "sentinel auth-pass one x\nsentinel auth-pass gone y\n"
    wanted = [line("sentinel auth-pass new z"), line("sentinel auth-pass one x")]
    assert merged(old, wanted) == "sentinel auth-pass one x\nsentinel auth-pass new z\n\n"


def test_what_an_include_says_is_not_copied():
    """A line that an included file has is not appended, and takes nobody's place."""
    wanted = [line("sentinel monitor a h 1 1"), line("user u on"), line("timeout 5")]
    included = {"sentinel monitor a h 1 1", "user u", "timeout 5"}
    old = "include x\nsentinel monitor b h 1 1\n"
    assert merged(old, wanted, included) == "include x\n\n"


def test_what_changed_since_the_include_is_written():
    """After a failover the included line is wrong, and the file itself has to say so."""
    wanted = [line("sentinel monitor a other 1 1")]
    new = merged("include x\n", wanted, {"sentinel monitor a h 1 1"})
    assert new == f"include x\n\n{SIGNATURE}\nsentinel monitor a other 1 1\n"


def test_a_rewrite_changes_nothing_twice():
    """The second rewrite of the same state adds at most the last empty line."""
    wanted = [line("port 1"), line("sentinel myid x"), line("user a on")]
    once = merged("# x\nport 9\nnonsense\n", wanted)
    twice = merged(once, wanted)
    assert twice in (once, once + "\n")
    assert merged(twice, wanted) == twice


def test_all_parts_are_written():
    """Settings, options of the command line, users and sentinel lines come in this order."""
    config = Config("/c")
    config.settings.timeout = 5
    config.given["appendonly"] = line("appendonly yes")
    disk = MemoryDisk()
    ConfigFile("/c", config, disk).rewrite([line("sentinel myid x")], ["user default on"])
    assert disk.text.splitlines() == [
        SIGNATURE,
        "port 26379",
        "protected-mode no",
        "timeout 5",
        "appendonly yes",
        "user default on",
        "sentinel myid x",
    ]


OVERRIDES = [
    "local-override mm down-after-milliseconds 500",
    "local-override mm quorum 1",
    'local-override mm auth-pass "a b"',
    'local-override mm auth-user ""',
    'local-override mm notification-script ""',
]


def test_overrides_are_written_beside_what_is_shared():
    """The options' own lines say what all sentinels share, in whichever order lines are read."""
    shared = ["monitor mm 127.0.0.1 6379 2", "auth-user mm usr", "parallel-syncs mm 3"]
    state = state_of(f"myid {'a' * 40}", *OVERRIDES, *shared)
    options = state.masters["mm"].options
    assert (options.quorum, options.down_after_ms, options.parallel_syncs) == (1, 500, 3)
    assert (options.auth_pass, options.auth_user) == ("a b", None)
    old = "".join(f"sentinel {it}\n" for it in shared)
    text = merged(old, directives.render(state))
    assert text.startswith(old)
    assert [text.count(f"sentinel {it}\n") for it in OVERRIDES] == [1] * len(OVERRIDES)
    again = state_of(*(it.removeprefix("sentinel ") for it in text.splitlines() if it[:1] == "s"))
    assert directives.render(again) == directives.render(state)


def test_a_lifted_override_leaves_the_file():
    """Its line goes; those of other options and the comment above them stay."""
    state = state_of("monitor mm 127.0.0.1 6379 2", *OVERRIDES[:2])
    old = merged("# mine\n" + lines(OVERRIDES[:2]), directives.render(state))
    state.masters["mm"].overrides.pop("down_after_ms")
    text = merged(old, directives.render(state))
    assert text.startswith("# mine\n" + lines(OVERRIDES[1:2]))
    assert OVERRIDES[0] not in text


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("quorum 0", "Quorum must be 1 or greater."),
        ("down-after-milliseconds 0", "negative or zero time parameter."),
        ('down-after-milliseconds ""', "negative or zero time parameter."),
        ("rename-command x", "rename-command is no option that a local-override can be about."),
        ("client-reconfig-script /x", "Client reconfiguration script seems non existing or non ex"),
    ],
)
def test_wrong_overrides(override, reason):
    """An override is checked as the option is."""
    with pytest.raises(ConfigError) as error:
        state_of("monitor mm 127.0.0.1 6379 2", f"local-override mm {override}")
    assert error.value.reason.startswith(reason)


def lines(texts):
    return "".join(f"sentinel {text}\n" for text in texts)


def test_users_are_quoted():
    """A quote in a user's name or key pattern does not break the line."""
    disk = MemoryDisk()
    ConfigFile("/c", Config("/c"), disk).rewrite([], ["user o'neil on ~\"* +@all"])
    assert split(disk.text.splitlines()[-1]) == ["user", "o'neil", "on", '~"*', "+@all"]


def test_hand_edits_survive(tmp_path, monkeypatch):
    """What is written into the file while we run is there after the next rewrite."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.conf"
    path.write_text("port 1\n")
    config = load(str(path), ["--timeout", "5"])
    ConfigFile(config.path, config).rewrite([], [])
    path.write_text("# a note\nhz 50\n" + path.read_text())
    ConfigFile(config.path, config).rewrite([], [])
    assert path.read_text().splitlines() == [
        "# a note",
        "hz 50",
        "port 1",
        "",
        SIGNATURE,
        "protected-mode no",
        "timeout 5",
        f'dir "{tmp_path}"',
        "",
    ]


def test_what_has_changed_is_exchanged():
    """Further rewrites make of a file what the first one would have made."""
    config, disk = Config("/c"), MemoryDisk("# head\nsentinel monitor a h 1 1\n# of a\n")
    config.included = {"sentinel config-epoch b 7"}
    file = ConfigFile("/c", config, disk)
    for texts in (
        ["monitor a h 1 1", "config-epoch a 0", "known-replica a h 2", "known-replica a h 3"],
        ["monitor a h 2 1", "config-epoch a 1", "known-replica a h 3", "known-replica a h 1"],
        ["monitor a h 2 1", "config-epoch a 2", "known-replica a h 3", "known-replica a h 1"],
        ["monitor a h 2 1", "config-epoch a 2", "known-replica a h 3"],
        ["monitor a h 2 1", "config-epoch a 2", "config-epoch b 7"],
        ["monitor a h 2 1", "config-epoch a 2", "config-epoch b 8"],
    ):
        wanted = [line(f"sentinel {text}") for text in texts]
        once = merged(disk.text, [*config.settings.lines(), *wanted], config.included)
        file.rewrite(wanted, [])
        assert sorted(disk.text.split()) == sorted(once.split())


def test_a_rewritten_file_is_read_alike(tmp_path, monkeypatch):
    """Settings of file and command line are the same after a restart without options."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.conf"
    path.write_text("bind 127.0.0.1 -::1\nclient-output-buffer-limit pubsub 1mb 2kb 3\n")
    argv = ["--requirepass", "a b", "--unixsocketperm", "700", "--maxmemory-clients", "5%"]
    config = load(str(path), argv)
    ConfigFile(config.path, config).rewrite([], [])
    again = load(str(path))
    assert again.settings.lines() == config.settings.lines()


def test_a_file_that_cannot_be_read(tmp_path):
    """A failure is told in one line, and nothing is written."""
    with pytest.raises(SaveError, match=r"^Could not read the config file \(Is a directory\)$"):
        ConfigFile(str(tmp_path), Config(str(tmp_path)), LOCAL).rewrite([], [])


def test_a_rewrite_is_fast():
    """It runs before every vote: a file of usual size takes far less than an fsync."""
    old = "\n".join(f"# comment {n}\nsentinel auth-pass m{n} secret" for n in range(50))
    assert old.count("\n") < CACHED_LINES
    wanted = [line(f"sentinel auth-pass m{n} secret") for n in range(50)]
    disk, config = MemoryDisk(old), Config("/c")
    best = min(timed(lambda: ConfigFile("/c", config, disk).rewrite(wanted, [])) for _ in range(20))
    assert best < 0.005
    assert disk.text.startswith(old)


def timed(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def test_what_redis_sentinel_has_no_directive_for_is_a_comment_to_it():
    """It is found again where it stands, and any other comment stays one."""
    old = "port 1\n#~ sentinel known-ancestors m a\n#~ port 2\n"
    text = "#~ sentinel known-ancestors m a,b"
    new = merged(old, [line("port 1"), Line("sentinel known-ancestors", text)])
    assert new == f"port 1\n{text}\n#~ port 2\n\n"


@pytest.mark.parametrize("raft", [None, Raft("x")])
def test_what_a_history_was_outlives_a_restart(tmp_path, raft):
    """In classic mode as a comment, so that redis-sentinel can be started on the file again."""
    state = state_of("monitor m 10.0.0.1 1 2")
    state.raft, state.myid = raft, "1" * 40
    state.masters["m"].ancestors += ["a" * 40, "b" * 40]
    text = merged("sentinel monitor m 10.0.0.1 1 2\n", list(directives.render(state)))
    assert ("#~ sentinel known-ancestors m" in text) is (raft is None)
    (tmp_path / "conf").write_text(text)
    again = State(myid="")
    statements = load(str(tmp_path / "conf")).statements
    directives.apply(statements, again, now=0, resolve=lambda _: None)
    assert again.masters["m"].ancestors == ["a" * 40, "b" * 40]
