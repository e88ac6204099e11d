"""SET LOCAL: options of one member only, beside those that the Raft log shares."""

import pytest

from sentinel_py.core import snapshot, views
from sentinel_py.core.messages import (
    Close,
    Installed,
    Monitor,
    Notice,
    RaftView,
    Refused,
    Reset,
    Save,
    SetLocal,
    SetOptions,
)

from .test_consensus import IDS, MASTER, Members

EXECUTABLE = "/bin/executable"


class Overriding(Members):
    """A led cluster that watches one master; member 1 is the one with options of its own."""

    def __init__(self):
        super().__init__()
        self.effects = []
        self.lead(0)
        self.order(1, Monitor(1, "m", MASTER, "1", "2"))

    def take(self, member, effects):
        if member == 1:
            self.effects = effects
        super().take(member, effects)

    def set_local(self, *words):
        """The refusal's text, or None."""
        answer = self.order(1, SetLocal(5, "m", words))
        return answer.text if isinstance(answer, Refused) else answer

    def set_shared(self, *words):
        return self.order(2, SetOptions(6, "m", words))

    def quorums(self):
        return [self.master(member).options.quorum for member in range(3)]

    def shared_alike(self):
        return len({snapshot.dump(core.state) for core in self.cores}) == 1

    def row(self, member=1):
        state = self.cores[member].state
        return dict(views.master_row(state, self.master(member), self.now))

    def all(self, kind):
        return [effect for effect in self.effects if isinstance(effect, kind)]


@pytest.fixture
def members():
    """A cluster as orders find it."""
    return Overriding()


def test_an_override_stays_here(members):
    """One member has it, saved at once and announced; what all share is the same on all."""
    assert members.set_local("quorum", "1", "down-after-milliseconds", "500") is None
    assert isinstance(members.effects[0], Save)
    assert members.notices[1][-2:] == [
        f"+set-local master m {MASTER} 1 quorum 1",
        f"+set-local master m {MASTER} 1 down-after-milliseconds 500",
    ]
    assert members.quorums() == [2, 1, 2]
    assert members.shared_alike()
    assert len(members.log) == 2  # the lead of its leader, and the order to watch


def test_it_is_seen_in_the_row(members):
    """The last field names the overridden options; a row without any is as it always was."""
    assert "local-overrides" not in members.row()
    members.set_local("quorum", "1", "Down-After-Milliseconds", "500")
    assert list(members.row().items())[-1] == (
        "local-overrides",
        "quorum,down-after-milliseconds",
    )
    assert members.row()["quorum"] == "1"
    assert "local-overrides" not in members.row(0)


def test_it_outlives_what_the_log_says(members):
    """A committed SET changes the shared value behind the override, which stays until lifted."""
    members.set_local("quorum", "1")
    assert members.set_shared("quorum", "3", "parallel-syncs", "2") is None
    assert members.quorums() == [3, 1, 3]
    assert members.master(1).options.parallel_syncs == 2
    assert members.set_local("UNSET", "QUORUM") is None
    assert members.notices[1][-1] == f"-set-local master m {MASTER} 1 QUORUM"
    assert members.quorums() == [3, 3, 3]
    assert "local-overrides" not in members.row()


def test_it_outlives_a_snapshot_and_a_reset(members):
    """A member that has fallen behind gets the shared values, and keeps its own."""
    members.set_local("quorum", "1")
    members.cut_off = {1}
    members.set_shared("quorum", "3", "failover-timeout", "7")
    members.step(1, Installed(50, snapshot.dump(members.cores[0].state)))
    assert members.shared_alike()
    assert members.quorums() == [3, 1, 3]
    assert members.master(1).options.failover_timeout_ms == 7
    members.cut_off.clear()
    members.order(0, Reset(8, "*"))
    assert members.quorums() == [3, 1, 3]


def test_it_needs_no_majority(members):
    """What concerns nobody else waits for nobody else."""
    members.cut_off = {1}
    members.step(1, RaftView(IDS, None, False, False, 2))
    assert members.set_local("quorum", "1") is None
    assert members.master(1).options.quorum == 1


def test_both_names_of_an_option_are_one(members):
    """An option that was overridden by its other name is lifted by either."""
    members.set_local("primary-reboot-down-after-period", "5")
    assert members.row()["local-overrides"] == "master-reboot-down-after-period"
    members.set_local("unset", "master-reboot-down-after-period")
    assert not members.master(1).overrides


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("down-after-milliseconds", "0"), "Invalid argument '0' for SENTINEL SET 'down-after-mi"),
        (("quorum",), "Unknown option or number of arguments for SENTINEL SET 'quorum'"),
        (("qorum", "1"), "Unknown option or number of arguments for SENTINEL SET 'qorum'"),
        (("rename-command", "PING", "P"), "Option 'rename-command' must be the same on all"),
        (("unset",), "Unknown option or number of arguments for SENTINEL SET 'LOCAL UNSET'"),
        (("unset", "x"), "Unknown option or number of arguments for SENTINEL SET 'x'"),
    ],
)
def test_a_wrong_word_changes_nothing(members, words, error):
    """Unlike the options of a plain SET, those of a local one apply together or not at all."""
    before = ("parallel-syncs", "2") if words[0] != "unset" else ()
    assert members.set_local(*before, *words).startswith(error)
    assert not members.master(1).overrides
    assert members.all(Save) == members.all(Notice) == []


def test_unknown_masters(members):
    """An override belongs to a master that is watched, and goes with it."""
    answer = members.order(1, SetLocal(5, "x", ("quorum", "1")))
    assert answer.text == "No such master with that name"


def test_a_login_of_its_own(members):
    """A password is not shown, logs in anew, and is not disturbed by the shared one."""
    members.meet_replica(1)
    assert members.set_local("auth-pass", "secret", "auth-user", "") is None
    assert members.notices[1][-2:] == [
        f"+set-local master m {MASTER} 1 auth-pass ******",
        f"+set-local master m {MASTER} 1 auth-user ",
    ]
    assert members.all(Close)
    members.set_shared("auth-pass", "other")
    assert not members.all(Close)
    assert members.master(1).options.auth_pass == "secret"


@pytest.mark.parametrize("option", ["notification-script", "client-reconfig-script"])
def test_scripts(members, option):
    """Paths are denied as those of SET are; once allowed, one member runs a script of its own."""
    core = members.cores[1]
    core._is_executable = EXECUTABLE.__eq__
    assert members.set_local(option, EXECUTABLE).startswith("Reconfiguration of scripts path is")
    core.state.settings.deny_scripts_reconfig = False
    assert "seems non existing" in members.set_local(option, "/nowhere")
    assert members.set_local(option, EXECUTABLE) is None
    assert [members.row(member).get(option) for member in range(3)] == [None, EXECUTABLE, None]


@pytest.mark.parametrize("mode", ["classic", "replicate-config no"])
def test_where_nothing_is_shared(members, mode):
    """LOCAL means nothing there; a plain SET is local, and ends an override from before."""
    members.set_local("quorum", "1")
    if mode == "classic":
        members.cores[1].state.raft = None
    else:
        members.cores[1].state.settings.replicate_config = False
    assert members.set_local("quorum", "4") == (
        "No options are shared with other Sentinels, use SET without LOCAL"
    )
    assert members.order(1, SetOptions(6, "m", ("quorum", "5"))) is None
    assert members.master(1).options.quorum == 5
    assert "local-overrides" not in members.row()
