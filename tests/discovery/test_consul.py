"""What Consul is told of the master, and what happens when it does not listen."""

import asyncio

import pytest

from sentinel_py.discovery import consul
from sentinel_py.discovery.consul import Agent, Consul
from sentinel_py.discovery.place import Place
from sentinel_py.discovery.steering import Steering, TargetError
from sentinel_py.local import as_async, eventually_async

from .consul_like import ConsulLike

ONE, TWO = Place("redis-1", 6379), Place("redis-2", 6379)


@pytest.fixture
def agent():
    """A Consul agent."""
    with ConsulLike().serving() as serving:
        yield serving


@pytest.fixture
def target(agent):
    """A service there, with a check that runs out after a second."""
    return Consul(Agent(agent.url, "secret"), "cache", 1, ("writable",))


async def test_the_service_is_the_master(agent, target):
    """During a switch its check fails; at the end it is gone."""
    assert "registered as cache" in await target.lead({"mymaster": ONE})
    assert agent.passing() == ["redis-1:6379"]
    ((_, entry, token),) = agent.requests
    assert (entry["Name"], entry["Tags"], token) == ("cache", ["writable"], "secret")
    assert entry["Check"]["DeregisterCriticalServiceAfter"] == "60s"
    assert await target.lead({"mymaster": ONE}) == ""
    assert "cache is critical" in await target.lead({"mymaster": None})
    assert not agent.passing()
    assert await target.lead({"mymaster": None}) == ""
    await target.lead({"mymaster": TWO})
    assert agent.passing() == ["redis-2:6379"]
    await target.end()
    assert not agent.services
    assert agent.statuses() == ["passing", "critical", "passing"]


async def test_a_check_that_nobody_renews_runs_out(agent, target):
    """As when we were killed."""
    await target.lead({"mymaster": ONE})
    await eventually_async(as_async(lambda: not agent.passing()))
    await target.lead({"mymaster": ONE})
    assert agent.passing() == ["redis-1:6379"]


async def test_an_agent_that_has_forgotten_the_service_is_told_again(agent, target):
    """It was started anew."""
    await target.lead({"mymaster": ONE})
    agent.services.clear()
    with pytest.raises(TargetError, match="answers 404: Unknown check ID"):
        await target.lead({"mymaster": ONE})
    await target.lead({"mymaster": ONE})
    assert agent.passing() == ["redis-1:6379"]


async def test_an_agent_that_hangs_or_is_gone_is_an_error(agent, target, monkeypatch):
    """Within a bound; and the end does not wait for it longer than that."""
    monkeypatch.setattr(consul, "ANSWER_WITHIN_S", 0.1)
    agent.hangs = True
    with pytest.raises(TargetError, match="timed out"):
        await target.lead({"mymaster": ONE})
    await target.end()
    with pytest.raises(TargetError, match="refused"):
        await Consul(Agent("http://127.0.0.1:1", None), "cache", 1).lead({"mymaster": ONE})


@pytest.mark.parametrize("url", ["ftp://x", "http://", "unix:///x", "http://x:y"])
def test_what_is_no_address_of_an_agent_is_refused(url):
    """Before anything is started."""
    with pytest.raises(ValueError, match=r".+"):
        Agent(url, None)


async def test_steering_repeats_what_has_failed(agent, target):
    """The error is told once and counted; the newest master is what is led to at last."""
    said, complaints = [], []
    steering = Steering(target, said.append, complaints.append)
    running = asyncio.get_running_loop().create_task(steering.run())
    agent.status = 500
    steering.take("mymaster", ONE)
    await eventually_async(as_async(lambda: steering.failures > 1))
    steering.take("mymaster", TWO)
    agent.status = 200
    await eventually_async(agent_names(agent, "redis-2:6379"))
    running.cancel()
    await asyncio.wait([running])
    assert len(complaints) == 1
    assert "1 failures" in complaints[0]
    assert len(said) == 1
    assert not agent.services, "the target was not ended"


def agent_names(agent, address):
    return as_async(lambda: agent.passing() == [address])
