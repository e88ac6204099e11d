"""SENTINEL SET LOCAL with real members: visible, on disk, and nobody else's business."""

import pytest
from redis.exceptions import ResponseError

from sentinel_py.local import HOST, eventually, wait_ready

from .group import NAME, ask, master_row
from .members import config, leader_of, start_members

OVERRIDE = f"sentinel local-override {NAME} down-after-milliseconds 700"


def down_after(servers):
    return [int(master_row(server)["down-after-milliseconds"]) for server in servers]


def test_an_override_survives_restarts_and_shared_orders(sandbox):
    """One of three has its own value, keeps it when killed, and gives it up when told."""
    redis = sandbox.redis()
    members = start_members(sandbox)
    leader_of(members)
    own, *others = members
    assert ask(own, "SENTINEL", "MONITOR", NAME, HOST, redis.port, 2) == "OK"
    eventually(lambda: all(NAME in config(server) for server in members))

    assert set_option(own, "LOCAL", "down-after-milliseconds", 700) == "OK"
    assert OVERRIDE in config(own).splitlines()
    assert set_option(others[0], "down-after-milliseconds", 4000, "quorum", 3) == "OK"
    eventually(lambda: down_after(members) == [700, 4000, 4000])

    own.kill()
    leader_of(others)
    assert set_option(others[0], "down-after-milliseconds", 5000) == "OK"
    own.start()
    wait_ready([own])
    eventually(lambda: down_after(members) == [700, 5000, 5000])
    row = master_row(own)
    assert list(row.items())[-1] == ("local-overrides", "down-after-milliseconds")
    eventually(lambda: master_row(own)["quorum"] == "3")
    assert OVERRIDE in config(own).splitlines()
    assert not any("local-override" in config(server) for server in others)

    assert set_option(own, "LOCAL", "UNSET", "down-after-milliseconds") == "OK"
    # It answers before it has read what the others did while it was away.
    eventually(lambda: down_after(members) == [5000, 5000, 5000])
    assert "local-override" not in config(own)


def test_a_classic_sentinel_refuses_it(sandbox):
    """Where every SET is local, the word has no meaning that could be guessed."""
    redis = sandbox.redis()
    sentinel = sandbox.sentinel([f"sentinel monitor {NAME} {HOST} {redis.port} 2"])
    wait_ready([sentinel])
    with pytest.raises(ResponseError, match="use SET without LOCAL"):
        set_option(sentinel, "LOCAL", "quorum", 1)


def set_option(server, *words):
    return ask(server, "SENTINEL", "SET", NAME, *words)
