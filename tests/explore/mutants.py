"""Bugs put into the product on purpose, each of which a named rule has to find in a named world.

They are switched on as those of the simulator are. The rule guarded: a rule that finds no mutant
proves nothing.
"""

from dataclasses import dataclass

from sentinel_py.config import directives
from sentinel_py.core import choice, consensus, election, failover, hello, info, requests
from sentinel_py.core.ledger import Claim, Switch
from sentinel_py.core.model import Master
from sentinel_py.core.turn import Turn
from tests.sim import mutants as sim
from tests.sim import mutants_raft as sim_raft


@dataclass(frozen=True)
class Mutant:
    """A bug, what switches it on, and the world and rule that find it."""

    name: str
    rule: str
    world: str
    is_on: object


def _mutant(name, rule, world, *replacements):
    return Mutant(name, rule, world, lambda: sim._replaced(*replacements))


def _saved_last(_old):
    def save_by(turn, effect):
        turn.effects.append(effect)

    return save_by


def _follows_itself(old):
    def follow(turn, node, address):
        old(turn, node, node.address if address else None)

    return follow


def _switches_if_down(old):
    """The switch hangs on what a member has seen itself."""

    def apply(turn, entry, ticket):
        if turn.state.masters[entry.master].is_down:
            old(turn, entry, ticket)

    return apply


MUTANTS = (
    _mutant(
        "a vote is not saved",
        "one vote per epoch",
        "dies-crash-restart",
        (election, "cast_vote", sim._unsaved),
    ),
    _mutant(
        "a vote is told before it is saved",
        "one vote per epoch",
        "dies-crash-restart",
        (Turn, "_save_by", _saved_last),
    ),
    _mutant(
        "the leader epoch is not restored",
        "one vote per epoch",
        "dies-crash-restart",
        (directives, "_RULES", lambda _old: sim._forgets("leader-epoch", 2)),
    ),
    _mutant(
        "the config epoch is not restored",
        "the config epoch never falls",
        "dies-crash-restart",
        (directives, "_RULES", lambda _old: sim._forgets("config-epoch", 2)),
    ),
    _mutant(
        "a vote is given to everybody who asks",
        "one vote per epoch",
        "dies-late",
        (election, "cast_vote", sim._votes_again),
    ),
    _mutant(
        "the majority is off by one",
        "one leader per epoch",
        "dies-late",
        (Master, "majority", lambda _old: property(lambda master: master.voters // 2)),
    ),
    _mutant(
        "a switch of others is not taken over",
        "in the end all have a master",
        "dies",
        (hello, "_adopt_config", sim._nothing),
    ),
    _mutant(
        "former masters are not demoted",
        "in the end all have a master",
        "revive",
        (failover, "demote_at_once", sim._nothing),
        (info, "_convert", sim._nothing),
    ),
    _mutant(
        "other replicas are not pointed to the new master",
        "in the end all have a master",
        "dies",
        (failover, "_tell", sim._nothing),
        (info, "_fix_master", sim._nothing),
    ),
    _mutant(
        "a replica is told to follow itself",
        "nobody follows itself",
        "dies",
        (requests, "follow", _follows_itself),
    ),
    _mutant(
        "a replica that is down is promoted",
        "in the end all have a master",
        "replica-dies",
        (choice, "is_healthy", sim._with("is_down", lambda _turn: False)),
    ),
    _mutant(
        "an entry is applied again",
        "applying the log depends on the log alone",
        "raft-crash-restart",
        (consensus, "committed", sim_raft._is_applied_again),
    ),
    _mutant(
        "the choice is not logged",
        "only the logged choice is promoted",
        "raft",
        (consensus, "propose_choice", sim_raft._is_promoted_at_once),
    ),
    _mutant(
        "a new leader chooses anew",
        "only the logged choice is promoted",
        "raft-crash",
        (consensus, "_APPLY", sim_raft._applying(Claim, sim_raft._claim_forgets_choice)),
    ),
    _mutant(
        "a chosen replica is promoted again without asking",
        "an inherited choice is asked for its role",
        "raft-crash",
        (failover, "resume", sim_raft._is_not_asked),
    ),
    _mutant(
        "a claim that is read again begins a failover",
        "one promotion per epoch",
        "raft-crash-restart",
        (consensus, "_APPLY", sim_raft._applying(Claim, sim_raft._claim_without_lead)),
    ),
    _mutant(
        "a switch hangs on what a member has seen",
        "applying the log depends on the log alone",
        "raft",
        (consensus, "_APPLY", sim_raft._applying(Switch, _switches_if_down)),
    ),
)
