"""A Redis cluster, three sentinels that watch it, and ears for what they publish."""

import pytest

from sentinel_py.local import sentinel_program

from .group import Listener, settle, start_cluster, start_sentinels, watch


@pytest.fixture
def ours():
    """Our own program, for what no other one has."""
    return sentinel_program()


@pytest.fixture
def redis_cluster(request, sandbox):
    """One master and two replicas, or as many as the parameter says."""
    return start_cluster(sandbox, replicas=getattr(request, "param", 2))


@pytest.fixture
def sentinels(request, sandbox, redis_cluster, program):
    """Three settled sentinels on the cluster; the parameter may be another program."""
    started = start_sentinels(sandbox, watch(redis_cluster), getattr(request, "param", program))
    settle(started, redis_cluster)
    return started


@pytest.fixture
def listen():
    """Subscribe to everything that a sentinel publishes."""
    listeners = []

    def to(sentinel):
        listeners.append(Listener(sentinel))
        return listeners[-1]

    yield to
    for listener in listeners:
        listener.close()
