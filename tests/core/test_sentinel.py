"""``Sentinel`` itself: when it wants to be woken, and that it does not spin."""

from collections import Counter

import pytest

from sentinel_py.core.detector import HEARTBEAT_MS
from sentinel_py.core.messages import (
    Ask,
    ChannelMessage,
    LinkDown,
    LinkUp,
    Reply,
    Request,
    Send,
    Wake,
)

from .stage import CLOCK_START, Stage


def stage_of(*script):
    stage = Stage()
    for line in script:
        stage.play(line)
    return stage


def counts_in(stage, duration_ms):
    """How often the core is woken in that time, and how often it sends each command."""
    counts = Counter()
    step = stage.core.step

    def counted(now, event):
        effects = step(now, event)
        counts[type(event)] += 1
        sends = [effect for effect in effects if isinstance(effect, Send)]
        counts.update(request.args[0] for send in sends for request in send.requests)
        return effects

    stage.core.step = counted
    stage.play(f"advance {duration_ms}")
    return counts


def test_nothing_watched():
    """Without masters the core is content with its heartbeat."""
    stage = stage_of("start")
    assert stage.core.wake_at == CLOCK_START + HEARTBEAT_MS


def test_wake_at_is_in_the_future():
    """After each step the next wake-up is later than now and within a heartbeat."""
    stage = stage_of("cast", "ready")
    for _ in range(200):
        stage.play("advance 7")
        assert stage.now < stage.core.wake_at - CLOCK_START <= stage.now + HEARTBEAT_MS


@pytest.mark.parametrize(
    "trouble",
    [
        ["advance 1"],
        ["kill M S1 R1"],
        ["silence M S1 R1"],
        ["cut M S1 R1"],
        ["stall 5000", "cut M S1 R1"],
        ["cut M S1 R1", "advance 300", "stall 5000"],
        ["kill M", "now S1 sees=down", "now R1 obeys=0", "now R2 obeys=0"],
        ["kill M", "now S1 sees=down votes=S2", "now S2 votes=S1"],
        ["kill M", "now S1 sees=down votes=nobody@99", "cut S2"],
        ["now M says=-BUSY"],
        ["now R1 follows=R2", "now R2 follows=R1"],
        ["redis X 10.0.0.9", "now R1 follows=X obeys=0", "advance 20000"],
        ["now M obeys=0", "order FAILOVER mymaster", "advance 9000"],
    ],
    ids=" / ".join,
)
def test_does_not_spin(trouble):
    """Whatever is wrong, a second sees a few dozen wake-ups, few commands and fewer orders."""
    stage = stage_of("cast replicas=2 peers=2", "ready down-after-ms=1000", *trouble)
    counts = counts_in(stage, 20_000)
    assert counts[Wake] <= 20 * 40
    assert counts["INFO"] <= 20 * 3 * 10
    assert counts["SENTINEL"] <= 20 * 2 * 15
    assert counts["SLAVEOF"] <= 6


def test_wake_ups_are_shared():
    """A healthy group of six instances is served by few wake-ups: due times are on a grid."""
    stage = stage_of("cast replicas=2 peers=3", "ready down-after-ms=30000")
    assert counts_in(stage, 10_000)[Wake] <= 60


def test_inputs_of_links_that_are_gone():
    """What still comes for a link of a removed master is dropped."""
    stage = stage_of("cast", "ready", "advance 1")
    links = sorted(stage.state.links)
    stage.play("order REMOVE mymaster")
    for link in links:
        for event in (
            LinkUp(link, "10.0.1.100"),
            LinkDown(link, "closed"),
            Reply(link, Request(("INFO",), Ask.INFO), b"role:master"),
            ChannelMessage(link, "x"),
        ):
            assert stage.core.step(CLOCK_START + stage.now, event) == []
