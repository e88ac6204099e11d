"""Sentinels that let only those in who can log in: clients, and each other."""

import shutil

import pytest
import redis

from sentinel_py.local import eventually, wait_ready

from .group import FAILOVER_WITHIN_MS, NAME, ask, client, pairs, start_cluster, watch

PASSWORD = "open-sesame"
PEER = {"username": "peer", "password": f"{PASSWORD}-peer"}
ADMIN = {"username": "admin", "password": f"{PASSWORD}-admin"}
# What the Sentinel documentation asks for.
RULES = "+auth +client|getname +client|id +client|setname +command +hello +ping +role"
RULES += " +sentinel|get-master-addr-by-name +sentinel|master +sentinel|myid +sentinel|replicas"
RULES += " +sentinel|sentinels +sentinel|is-master-down-by-addr +publish"
ORIGINAL = ["redis-sentinel"]


@pytest.fixture(params=["ours", "mixed"])
def closed(request, sandbox, program):
    """Three sentinels, one of them the original if mixed, behind one password."""
    if request.param == "mixed" and not shutil.which(*ORIGINAL):
        pytest.skip("no redis-sentinel on PATH")
    cluster = start_cluster(sandbox, replicas=1)
    lines = [*watch(cluster), f"requirepass {PASSWORD}"]
    programs = [program, program, ORIGINAL if request.param == "mixed" else program]
    sentinels = [sandbox.sentinel(lines, program=each) for each in programs]
    wait_ready(sentinels)
    return sentinels


def test_sentinels_log_in_to_each_other(closed):
    """By their common password, then by a user of their own, and not at all in between."""
    for sentinel in closed:
        with pytest.raises(redis.AuthenticationError):
            ask(sentinel, "PING")
        usable(sentinel, 3, password=PASSWORD)

    for sentinel in closed:
        with client(sentinel, password=PASSWORD) as operator:
            add_user(operator, ADMIN, "allcommands")
            add_user(operator, PEER, *RULES.split())
            operator.execute_command("ACL", "SETUSER", "default", "off")
        # Who is in stays in with the links; only a new login shows that the password is gone.
        command = ("CLIENT", "KILL", "USER", "default")
        assert ask(sentinel, *command, **ADMIN) >= 1
    for sentinel in closed:
        with pytest.raises(redis.AuthenticationError):
            ask(sentinel, "PING", password=PASSWORD)
        usable(sentinel, 1, **ADMIN)

    for sentinel in closed:
        set_config(sentinel, "sentinel-user", PEER["username"])
        set_config(sentinel, "sentinel-pass", PEER["password"])
    for sentinel in closed:
        usable(sentinel, 3, **ADMIN)
    assert not any(PASSWORD in sentinel.log for sentinel in closed)


def add_user(operator, login, *rules):
    password = f">{login['password']}"
    operator.execute_command("ACL", "SETUSER", login["username"], "on", password, "&*", *rules)


def set_config(sentinel, option, value):
    assert ask(sentinel, "SENTINEL", "CONFIG", "SET", option, value, **ADMIN) == "OK"


def usable(sentinel, count, **login):
    """Wait until CKQUORUM says that so many sentinels could vote."""
    eventually(
        lambda: f" {count} usable Sentinels" in quorum(sentinel, **login),
        FAILOVER_WITHIN_MS,
        f"{count} usable sentinels for {sentinel}",
    )


def quorum(sentinel, **login):
    try:
        return ask(sentinel, "SENTINEL", "CKQUORUM", NAME, **login)
    except redis.ResponseError as error:
        if not str(error).startswith("NOQUORUM "):
            raise
        return str(error)


def test_a_peer_with_another_password_is_found_but_of_no_use(sandbox, program):
    """It is known by its hello; as nobody can ask it, it does not count."""
    cluster = start_cluster(sandbox, replicas=0)
    logins = [{"password": f"{PASSWORD}-{n}"} for n in range(2)]
    sentinels = [
        sandbox.sentinel([*watch(cluster), f"requirepass {login['password']}"], program=program)
        for login in logins
    ]
    wait_ready(sentinels)
    for sentinel, login in zip(sentinels, logins, strict=True):
        eventually(lambda s=sentinel, o=login: is_down(s, o), FAILOVER_WITHIN_MS)
        usable(sentinel, 1, **login)


def is_down(sentinel, login):
    flags = [pairs(row)["flags"] for row in ask(sentinel, "SENTINEL", "SENTINELS", NAME, **login)]
    return len(flags) == 1 and "s_down" in flags[0]
