"""Servers as values do what Redis does, where sentinels look."""

from . import redis
from .redis import NOBODY

NOW = 5_000


def fields(servers, place):
    lines = redis.info(servers, place, NOW).decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def test_a_promotion_begins_a_history_that_grew_out_of_the_old_one():
    """The others have it, and both ids, once they follow."""
    servers = redis.follow(redis.begin(3), 1, NOBODY, NOW)
    old, new = fields(servers, 0), fields(servers, 1)
    assert new["role"] == "master"
    assert new["master_replid2"] == old["master_replid"] != new["master_replid"]
    assert new["second_repl_offset"] == "1001"
    servers = redis.follow(servers, 2, 1, NOW)
    replica = fields(servers, 2)
    assert replica["master_replid"] == new["master_replid"]
    assert replica["master_replid2"] == old["master_replid"]
    assert fields(servers, 1)["slave0"] == "ip=10.0.0.3,port=6379,state=online"


def test_a_dead_master_leaves_its_replicas_without_a_link():
    """They count from its death, and know nothing of it once it is back."""
    servers = redis.die(redis.begin(3), 0, redis.REFUSES, NOW - 2_000)
    assert fields(servers, 1)["master_link_status"] == "down"
    assert fields(servers, 1)["master_link_down_since_seconds"] == "2"
    servers = redis.start(servers, 0, NOW)
    assert fields(servers, 1)["master_link_status"] == "up"


def test_servers_that_follow_one_another_have_no_master():
    """Neither is linked, and nobody takes anybody's data."""
    servers = redis.follow(redis.begin(3), 0, 1, NOW)
    assert [fields(servers, it)["master_link_status"] for it in (0, 1, 2)] == ["down"] * 3


def test_a_replica_comes_back_as_its_config_file_says():
    """And a master that comes back has begun a new history."""
    servers = redis.follow(redis.begin(3), 2, 1, NOW)
    for place in (0, 2):
        servers = redis.start(redis.die(servers, place, redis.REFUSES, NOW), place, NOW)
    assert servers[2].follows == 1
    assert servers[0].follows == NOBODY
    assert servers[0].replid2 == redis.begin(3)[0].replid
