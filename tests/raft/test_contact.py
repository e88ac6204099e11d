"""Proof of contact between two members, message by message."""

from sentinel_py.raft.contact import Contact

F, M, L = "f" * 40, "b" * 40, "c" * 40


class Pair:
    """A follower and a leader with clocks of their own; messages wait until they are delivered.

    A third member can pass them on.
    """

    def __init__(self):
        self.clock = {F: 5_000, M: 70_000, L: 900_000}
        self.on_the_way = []
        self.commit_index = 7
        self.contact = {name: self.member(name) for name in self.clock}

    def member(self, name):
        def send(to, message):
            self.on_the_way.append((name, to, message))

        return Contact(name, send, lambda: self.clock[name])

    def lease(self, member, is_relayed):
        return self.commit_index if member == L else None

    def deliver(self):
        source, target, message = self.on_the_way.pop(0)
        assert self.contact[target].is_about(message)
        return self.contact[target].take(
            source, message, lambda is_relayed: self.lease(target, is_relayed), L
        )

    def pass_time(self, ms):
        for name in self.clock:
            self.clock[name] += ms


def test_what_counts_is_when_the_question_was_asked():
    """However long question and answer are on their way, and whatever the leader's clock shows."""
    pair = Pair()
    pair.contact[F].ask([L])
    pair.pass_time(3_000)
    assert not pair.deliver()
    pair.pass_time(4_000)
    assert pair.deliver()
    assert (pair.contact[F].at, pair.contact[F].commit_index) == (5_000, 7)
    assert pair.contact[L].heard_at == {F: 903_000}


def test_without_the_lease_there_is_no_answer():
    """And nothing to be waited for: whom the leader has told nothing knows nothing."""
    pair = Pair()
    pair.commit_index = None
    pair.contact[F].ask([L])
    pair.deliver()
    assert pair.on_the_way == []
    assert pair.contact[L].heard_at == {}


def test_an_answer_that_comes_late_takes_nothing_back():
    """Of two answers the later question holds."""
    pair = Pair()
    pair.contact[F].ask([L])
    pair.pass_time(100)
    pair.contact[F].ask([L])
    pair.deliver()
    pair.deliver()
    pair.on_the_way.reverse()
    pair.deliver()
    pair.deliver()
    assert pair.contact[F].at == 5_100


def test_nobody_is_believed_beyond_now():
    """An answer to a question that was never asked cannot reach into the future."""
    pair = Pair()
    pair.contact[F].ask([L])
    pair.clock[F] = 4_000
    pair.deliver()
    pair.deliver()
    assert pair.contact[F].at == 4_000


def test_the_leader_knows_by_itself_and_forgets_former_members():
    """Its lease is the proof; the table has no more rows than the cluster has members."""
    pair = Pair()
    pair.contact[F].ask([L])
    pair.deliver()
    pair.contact[L].hold([L, F])
    assert (pair.contact[L].at, list(pair.contact[L].heard_at)) == (900_000, [F])
    pair.contact[L].hold([L])
    assert pair.contact[L].heard_at == {}


def test_a_question_is_passed_on_to_the_leader():
    """Only the link between asker and leader is broken: the answer comes back the same way."""
    pair = Pair()
    pair.contact[F].ask([M])
    pair.pass_time(50)
    assert not pair.deliver()
    assert pair.deliver(), "the core has to know of it at once"
    assert (pair.contact[L].heard_at, pair.contact[L].relayed_at) == ({}, {F: 900_050})
    assert not pair.deliver()
    assert pair.deliver()
    assert (pair.contact[F].at, pair.contact[M].at) == (5_000, None)


def test_a_question_is_passed_on_once():
    """Whoever gets it second-hand and does not lead lets it drop."""
    pair = Pair()
    pair.commit_index = None
    pair.contact[F].ask([M])
    pair.deliver()
    assert [(source, target) for source, target, _ in pair.on_the_way] == [(M, L)]
    pair.deliver()
    assert pair.on_the_way == []


def test_the_leader_is_late():
    """After two questions without an answer the others are asked, too."""
    pair = Pair()
    assert pair.contact[F].is_late
    pair.contact[F].ask([L])
    pair.deliver()
    pair.deliver()
    assert not pair.contact[F].is_late
    pair.pass_time(200)
    assert pair.contact[F].is_late
