"""Sentinels of one Raft cluster: how a test starts them and asks how they stand."""

from sentinel_py.local import eventually, raft_peers, wait_ready

from .group import ask, pairs


def start_members(box, count=3, lines=(), extra=(), program=None):
    ports = [box.port() for _ in range(count)]
    own = [*lines, raft_peers(ports), *extra]
    members = [box.sentinel(own, port=port, program=program) for port in ports]
    wait_ready(members)
    return members


def raft(server, *words):
    return ask(server, "SENTINEL", "RAFT", *words)


def status(server):
    return pairs(raft(server, "STATUS"))


def leader_of(servers):
    """Wait until these follow one leader among them; its server."""

    def agreed():
        views = [status(server) for server in servers]
        leaders = {view.get("leader") for view in views}
        leading = [
            server
            for server, view in zip(servers, views, strict=True)
            if view["role"] == "leader" and view["has_lease"] == "1"
        ]
        return leading[0] if len(leading) == 1 and len(leaders) == 1 else None

    return eventually(agreed, what="Raft leader")


def follower_of(servers):
    leader = leader_of(servers)
    return leader, next(server for server in servers if server is not leader)


def has_members(server, servers):
    addresses = sorted(pairs(row)["addr"] for row in raft(server, "MEMBERS"))
    return addresses == sorted(server.address for server in servers)


def config(server):
    return (server.folder / "sentinel.conf").read_text()
