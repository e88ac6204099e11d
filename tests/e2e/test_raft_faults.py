"""A Raft cluster under a stream of orders while its members are killed and stopped.

Whatever happens: an order that was acknowledged is on all members, once; one that was refused is on
none.
"""

import resource
import threading
import time
from contextlib import contextmanager
from random import Random

import pytest
import redis

from sentinel_py.local import HOST, eventually, wait_ready

from .group import (
    NAME,
    PATIENCE,
    ask,
    master_port,
    master_row,
    new_master,
    pairs,
    settle,
    start_cluster,
    watch,
)
from .members import config, follower_of, leader_of, start_members, status

WRITERS = 2
# An order is answered within two seconds, and one more for a busy machine.
ANSWERED_WITHIN_S = 3
# Each is watched by each member, at an address where nobody answers.
WATCHED_MAX = 4
UNCHANGED_MS = 30_000  # the default of down-after-milliseconds


class Record:
    """What was answered to orders, and what follows from it.

    ``expected`` has down-after-milliseconds by name, None for what nobody may watch. A name whose
    last order is in doubt is ``doubtful`` from then on.
    """

    def __init__(self):
        self.acknowledged = 0
        self.expected, self.doubtful, self.odd = {}, set(), []

    def give(self, member, words, name, value):
        """Give an order after which the name has that value."""
        try:
            answer = order(member, *words)
        except redis.ResponseError as error:
            answer = str(error)
        except (redis.RedisError, OSError):
            answer = ""
        if answer == "OK":
            self.acknowledged += 1
            self.expected[name] = value
        elif answer.startswith("NOQUORUM ") and "nothing was changed" in answer:
            self.expected.setdefault(name, None)
        else:
            self.expected.pop(name, None)
            self.doubtful.add(name)
            if answer and not answer.startswith("NOQUORUM "):
                self.odd.append((words, answer))


class Writer(Record):
    """Gives orders to random members until it is ended."""

    def __init__(self, members, number, address):
        super().__init__()
        self._members, self._address, self._number = members, address, number
        self._rng = Random(number)
        self._orders = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def end(self):
        self._is_over.set()
        self._thread.join()

    def _work(self):
        while not self._is_over.wait(0.005):
            self._orders += 1
            self.give(self._rng.choice(self._members), *self._next())

    def _next(self):
        """The words of an order, the name in it, and what is true when it was carried out."""
        watched = [name for name, value in self.expected.items() if value is not None]
        if not watched or (len(watched) < WATCHED_MAX and self._rng.random() < 0.5):
            name = f"w{self._number}-{self._orders}"
            return ("MONITOR", name, *self._address, 1), name, UNCHANGED_MS
        name = self._rng.choice(watched)
        if self._rng.random() < 0.3:
            return ("REMOVE", name), name, None
        value = UNCHANGED_MS + self._orders
        return ("SET", name, "down-after-milliseconds", value), name, value


def order(member, *words):
    patience = {**PATIENCE, "socket_timeout": ANSWERED_WITHIN_S}
    with redis.Redis(HOST, member.port, decode_responses=True, **patience) as connected:
        return connected.execute_command("SENTINEL", *words)


class Orders:
    """All writers of a test."""

    def __init__(self, members, address):
        self._members, self._address = members, address
        self._by_hand = Record()
        self._writers = [Writer(members, number, address) for number in range(WRITERS)]

    def end(self):
        for writer in self._writers:
            writer.end()

    @property
    def acknowledged(self):
        return sum(writer.acknowledged for writer in self._writers)

    def monitor(self, member, name):
        """Have this member give an order, whatever becomes of it."""
        self._by_hand.give(member, ("MONITOR", name, *self._address, 1), name, UNCHANGED_MS)

    def go_on(self):
        """Wait until the cluster takes orders again."""
        begin = self.acknowledged
        eventually(lambda: self.acknowledged > begin + 10, what="orders that are carried out")

    def check(self):
        """All that is certain is so, everywhere; what is in doubt is the same everywhere."""
        records = [self._by_hand, *self._writers]
        assert [record.odd for record in records if record.odd] == []
        expected = {name: it for record in records for name, it in record.expected.items()}
        doubtful = set().union(*(record.doubtful for record in records))
        watched = {name: value for name, value in expected.items() if value is not None}
        leader = leader_of(self._members)
        for member in self._members:
            what = f"agreement of {member} with {leader}"
            eventually(lambda member=member: view(member) == view(leader), what=what)
            seen = view(member)
            assert {name: it for name, it in seen.items() if name not in doubtful} == watched
            eventually(lambda member=member: in_file(member) == sorted(view(member)))


