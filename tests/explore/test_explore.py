"""The explorer as part of the test suite: a look at each world, and proof that it can fail."""

import pytest

from . import trace
from .main import explore
from .mutants import MUTANTS
from .worlds import WORLDS

STATES = 2_500
"""A second for each world; the command line looks at as many as one likes."""

MUTANT_STATES = 60_000


@pytest.mark.parametrize("name", WORLDS)
def test_no_rule_is_broken(name):
    """What can happen in the first moments of a world breaks no rule."""
    result = explore(name, STATES)
    told = "\n".join(trace.lines(WORLDS[name], result.path)) if result.violation else ""
    assert not told, f"{told}\n{trace.command(WORLDS[name], result.path)}"


@pytest.mark.parametrize("name", ["well", "raft-well"])
def test_a_world_without_faults_is_seen_to_its_ends(name):
    """However the messages of a plain failover are ordered, all members agree in the end."""
    result = explore(name, 10 * STATES)
    assert result.is_complete
    assert result.ends > 1


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda it: it.name)
def test_mutants_are_found(mutant):
    """Each bug that was put in on purpose breaks the rule that is named with it."""
    with mutant.is_on():
        result = explore(mutant.world, MUTANT_STATES)
    assert result.violation is not None
    assert result.violation.checker in mutant.rules


def test_a_path_can_be_gone_again():
    """The words of a broken rule's path lead to the same rule, in a process of any kind."""
    (mutant,) = (it for it in MUTANTS if it.name == "the leader epoch is not restored")
    world = WORLDS[mutant.world]
    with mutant.is_on():
        path = explore(world.name, MUTANT_STATES).path
        *_, last = trace.lines(world, path)
    assert "BROKEN: one vote per epoch" in last
    assert trace.command(world, path).startswith(f"scripts/explore --world {world.name} --replay")


def test_a_path_that_cannot_be_gone_is_refused():
    """Words that mean nothing at their place are named, with those that would."""
    with pytest.raises(ValueError, match="crash/s1 cannot happen there, but time"):
        list(trace.lines(WORLDS["well"], ["crash/s1"]))
