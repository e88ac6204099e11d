"""Leave to fail over: when it is asked for, what a veto does, and that nothing else waits."""

import pytest

from sentinel_py.core.leave import ANSWER_WITHIN_MS, LEAVE_LIFE_MS
from sentinel_py.core.messages import AskConsent, Consent

from .stage import Stage

MASTER = "mymaster"
TIMEOUT_MS = 4000


class AskingStage(Stage):
    """A stage that notes when the program is asked."""

    def __init__(self):
        super().__init__()
        self.state.asks_leave = True
        self.asked = []

    def carry_out(self, effects):
        self.asked += [self.now for effect in effects if effect == AskConsent(MASTER)]
        super().carry_out([it for it in effects if not isinstance(it, AskConsent)])

    def names(self, line):
        """The names of the notices that a line of a script leads to."""
        return [said.split()[1] for said in self.play(line)]

    def decide(self, is_given):
        self.step(Consent(MASTER, is_given))


@pytest.fixture
def stage():
    """A dead master whose only sentinel asks before it fails over."""
    made = AskingStage()
    made.play("cast peers=0")
    made.play(f"ready quorum=1 failover-timeout-ms={TIMEOUT_MS}")
    made.play("kill M")
    return made


def test_a_question_that_got_lost_is_asked_again(stage):
    """Nobody waits for ever for an answer that is not coming."""
    stage.play(f"advance {ANSWER_WITHIN_MS + 5_000}")
    assert len(stage.asked) == 2
    stage.decide(True)
    assert "+try-failover" in stage.names("advance 10")


def test_nothing_starts_before_it_is_allowed(stage):
    """It is asked once, however long the answer takes, and the rest goes on meanwhile."""
    seen = stage.names("advance 10000")
    assert "+odown" in seen
    assert "+try-failover" not in seen
    assert len(stage.asked) == 1


def test_what_is_allowed_starts_at_once(stage):
    """The answer itself starts it, with no period in between."""
    stage.play("advance 3000")
    stage.decide(True)
    assert "+switch-master" in stage.names("advance 100")
    assert len(stage.asked) == 1


def test_a_veto_holds_for_failover_timeout(stage):
    """It is told as a notice; then the program is asked again."""
    stage.play("advance 3000")
    stage.decide(False)
    vetoed_at = stage.now
    assert stage.names(f"advance {TIMEOUT_MS - 1}").count("-failover-vetoed") == 1
    assert len(stage.asked) == 1
    stage.play("advance 2000")
    assert len(stage.asked) == 2
    assert stage.asked[1] == pytest.approx(vetoed_at + TIMEOUT_MS, abs=1000)
    stage.decide(True)
    assert "+switch-master" in stage.names("advance 100")


def test_old_leave_is_no_leave(stage):
    """What was allowed for one death is not allowed for the next."""
    stage.play("advance 3000")
    stage.play("revive M")
    stage.play("advance 2000")
    stage.decide(True)
    assert "+try-failover" not in stage.names(f"advance {LEAVE_LIFE_MS + 4000}")
    stage.play("kill M")
    assert "+try-failover" not in stage.names("advance 4000")
    assert len(stage.asked) == 2


def test_an_order_is_not_asked_about(stage):
    """An operator who orders a failover has decided."""
    stage.play("revive M")
    stage.play("advance 3000")
    assert "+switch-master" in stage.names("order FAILOVER mymaster") + stage.names("advance 1000")
    assert stage.asked == []


def test_an_answer_that_nobody_asked_for_changes_nothing(stage):
    """It may come late: the master is another one, or gone."""
    stage.decide(True)
    stage.step(Consent("nobody", True))
    assert "+try-failover" not in stage.names("advance 3000")
