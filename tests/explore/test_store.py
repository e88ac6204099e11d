"""Cores are the same after they were frozen and thawed, and equal ones have one number."""

import pytest

from sentinel_py.core.messages import DirectHello, Wake
from tests.core.world import World

from .member import ENDPOINTS
from .store import Store


@pytest.fixture
def core():
    """A core that watches a group and its peers, and knows all of them."""
    world = World(seed=1)
    world.run(5_000)
    return world.sentinels[0].core


def test_a_thawed_core_does_what_the_first_one_does(core):
    """Its timers ring at the same times, and it answers to what it hears in the same way."""
    store = Store(ENDPOINTS)
    thawed = store.thaw(store.freeze(core))
    assert thawed.wake_at == core.wake_at
    for _ in range(50):
        now = core.wake_at
        # What is due in the same instant may come in another order.
        assert sorted(map(repr, thawed.step(now, Wake()))) == sorted(
            map(repr, core.step(now, Wake()))
        )
    hello = f"10.0.1.2,26379,{'2'.zfill(40)},7,group0,10.0.0.2,6379,7"
    assert thawed.step(now, DirectHello(hello)) == core.step(now, DirectHello(hello)) != []


def test_equal_states_have_one_number(core):
    """Whatever way they came about."""
    store = Store(ENDPOINTS)
    number = store.freeze(core)
    one, other = store.thaw(number), store.thaw(number)
    for it in (one, other):
        it.step(it.wake_at, Wake())
    after = store.freeze(one)
    assert after == store.freeze(other) != number
    assert len(store) == 2
