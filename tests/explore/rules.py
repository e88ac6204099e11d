"""What must hold in every world, in words of its own: nothing of the product decides here.

Rules that compare moments keep what they have to remember in `Past`, which is part of the moment.
"""

from sentinel_py.core.ledger import Choice, Switch
from sentinel_py.core.messages import Ask
from tests.sim.violation import Violation

from . import raft
from .member import ENDPOINTS, MEMBERS, RUN_IDS, SERVERS, endpoint_of
from .moment import contact, reach
from .redis import ANSWERS, NOBODY


class Past:
    """What was said and done once, by a key that can have one value only."""

    def __init__(self, pairs):
        self._pairs = pairs
        self._facts = None

    def get(self, key):
        return dict(self._pairs).get(key) if self._facts is None else self._facts.get(key)

    def set(self, key, value):
        if self._facts is None:
            self._facts = dict(self._pairs)
        self._facts[key] = value

    def hold(self, rule, key, value):
        """Remember, or find a contradiction to what was there."""
        known = self.get(key)
        if known is None:
            self.set(key, value)
        elif known != value:
            raise Violation(rule, f"{' '.join(map(str, key))}: {known}, then {value}")

    def frozen(self):
        return self._pairs if self._facts is None else tuple(sorted(self._facts.items()))


def name(place):
    """A server or a member as traces call it."""
    return f"r{place + 1}" if place < SERVERS else f"s{place - SERVERS + 1}"


def _candidate(run_id):
    return f"s{RUN_IDS.index(run_id) + 1}"


# Votes -------------------------------------------------------------------------------------------


def check_vote(change, member, answer, _question):
    """One vote per member and epoch, whatever happens in between."""
    if answer.leader is not None:
        key = "vote", member, answer.epoch
        change.past.hold("one vote per epoch", key, _candidate(answer.leader))


def _check_candidacy(change, member, request):
    *_, epoch, candidate = request.args
    if candidate != "*":
        key = "vote", member, int(epoch)
        change.past.hold("one vote per epoch", key, _candidate(candidate))


def check_notice(change, member, notice, _text, epoch, forced):
    """One leader per epoch; an operator's order needs no votes where there is no log."""
    if notice == "+try-failover" and change.log is not None:
        _check_begin(change, member)
    if notice == "+try-failover" and forced and change.log is None:
        change.past.set(("forced", epoch), 1)
    if notice == "+elected-leader" and not change.past.get(("forced", epoch)):
        change.past.hold("one leader per epoch", ("elected", epoch), f"s{member + 1}")


def _check_begin(change, member):
    if not raft.leads(change.log.seen[member]):
        raise Violation("only the Raft leader begins a failover", name(SERVERS + member))


# What a member holds ------------------------------------------------------------------------------


def check_member(change, member, before):
    """One address per epoch, no epoch that falls, and what the log has made."""
    after = change.cores[member]
    if after == before:
        return
    facts = change.members.facts[after]
    known = change.past.get(("config epoch", member)) or 0
    if facts.config_epoch < known:
        text = f"s{member + 1} had {known}, has {facts.config_epoch}"
        raise Violation("the config epoch never falls", text)
    if facts.config_epoch > known:
        change.past.set(("config epoch", member), facts.config_epoch)
        if not change.past.get(("forced", facts.config_epoch)):
            key = "address", facts.config_epoch
            change.past.hold("one address per config epoch", key, name(facts.address))
    if change.log is not None:
        check_log(change, member)


def begin_life(change, member):
    """A member of a log may be behind after a restart, until it has read that again."""
    change.past.set(("config epoch", member), 0)


def check_log(change, member):
    """Who has applied the same entries has the same state of them."""
    facts = change.members.facts[change.cores[member]]
    log = change.log
    if facts.applied != log.applied[member]:
        return
    key = log.entries[: facts.applied]
    known, who = change.play.made.setdefault(key, (facts.made, f"s{member + 1}"))
    if known != facts.made:
        one, other = change.table[known].decode(), change.table[facts.made].decode()
        text = f"after {facts.applied} entries {who} had {one}, s{member + 1} has {other}"
        raise Violation("applying the log depends on the log alone", text)


# Orders ------------------------------------------------------------------------------------------


def check_orders(change, member, link, batch):
    """What a member may send to a server or a peer."""
    endpoint = endpoint_of(link)
    for request in batch:
        words = request.args
        if request.ask is Ask.DOWN:
            _check_candidacy(change, member, request)
        elif words[0] == "SLAVEOF" and words[1:] == ("NO", "ONE"):
            _check_promotion(change, member, endpoint)
        elif words[0] == "SLAVEOF":
            _check_demotion(change, member, endpoint, (words[1], int(words[2])))


