"""Figures of recorded histories, each small enough to be worked out by hand."""

from tests.chaos.accounting import (
    Ack,
    Figures,
    History,
    View,
    acknowledging,
    after_heal_ms,
    disagreed_ms,
    figures,
    lost,
    medians,
    outage_ms,
    two_masters_ms,
)

OLD, NEW = "10.0.0.1", "10.0.0.3"


def history(acks=(), views=(), *, kept=None, heal_at=None, fault_at=1000, ended_at=5000):
    return History(
        acks=list(acks),
        views=list(views),
        fault_at=fault_at,
        heal_at=heal_at,
        ended_at=ended_at,
        majority=frozenset({3, 4, 5}),
        final_master=NEW,
        kept=kept or {},
    )


def stream(server, writer, begins_at, ends_at, every_ms=100):
    """Acknowledged writes at regular instants, both ends included."""
    instants = range(begins_at, ends_at + 1, every_ms)
    return [Ack(at, writer, at, server) for at in instants]


def test_outage_is_from_the_last_before_the_fault_to_the_first_after():
    """A wait that was over before the fault does not count."""
    acks = [*stream(OLD, 3, 0, 100), *stream(OLD, 3, 900, 900), *stream(NEW, 3, 2400, 5000)]
    assert outage_ms(history(acks)) == 1500


def test_outage_is_that_of_the_majority():
    """Who is cut off with the old master may go on there; that is no service."""
    acks = [*stream(OLD, 3, 800, 1000), *stream(OLD, 1, 800, 5000), *stream(NEW, 4, 3000, 5000)]
    assert outage_ms(history(acks)) == 2000


def test_outage_lasts_until_the_end_when_nothing_is_acknowledged_again():
    """No first write after the fault is the longest outage, not none."""
    assert outage_ms(history(stream(OLD, 3, 800, 1000))) == 4000


def test_outage_begins_with_the_fault_when_nothing_was_acknowledged_before():
    """As in a cold start."""
    assert outage_ms(history(stream(NEW, 3, 1700, 5000))) == 700


def test_lost_are_the_acknowledged_that_are_not_there():
    """Each writer counts for itself, and what was never acknowledged does not count."""
    acks = [Ack(1, 1, 1, OLD), Ack(2, 1, 2, OLD), Ack(3, 4, 1, NEW), Ack(4, 4, 2, NEW)]
    assert lost(history(acks, kept={1: {1}, 4: {1, 2, 3}})) == 1
    assert lost(history(acks)) == 4


def test_two_masters_while_both_acknowledge():
    """From the first write on the new one to the last on the old."""
    acks = [*stream(OLD, 1, 0, 3000), *stream(NEW, 4, 2000, 5000)]
    assert two_masters_ms(history(acks)) == 1000


def test_one_master_after_the_other_is_not_two():
    """Spans that follow each other do not overlap, whatever gap is inside one server's."""
    acks = [*stream(OLD, 1, 0, 1000), *stream(NEW, 4, 1100, 3000), *stream(OLD, 1, 3100, 4000)]
    assert two_masters_ms(history(acks)) == 0


def test_a_server_that_pauses_has_two_spans():
    """A pause longer than between two writes is not taken for acknowledging."""
    acks = [*stream(OLD, 1, 0, 200), *stream(OLD, 2, 900, 1000), *stream(NEW, 4, 500, 600)]
    assert acknowledging(acks, OLD) == [(0, 200), (900, 1000)]
    assert two_masters_ms(history(acks)) == 0


def test_after_the_heal_only_the_replaced_count():
    """The last write of a server that is not the master in the end."""
    acks = [*stream(OLD, 1, 0, 3200), *stream(NEW, 4, 2000, 5000)]
    assert after_heal_ms(history(acks, heal_at=3000)) == 200
    assert after_heal_ms(history(acks, heal_at=4000)) == 0
    assert after_heal_ms(history(acks)) == 0


def test_disagreement_is_between_two_that_answer():
    """A sentinel that does not answer names nobody."""
    views = [View(0, 1, OLD), View(0, 3, OLD), View(2000, 3, NEW), View(2600, 1, "")]
    assert disagreed_ms(history(views=[*views, View(4000, 3, NEW)])) == 600


def test_disagreement_before_the_fault_does_not_count():
    """It counts from the fault on, though it began before."""
    views = [View(0, 1, OLD), View(500, 3, NEW), View(1200, 1, NEW)]
    assert disagreed_ms(history(views=views)) == 200


def test_figures_of_a_round_are_taken_together():
    """Each figure is the one of its own function."""
    acks = [*stream(OLD, 3, 800, 1000), *stream(NEW, 3, 2000, 5000)]
    kept = {3: set(range(2000, 5001))}
    assert figures(history(acks, kept=kept, heal_at=900)) == Figures(1000, 34, 3, 0, 100, 0)


def test_medians_are_taken_figure_by_figure():
    """One bad round does not decide, and rounds need not be bad in the same way."""
    rows = [Figures(1, 100, 9, 0, 0, 0), Figures(2, 100, 1, 7, 0, 0), Figures(9, 100, 2, 1, 0, 0)]
    assert medians(rows) == Figures(2, 100, 2, 1, 0, 0)
    assert medians(rows).lost_share == 0.02
