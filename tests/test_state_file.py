"""What counts when a config file and the state of an earlier run disagree."""

import os

import pytest
from test_directives import parse

from sentinel_py.config.config import ConfigError, StartError, load
from sentinel_py.config.lines import Line, split
from sentinel_py.config.state_file import merged, take_up

ID, OTHER_ID = "a" * 40, "b" * 40
CONFIG = ("monitor m 10.0.0.1 6379 2", "down-after-milliseconds m 5000")
AFTER_FAILOVER = (
    f"myid {ID}",
    "monitor m 10.0.0.2 6379 2",
    "down-after-milliseconds m 5000",
    "config-epoch m 3",
    "known-replica m 10.0.0.1 6379",
    "current-epoch 3",
)


def counted(said, before=CONFIG, kept=AFTER_FAILOVER):
    """What counts, without the word `sentinel`; one text for each statement."""
    statements, _ = merged(parse(*said), parse(*before), parse(*kept))
    return {" ".join(each.words[1:]) for each in statements}


def overruled(said, before=CONFIG, kept=AFTER_FAILOVER):
    return merged(parse(*said), parse(*before), parse(*kept))[1]


def test_the_first_start_has_the_config_file_alone():
    """Nothing was kept, so every line counts."""
    assert counted(CONFIG, before=(), kept=()) == set(CONFIG)


def test_an_unchanged_config_file_adds_nothing():
    """Where the master was when the file was written is long past."""
    assert counted(CONFIG) == set(AFTER_FAILOVER)


def test_what_a_command_has_changed_stays_changed():
    """SENTINEL SET wins over a line that was there before it, and so does taking back a line."""
    kept = (*AFTER_FAILOVER[:2], "parallel-syncs m 4", *AFTER_FAILOVER[3:])
    assert counted(CONFIG, kept=kept) == set(kept)


@pytest.mark.parametrize(
    ("said", "gone", "come"),
    [
        ((CONFIG[0], "down-after-milliseconds m 9"), 2, "down-after-milliseconds m 9"),
        ((*CONFIG, "parallel-syncs m 3"), None, "parallel-syncs m 3"),
        ((*CONFIG, "announce-ip 10.0.0.9"), None, "announce-ip 10.0.0.9"),
        ((CONFIG[0],), 2, None),
    ],
)
def test_what_the_operator_has_changed_counts(said, gone, come):
    """A line that is new, other than before, or no longer there; all else stays."""
    expected = {line for at, line in enumerate(AFTER_FAILOVER) if at != gone}
    assert counted(said) == expected | ({come} if come else set())


def test_a_new_quorum_does_not_bring_the_old_master_back():
    """Quorum and address stand in one line, and only one of them has changed."""
    expected = {*AFTER_FAILOVER, "monitor m 10.0.0.2 6379 3"} - {AFTER_FAILOVER[1]}
    assert counted(("monitor m 10.0.0.1 6379 3", CONFIG[1])) == expected


@pytest.mark.parametrize("host", ["10.0.0.1", "10.0.0.2"])
def test_any_node_of_the_group_stands_for_it(host):
    """Whoever brings the line up to date, or sets it back, means the same master."""
    said = (f"monitor m {host} 6379 2", CONFIG[1])
    before = ("monitor m 10.0.0.3 6379 2", CONFIG[1])
    assert counted(said, before=before) == set(AFTER_FAILOVER)


def test_a_strange_address_is_another_master():
    """What was known of the one before does not hold for it; who we are does."""
    said = ("monitor m 10.9.9.9 6379 2", CONFIG[1])
    assert counted(said) == {*said, f"myid {ID}", "current-epoch 3"}


def test_a_master_that_the_operator_has_taken_out_is_forgotten():
    """With all that was known of it."""
    assert counted(()) == {f"myid {ID}", "current-epoch 3"}


def test_a_master_that_the_operator_has_put_in_is_watched():
    """Beside those that are there."""
    new = ("monitor n 10.0.1.1 6379 2", "auth-pass n secret")
    assert counted((*CONFIG, *new)) == {*AFTER_FAILOVER, *new}


def test_a_master_that_was_removed_by_command_stays_removed():
    """Even if a line about it has changed; a new monitor line brings it back."""
    kept = (f"myid {ID}", "current-epoch 3")
    changed = "down-after-milliseconds m 9"
    assert counted((CONFIG[0], changed), kept=kept) == set(kept)
    again = ("monitor m 10.0.0.1 6379 1", changed)
    assert counted(again, kept=kept) == {*kept, *again}


def test_a_master_that_was_added_by_command_stays():
    """The config file never had it."""
    kept = (*AFTER_FAILOVER, "monitor n 10.0.1.1 6379 2")
    assert counted(CONFIG, kept=kept) == set(kept)


def test_what_only_the_sentinel_can_know_is_its_own():
    """An epoch never goes back and an id stays, whatever somebody copies into the file."""
    said = (*CONFIG, f"myid {OTHER_ID}", "current-epoch 1", "config-epoch m 1")
    assert counted(said) == set(AFTER_FAILOVER)


IN_RAFT = (*AFTER_FAILOVER, "raft-master m", "raft-peers 10.0.0.1:1", "local-override m quorum 1")
RAFT_CONFIG = (*CONFIG, "raft-peers 10.0.0.1:1", "local-override m quorum 1")