def refuse_haste(change, member, link, batch):
    """Nobody asks the same again in the instant in which it was answered."""
    _, (request, *_) = change.table[batch]
    asked = " ".join(request.args)
    text = f"{name(SERVERS + member)} asks {name(endpoint_of(link))} again: {asked}"
    raise Violation("a member comes to rest", text)


def _check_demotion(change, member, endpoint, target):
    facts = change.members.facts[change.cores[member]]
    where = f"s{member + 1} tells {name(endpoint)} to follow {target[0]}:{target[1]}"
    if ENDPOINTS[endpoint] == target:
        raise Violation("nobody follows itself", where)
    if ENDPOINTS[facts.address] != target:
        raise Violation("orders lead to the master", f"{where}, its master is {facts.address}")


def _check_promotion(change, member, endpoint):
    facts = change.members.facts[change.cores[member]]
    epoch = facts.attempt
    if not epoch or change.past.get(("forced", epoch)):
        return
    change.past.hold("one promotion per epoch", ("promoted", epoch), name(endpoint))
    if change.log is not None:
        _check_choice(change, member, endpoint, epoch)
    if change.play.world.fences:
        _check_leases(change, member, facts.address)


def _check_leases(change, member, place):
    """Nobody promotes while another member's lease lets it leave the old master alone."""
    master = change.servers[place]
    if master.state != ANSWERS or master.paused_until > change.now:
        return
    for other in range(MEMBERS):
        facts = change.members.facts[change.cores[other]]
        is_apart = other != member and change.can_act(other)
        if is_apart and contact(change, other, change.members.facts) is None:
            reaches = reach(change, change.servers, other, place) == ANSWERS
            if reaches and change.now < facts.contact_ends_at:
                text = f"s{other + 1} leaves {name(place)} alone until {facts.contact_ends_at}"
                raise Violation("no promotion while another one's lease may stand", text)


def check_writes(change, place):
    """A server becomes a master: where members fence, no other one takes writes any more.

    Of a member that has contact that is only demanded where the world says so.
    """
    for at, server in enumerate(change.servers):
        is_master = at != place and server.state == ANSWERS and server.follows == NOBODY
        if not is_master or server.paused_until > change.now:
            continue
        for member in range(MEMBERS):
            reaches = reach(change, change.servers, member, at) == ANSWERS
            is_apart = contact(change, member, change.members.facts) is None
            is_bound = is_apart or change.play.world.has_one_writer
            if change.can_act(member) and reaches and is_bound:
                text = f"{name(place)} is promoted, s{member + 1} lets {name(at)} take writes"
                raise Violation("two masters take writes", text)


def _check_choice(change, member, endpoint, epoch):
    """What is promoted was logged, and asked first if another leader may have promoted it."""
    log = change.log
    entries = [change.table[it][1] for it in log.entries[: log.applied[member]]]
    since = max((n for n, it in enumerate(entries) if isinstance(it, Switch)), default=-1)
    choices = [it for it in entries[since + 1 :] if isinstance(it, Choice)]
    text = f"s{member + 1} promotes {name(endpoint)} in epoch {epoch}"
    if not any((it.ip, it.port) == ENDPOINTS[endpoint] for it in choices):
        raise Violation("only the logged choice is promoted", text)
    if choices[0].epoch < epoch and change.servers[endpoint].follows == NOBODY:
        raise Violation("an inherited choice is asked for its role", text)


# The end -----------------------------------------------------------------------------------------


def is_at_rest(moment, play):
    """Whether all live members have one master, which is one, and nothing to do."""
    servers = play.table[moment.servers]
    living = [play.members.facts[core] for core in moment.cores if core]
    places = {facts.address for facts in living}
    dead = sum(1 << at for at, server in enumerate(servers) if server.state != ANSWERS)
    dead |= sum(1 << SERVERS + member for member in range(MEMBERS) if not moment.cores[member])
    if len(places) != 1 or any(facts.is_busy or facts.lost != dead for facts in living):
        return False
    (place,) = places
    return servers[place].state == ANSWERS and all(
        server.follows == (NOBODY if at == place else place)
        for at, server in enumerate(servers)
        if server.state == ANSWERS
    )


def check_end(moment, play):
    """With a majority and a live replica, there is a master again, and all agree on it."""
    if is_at_rest(moment, play):
        return
    living = [member for member in range(MEMBERS) if moment.cores[member]]
    servers = play.table[moment.servers]
    if 2 * len(living) <= MEMBERS or all(it.state != ANSWERS for it in servers):
        return
    held = {f"s{it + 1}": name(play.members.facts[moment.cores[it]].address) for it in living}
    roles = {
        name(at): "master" if it.follows == NOBODY else f"follows {name(it.follows)}"
        for at, it in enumerate(servers)
        if it.state == ANSWERS
    }
    raise Violation("in the end all have a master", f"held {held}, servers {roles}")
