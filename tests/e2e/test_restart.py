"""A sentinel that was killed comes back from its file with everything that matters."""

import re

from sentinel_py.local import HOST, eventually, wait_ready

from .group import FAILOVER_WITHIN_MS, NAME, ask, master_row, new_master, rows


def saved(sentinel, pattern):
    """What the configuration file says, as the groups of the first matching line."""
    text = (sentinel.folder / "sentinel.conf").read_text()
    match = re.search(rf"^{pattern}$", text, re.MULTILINE)
    assert match, text
    return match.groups()


def test_a_killed_sentinel_knows_everything_when_it_is_back(redis_cluster, sentinels):
    """Id, epochs, master, replicas and peers are there with its first answer."""
    redis_cluster.master.kill()
    new = new_master(sentinels, redis_cluster.master)
    sentinel = sentinels[0]
    before = remembered(sentinel)
    assert before["row"]["port"] == str(new)
    assert int(before["row"]["config-epoch"]) >= 1

    sentinel.kill()
    sentinel.start()
    wait_ready([sentinel])
    assert remembered(sentinel) == before


def remembered(sentinel):
    row = master_row(sentinel)
    kept = ("name", "ip", "port", "config-epoch", "num-slaves", "num-other-sentinels", "quorum")
    return {
        "id": ask(sentinel, "SENTINEL", "MYID"),
        "epoch": saved(sentinel, r"sentinel current-epoch (\d+)"),
        "row": {field: row[field] for field in kept},
        "replicas": {replica["name"] for replica in rows(sentinel, "REPLICAS")},
        "peers": {(peer["runid"], peer["port"]) for peer in rows(sentinel, "SENTINELS")},
    }


def test_a_vote_is_on_disk_before_anybody_hears_of_it(redis_cluster, sentinels, listen):
    """A sentinel that is killed right after its vote does not vote again in that epoch."""
    sentinel, *others = sentinels
    listener = listen(sentinel)
    redis_cluster.master.kill()
    voted_for, epoch = listener.wait("+vote-for-leader").split()
    sentinel.kill()
    assert int(saved(sentinel, rf"sentinel leader-epoch {NAME} (\d+)")[0]) >= int(epoch)
    assert int(saved(sentinel, r"sentinel current-epoch (\d+)")[0]) >= int(epoch)

    sentinel.start()
    wait_ready([sentinel])
    stranger = "f" * 40
    place = (HOST, redis_cluster.master.port)
    _, leader, leader_epoch = ask(
        sentinel, "SENTINEL", "IS-MASTER-DOWN-BY-ADDR", *place, epoch, stranger
    )
    assert leader in ("*", voted_for)
    assert int(leader_epoch) >= int(epoch) or leader == "*"
    new_master(sentinels, redis_cluster.master)
    eventually(lambda: master_row(sentinel)["flags"] == "master", FAILOVER_WITHIN_MS)
    # The others may not have reached it again yet.
    eventually(
        lambda: all(
            ask(one, "SENTINEL", "CKQUORUM", NAME).startswith("OK 3 usable") for one in others
        )
    )
