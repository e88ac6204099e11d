"""Redis behind a password: the sentinels log in, watch and fail over; nothing leaks."""

import pytest

from sentinel_py.local import eventually

from .group import (
    FAILOVER_WITHIN_MS,
    ask,
    follows,
    master_row,
    new_master,
    settle,
    start_cluster,
    start_sentinels,
    stock_client,
    watch,
)

PASSWORD = "open-sesame"
# What the Sentinel documentation asks for.
WATCHER = (
    f"on >{PASSWORD}-watcher allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite "
    "+role +publish +info +client|setname +client|kill +script|kill"
)

LOGINS = {
    "requirepass": ({}, {"auth_pass": PASSWORD}),
    "ACL user": (
        {"user": f"watcher {WATCHER}"},
        {"auth_user": "watcher", "auth_pass": f"{PASSWORD}-watcher"},
    ),
}


@pytest.mark.parametrize("login", LOGINS)
def test_a_failover_behind_a_password(sandbox, program, login):
    """Detection, promotion and reconfiguration all work on authenticated links."""
    of_redis, of_sentinel = LOGINS[login]
    options = {"requirepass": PASSWORD, "masterauth": PASSWORD, **of_redis}
    cluster = start_cluster(sandbox, options=options, password=PASSWORD)
    sentinels = start_sentinels(sandbox, watch(cluster, **of_sentinel), program)
    settle(sentinels, cluster)

    cluster.master.kill()
    new = cluster.at(new_master(sentinels, cluster.master))
    with stock_client(sentinels, password=PASSWORD) as writer:
        eventually(lambda: writer.set("key", "value"), FAILOVER_WITHIN_MS)
    for replica in cluster.replicas:
        if replica is not new:
            eventually(
                lambda replica=replica: follows(replica, new, password=PASSWORD),
                FAILOVER_WITHIN_MS,
            )
    assert ask(new, "GET", "key", password=PASSWORD) == "value"
    assert not any(PASSWORD in sentinel.log for sentinel in sentinels)


def test_a_wrong_password_is_a_broken_link(sandbox, program):
    """The sentinel cannot log in: it shows the master as down and goes on by itself."""
    cluster = start_cluster(
        sandbox, replicas=0, options={"requirepass": PASSWORD}, password=PASSWORD
    )
    lines = watch(cluster, quorum=1, auth_pass="wrong")
    (sentinel,) = start_sentinels(sandbox, lines, program, count=1)
    eventually(lambda: "s_down" in master_row(sentinel)["flags"], FAILOVER_WITHIN_MS)
    assert ask(sentinel, "PING")
