"""The verdict over conditions, and what stock replies tell of them."""

import pytest

from sentinel_py.console.explain import Condition, fault_of, verdict

MASTER = {"flags": "s_down,master", "down-after-milliseconds": "1000", "s-down-time": "500"}
FIT = {
    "flags": "slave",
    "slave-priority": "100",
    "info-refresh": "10",
    "master-link-down-time": "0",
}


def conditions(down, quorum, turn, failover):
    met = {"down": down, "quorum": quorum, "turn": turn, "failover": failover}
    return [Condition(name, "", is_met, f"About {name}.") for name, is_met in met.items()]


@pytest.mark.parametrize(
    ("met", "text"),
    [
        ((False, False, True, False), "is not failed over. About down."),
        ((True, False, True, False), "is not failed over. About quorum."),
        ((True, True, None, False), "is about to be failed over, as far as is known."),
        ((True, True, True, True), "is being failed over. About failover."),
        ((False, False, True, True), "is being failed over. About failover."),
    ],
)
def test_the_first_condition_that_is_not_met_is_the_answer(met, text):
    """What is not told counts as met, and a failover under way above all."""
    assert verdict(conditions(*met)) == text


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"flags": "s_down,slave"}, "is down"),
        ({"flags": "slave,disconnected"}, "is not connected"),
        ({"slave-priority": "0"}, "has priority 0"),
        ({"info-refresh": "5001"}, "told its INFO 5001 ms ago"),
        ({"master-link-down-time": "10500"}, ""),
        ({"master-link-down-time": "10501"}, "was without its master for 10501 ms"),
    ],
)
def test_why_a_replica_is_not_fit(change, fault):
    """By the fields that every sentinel shows."""
    assert fault_of(MASTER, {**FIT, **change}) == fault