def view(member):
    """What a member watches: down-after-milliseconds by name."""
    rows = [pairs(row) for row in ask(member, "SENTINEL", "MASTERS")]
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    return {row["name"]: int(row["down-after-milliseconds"]) for row in rows}


def in_file(member):
    """The names of the masters in its file, as often as they stand there."""
    lines = [line.split() for line in config(member).splitlines()]
    return sorted(words[2] for words in lines if words[:2] == ["sentinel", "monitor"])


@contextmanager
def orders_for(members, address):
    orders = Orders(members, address)
    try:
        yield orders
    finally:
        orders.end()


def most_of(members):
    """A majority with the leader in it, and the rest."""
    leader = leader_of(members)
    others = [member for member in members if member is not leader]
    half = len(members) // 2
    return [leader, *others[:half]], others[half:]


def refuses_orders(member, name):
    """Without a majority each order is refused, soon, and nothing is changed."""
    eventually(lambda: status(member)["has_majority"] == "0", what=f"{member} without a majority")
    began_at = time.monotonic()
    with pytest.raises(redis.ResponseError, match=r"NOQUORUM .* nothing was changed"):
        order(member, "MONITOR", name, HOST, 1, 1)
    assert time.monotonic() < began_at + ANSWERED_WITHIN_S
    assert name not in view(member)


def killed(members):
    for member in members:
        member.kill()
    yield
    for member in members:
        member.start()
    wait_ready(members)


def stopped(members):
    for member in members:
        member.pause()
    yield
    for member in members:
        member.resume()


HARM = {"kill": contextmanager(killed), "stop": contextmanager(stopped)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [3, 5])
def test_acknowledged_orders_survive_the_loss_of_many(sandbox, count):
    """The leader, the majority and all are killed and stopped; orders go on when they can."""
    members = start_members(sandbox, count)
    leader_of(members)
    with orders_for(members, (HOST, sandbox.port())) as orders:
        for number, harm in enumerate(HARM.values()):
            orders.go_on()
            with harm([leader_of(members)]):
                orders.go_on()
            majority, rest = most_of(members)
            with harm(majority):
                # It may not know yet, and then it must not be sure of anything.
                orders.monitor(rest[0], f"early-{number}")
                for member in rest:
                    refuses_orders(member, f"refused-{number}")
            orders.go_on()
            with harm(members):
                pass
        orders.go_on()
    orders.check()


@pytest.mark.parametrize("which", ["leader", "follower"])
def test_a_journal_that_cannot_be_written_for_a_while(sandbox, which):
    """The member takes no part, which it says, and goes on by itself when the disk is well."""
    cluster = start_cluster(sandbox, replicas=1)
    members = start_members(sandbox, 3, watch(cluster))
    settle(members, cluster)
    leader, follower = follower_of(members)
    member = leader if which == "leader" else follower
    others = [each for each in members if each is not member]
    _, hard = resource.prlimit(member.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(member.pid, resource.RLIMIT_FSIZE, (1, hard))
    ask_until(others[0], "SENTINEL", "SET", NAME, "parallel-syncs", "2")
    eventually(lambda: status(member)["role"] == "halted")
    with pytest.raises(redis.ResponseError, match="its Raft journal cannot be written"):
        ask(member, "SENTINEL", "CKQUORUM", NAME)
    cluster.master.kill()
    assert new_master(others, cluster.master) == cluster.replicas[0].port
    resource.prlimit(member.pid, resource.RLIMIT_FSIZE, (hard, hard))
    eventually(lambda: status(member)["role"] == "follower", 30_000)
    eventually(lambda: master_port(member) == cluster.replicas[0].port)
    assert master_row(member)["parallel-syncs"] == "2"
    assert "can be written again" in member.log


def ask_until(server, *command):
    """Give an order until there is a leader who takes it."""
    eventually(lambda: ask(server, *command) == "OK", what=" ".join(command))
