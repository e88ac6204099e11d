"""Bugs put into the product on purpose, each of which a named rule has to find in a named world.

They are switched on as those of the simulator are. The rule guarded: a rule that finds no mutant
proves nothing.
"""

from dataclasses import dataclass, replace

from sentinel_py.config import directives
from sentinel_py.core import (
    consensus,
    detector,
    election,
    failover,
    fencing,
    hello,
    info,
    members,
    requests,
)
from sentinel_py.core.ledger import Claim, Switch
from sentinel_py.core.messages import Save
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.core.turn import Turn
from tests.sim import mutants as sim
from tests.sim import mutants_raft as sim_raft


@dataclass(frozen=True)
class Mutant:
    """A bug, what switches it on, the world that finds it, and the rules that it may break."""

    name: str
    rules: tuple
    world: str
    is_on: object


def _mutant(name, rule, world, *replacements):
    rules = (rule,) if isinstance(rule, str) else rule
    return Mutant(name, rules, world, lambda: sim._replaced(*replacements))


def _saves_last(old):
    def step(core, now, event):
        effects = old(core, now, event)
        return sorted(effects, key=lambda effect: isinstance(effect, Save))

    return step


def _follows_itself(old):
    """Each order to follow somebody names the server that it goes to."""

    def send(turn, link, *requests):
        address = link.owners[0].address
        for at, request in enumerate(requests):
            if request.args[0] == "SLAVEOF" and request.args[1] != "NO":
                words = ("SLAVEOF", address.host, str(address.port))
                requests = (*requests[:at], replace(request, args=words), *requests[at + 1 :])
        old(turn, link, *requests)

    return send


def _switches_if_down(old):
    """The switch hangs on what a member has seen itself."""

    def apply(turn, entry, ticket):
        if turn.state.masters[entry.master].is_down:
            old(turn, entry, ticket)

    return apply


def _misses_one(old):
    """An entry of this kind is lost between the log and the third member's core."""

    def apply(turn, entry, ticket):
        if not turn.state.myid.endswith("3"):
            old(turn, entry, ticket)

    return apply


def _asks_again(_old):
    """INFO may come with a ping, and then again as soon as it is answered."""

    def info_due(turn, node):
        due_at = detector._next_info_at(turn, node)
        if turn.now >= detector._with_ping(turn, node, due_at):
            requests.ask_info(turn, node)
        return due_at

    return info_due


def _ends_later(old):
    return lambda turn, raft, master: old(turn, raft, master) + fencing.lease_ms(master)


MUTANTS = (
    _mutant(
        "INFO is asked for again as soon as it is answered",
        "a member comes to rest",
        "late",
        (detector, "_info_due", _asks_again),
    ),
    _mutant(
        "a vote is not saved",
        ("one vote per epoch", "one promotion per epoch"),
        "return",
        (election, "raise_epoch", sim._unsaved),
        (election, "give_vote", sim._unsaved),
    ),
    _mutant(
        "what is told is saved afterwards",
        "the config epoch never falls",
        "return",
        (Sentinel, "step", _saves_last),
    ),
    _mutant(
        "the leader epoch is not restored",
        "one vote per epoch",
        "return",
        (directives, "_RULES", lambda _old: sim._forgets("leader-epoch", 2)),
    ),
    _mutant(
        "the config epoch is not restored",
        "the config epoch never falls",
        "return",
        (directives, "_RULES", lambda _old: sim._forgets("config-epoch", 2)),
    ),
    _mutant(
        "a vote is given to everybody who asks",
        "one vote per epoch",
        "votes",
        (election, "cast_vote", sim._votes_again),
    ),
    _mutant(
        "the majority is off by one",
        "one leader per epoch",
        "votes",
        (members, "majority", lambda _old: lambda *whose: members.voters(*whose) // 2),
    ),
    _mutant(
        "a switch of others is not taken over",
        "in the end all have a master",
        "well",
        (hello, "_adopt_config", sim._nothing),
    ),
    _mutant(
        "former masters are not demoted",
        "in the end all have a master",
        "former",
        (failover, "demote_at_once", sim._nothing),
        (info, "_convert", sim._nothing),
    ),
    _mutant(
        "other replicas are not pointed to the new master",
        "in the end all have a master",
        "well",
        (failover, "_tell", sim._nothing),
        (info, "_fix_master", sim._nothing),
    ),
    _mutant(
        "a replica is told to follow itself",
        "nobody follows itself",
        "well",
        (Turn, "send", _follows_itself),
    ),
    _mutant(
        "a member misses an entry",
        "applying the log depends on the log alone",
        "raft-well",
        (consensus, "_APPLY", sim_raft._applying(Claim, _misses_one)),
    ),
    _mutant(
        "the choice is not logged",
        "only the logged choice is promoted",
        "raft-well",
        (consensus, "propose_choice", sim_raft._is_promoted_at_once),
    ),
    _mutant(
        "a new leader chooses anew",
        "an inherited choice is asked for its role",
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
        "only the Raft leader begins a failover",
        "raft-return",
        (consensus, "_APPLY", sim_raft._applying(Claim, sim_raft._claim_without_lead)),
    ),
    _mutant(
        "a promotion does not wait for those that may not have fenced",
        ("no promotion while another one's lease may stand", "two masters take writes"),
        "raft-fence-late",
        (fencing, "clear_at", lambda _old: lambda turn, _master: turn.now),
    ),
    _mutant(
        "an isolated member leaves the master alone",
        "two masters take writes",
        "raft-fence",
        (fencing, "_hold", sim_raft._never),
    ),
    _mutant(
        "a lease lasts longer than it is waited for",
        "two masters take writes",
        "raft-fence-late",
        (fencing, "_contact_ends_at", _ends_later),
    ),
    _mutant(
        "a switch hangs on what a member has seen",
        "applying the log depends on the log alone",
        "raft-well",
        (consensus, "_APPLY", sim_raft._applying(Switch, _switches_if_down)),
    ),
)
