"""Whose answer counts."""

from sentinel_py.discovery.belief import Belief, View
from sentinel_py.discovery.place import Place

ONE, TWO, THREE = (Place("sentinel", port) for port in (1, 2, 3))
OLD, NEW, THIRD = (Place("redis", port) for port in (1, 2, 3))


def believing(*views, count=3):
    belief = Belief(count)
    for sentinel, epoch, master in views:
        belief.say(sentinel, View(epoch, master))
    return belief


def test_nobody_says_anything():
    """Then nothing is known."""
    assert Belief(3).master() is None


def test_the_newest_counts_and_not_the_most():
    """A switch reaches one sentinel first."""
    assert believing((ONE, 4, OLD), (TWO, 4, OLD), (THREE, 5, NEW)).master() == NEW


def test_the_most_count_in_the_same_epoch():
    """As when one was set up with another address."""
    assert believing((ONE, 0, OLD), (TWO, 0, NEW), (THREE, 0, NEW)).master() == NEW


def test_a_told_switch_counts_at_once():
    """Before the sentinel has answered with its new epoch, and before the others know."""
    belief = believing((ONE, 4, OLD), (TWO, 4, OLD), (THREE, 4, OLD))
    belief.say_switch(TWO, NEW)
    assert belief.master() == NEW
    belief.say(ONE, View(4, OLD))
    assert belief.master() == NEW


def test_a_sentinel_that_is_behind_tells_of_a_switch_that_is_over():
    """It went from the first to the second, where the others have the third."""
    belief = believing((ONE, 6, THIRD), (TWO, 6, THIRD), (THREE, 4, OLD))
    belief.say_switch(THREE, NEW)
    assert belief.master() == THIRD


def test_a_switch_that_was_answered_before_it_was_told():
    """The notice comes behind the answer and raises nothing."""
    belief = believing((ONE, 5, NEW))
    belief.say_switch(ONE, NEW)
    belief.say(ONE, View(5, NEW))
    assert belief.master() == NEW


def test_whoever_is_left_behind_leads_nowhere():
    """Not back to the old master, although nobody else answers any more."""
    belief = believing((ONE, 4, OLD), (TWO, 4, OLD), (THREE, 5, NEW))
    belief.forget(THREE)
    assert belief.master() is None
    belief.say(TWO, View(6, THIRD))
    assert belief.master() == THIRD


def test_sentinels_that_were_set_up_anew_begin_again():
    """All that there are have a lower epoch."""
    belief = believing((ONE, 7, OLD), (TWO, 7, OLD), (THREE, 7, OLD))
    for sentinel in (ONE, TWO):
        belief.say(sentinel, View(0, NEW))
    assert belief.master() == OLD
    belief.say(THREE, View(0, NEW))
    assert belief.master() == NEW