def test_one_file_does_not_change_what_a_raft_cluster_has_in_common():
    """The change is named, without its value: it may be a password."""
    said = (CONFIG[0], *RAFT_CONFIG[2:], "auth-pass m secret")
    assert counted(said, RAFT_CONFIG, IN_RAFT) == set(IN_RAFT)
    assert overruled(said, RAFT_CONFIG, IN_RAFT) == [
        "sentinel auth-pass m",
        "sentinel down-after-milliseconds m",
    ]


def test_one_file_changes_what_a_raft_member_has_alone():
    """Overrides are local, and masters that are not in the log are nobody else's."""
    said = (*RAFT_CONFIG[:-1], "local-override m quorum 2", "monitor n 10.0.1.1 1 1")
    expected = {*IN_RAFT[:-1], *said[-2:]}
    assert counted(said, RAFT_CONFIG, IN_RAFT) == expected
    assert overruled(said, RAFT_CONFIG, IN_RAFT) == []


def test_without_raft_peers_the_masters_are_ours_again():
    """Back in classic mode there is no log that could have another opinion."""
    said = (CONFIG[0], "down-after-milliseconds m 9")
    assert "down-after-milliseconds m 9" in counted(said, RAFT_CONFIG, IN_RAFT)
    assert overruled(said, RAFT_CONFIG, IN_RAFT) == []


# On disk -----------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a config file of these lines into an empty current directory; its name."""
    monkeypatch.chdir(tmp_path)

    def write(*lines):
        (tmp_path / "s.conf").write_text("\n".join(["port 7", "sentinel state-dir st", *lines]))
        return "s.conf"

    return write


@pytest.fixture
def start(write):
    """Read a config file of these lines, with what was kept before; config and state file."""

    def start(*lines):
        loaded = load(write(*lines))
        file = take_up(loaded)
        file.prepare()
        return loaded, file

    return start


def users(loaded):
    return [" ".join(each.words) for each in loaded.users]


def test_the_path_begins_where_dir_says(start, tmp_path):
    """In whatever order the two lines stand."""
    (tmp_path / "sub").mkdir()
    loaded, _ = start("dir sub")
    assert loaded.state_dir == str(tmp_path / "sub" / "st")


def test_users_and_loglevel_are_kept(start):
    """What ACL SETUSER and SENTINEL CONFIG SET have changed is there at the next start."""
    loaded, file = start("user a on nopass")
    loaded.settings.loglevel = "debug"
    file.rewrite([Line("sentinel myid", f"sentinel myid {ID}")], ["user b on nopass ~a &x"])
    loaded, _ = start("user a on nopass")
    assert (users(loaded), loaded.settings.loglevel) == (["user b on nopass ~a &x"], "debug")
    assert [each.words[1:] for each in loaded.statements] == [("myid", ID)]


def test_a_default_that_was_set_by_command_is_kept(start):
    """That it is the default does not mean that nobody has asked for it."""
    loaded, file = start("loglevel debug")
    loaded.settings.loglevel = "notice"
    file.rewrite([], [])
    loaded, _ = start("loglevel debug")
    assert loaded.settings.loglevel == "notice"


@pytest.mark.parametrize("line", ["user a on >new", "requirepass new"])
def test_a_change_of_the_accounts_in_the_config_file_counts_for_all_of_them(start, line):
    """A new password must not be undone by a `user default nopass` of the past."""
    _, file = start("loglevel warning")
    file.rewrite([], ["user default on nopass"])
    loaded, _ = start("loglevel verbose", line)
    assert users(loaded) == ([line] if line.startswith("user") else [])
    assert loaded.settings.loglevel == "verbose"


def test_a_state_file_is_nobody_elses_to_read(start, tmp_path):
    """Passwords stand in it."""
    _, file = start()
    file.rewrite([], [])
    assert (tmp_path / "st").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "st" / "sentinel-7.conf").stat().st_mode & 0o777 == 0o600


def test_any_word_comes_back_as_it_was(start):
    """Blanks, line ends and bytes that are no text, in lines of either file."""
    line = 'sentinel sentinel-pass "a\\nb \\xfe#"'
    _, file = start(line)
    file.rewrite([Line("sentinel sentinel-pass", line)], [])
    loaded, _ = start(line)
    assert [each.words for each in loaded.statements] == [tuple(split(line))]


@pytest.mark.parametrize("text", ['sentinel "x', '#: sentinel "x', "port", "user", "foo"])
def test_a_broken_state_file_is_named(start, tmp_path, text):
    """With the line and its number, as a broken config file is."""
    start()
    path = tmp_path / "st" / "sentinel-7.conf"
    path.write_text(f"# first\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        start()
    assert (caught.value.line_no, caught.value.path) == (2, str(path))


def test_a_line_of_the_config_file_is_checked_though_it_does_not_count(start):
    """It would stop a start without the state file, in the worst moment."""
    start()
    with pytest.raises(ConfigError, match="Duplicate master name"):
        start(*[f"sentinel {CONFIG[0]}"] * 2)


def test_a_state_dir_that_cannot_be_is_one_line(start, tmp_path):
    """A file stands in its place."""
    (tmp_path / "st").write_text("")
    with pytest.raises(StartError, match=r"state-dir .*/st is not writable: .*\. Exiting"):
        start()


def test_to_look_changes_nothing(write, tmp_path):
    """Others may look while the sentinel runs."""
    take_up(load(write()))
    assert os.listdir(tmp_path) == ["s.conf"]


def test_an_empty_path_is_refused(start):
    """It would be the working directory, by accident."""
    with pytest.raises(ConfigError, match="state-dir can't be empty"):
        start('sentinel state-dir ""')
