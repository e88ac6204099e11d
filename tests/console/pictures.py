"""Pictures of sentinels that do not exist."""

from sentinel_py.console.picture import Master, Member, Peer, Picture, Raft, Replica


def master(name="mymaster", state="ok", replicas=2, sentinels=2, **changes):
    fields = {
        "name": name,
        "address": "192.0.2.1:6379",
        "state": state,
        "phase": None,
        "quorum": 2,
        "epoch": 3,
        "silent_ms": 120,
        "replica_count": replicas,
        "sentinel_count": 1 + sentinels,
        "replicas": tuple(replica(number) for number in range(replicas)),
        "sentinels": tuple(peer(number) for number in range(sentinels)),
    }
    return Master(**{**fields, **changes})


def replica(number=0, state="ok", lag_bytes=0):
    return Replica(f"192.0.2.{10 + number}:6379", state, lag_bytes, "ok", 100, 90)


def peer(number=0, state="ok"):
    return Peer(f"192.0.2.{20 + number}:26379", f"{number}" * 40, state, 80)


def raft(has_majority=True):
    members = [
        Member(f"192.0.2.{20 + number}:26379", f"{number}" * 40, role, "up", lag)
        for number, (role, lag) in enumerate([("leader", None), ("follower", 0), ("follower", 4)])
    ]
    return Raft("leader", members[0].address, 7, has_majority, 42, tuple(members))


def picture(*masters, **changes):
    fields = {
        "sentinel": "192.0.2.20:26379",
        "id": "0" * 40,
        "program": "sentinel_py 1.0",
        "uptime_s": 7_200,
        "is_tilted": False,
        "masters": masters,
    }
    return Picture(**{**fields, **changes})
