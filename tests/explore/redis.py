"""Redis servers as values: what INFO says of them, and what orders make of them.

They are told apart by their place, 0 to 2; each function takes all of them and returns all of them.
A replica that can reach its master has its data at once: what sentinels see of a resync that takes
time is the business of the simulator.
"""

from hashlib import sha1
from typing import NamedTuple

PORT = 6379
NOBODY = -1
REFUSES, ANSWERS, IS_SILENT = range(3)

_NO_ID = "0" * 40
_KEYS = 10
_OFFSET = 1_000


class Server(NamedTuple):
    """One server. ``follows`` is a place; ``saved_follows`` is what its config file says."""

    state: int  # whether it answers
    follows: int
    saved_follows: int
    life: int  # how often it was started
    replid: str
    replid2: str
    parted: int
    offset: int
    keys: int
    paused_until: int
    lost_at: int  # since when it is without its master; 0 if it is not


def host(place):
    return f"10.0.0.{place + 1}"


def begin(count):
    """The first one with the others behind it, all well."""
    replid = f"{'r0':x<40}"
    return tuple(
        Server(
            ANSWERS,
            follows=0 if place else NOBODY,
            saved_follows=0 if place else NOBODY,
            life=0,
            replid=replid,
            replid2=_NO_ID,
            parted=-1,
            offset=_OFFSET,
            keys=_KEYS,
            paused_until=0,
            lost_at=0,
        )
        for place in range(count)
    )


def is_linked(servers, place):
    """Whether a replica has its master, and that one its own, up to one that is no replica."""
    for _ in servers:
        master = servers[place].follows
        if master == NOBODY:
            return True
        if servers[master].state != ANSWERS:
            return False
        place = master
    return False  # they follow one another


def info(servers, place, now):
    """What INFO says, of all that sentinels look at."""
    server = servers[place]
    lines = [
        f"run_id:{f'run{place}{server.life}':x<40}",
        "loading:0",
        f"role:{'master' if server.follows == NOBODY else 'slave'}",
    ]
    if server.follows != NOBODY:
        is_up = is_linked(servers, place)
        lines += [
            f"master_host:{host(server.follows)}",
            f"master_port:{PORT}",
            f"master_link_status:{'up' if is_up else 'down'}",
            "master_sync_in_progress:0",
            f"slave_repl_offset:{server.offset}",
            "slave_priority:100",
            "replica_announced:1",
        ]
        if not is_up:
            lines.append(f"master_link_down_since_seconds:{(now - server.lost_at) // 1000}")
    followers = [
        at
        for at, other in enumerate(servers)
        if other.follows == place and other.state == ANSWERS and is_linked(servers, at)
    ]
    lines += [
        *(f"slave{n}:ip={host(at)},port={PORT},state=online" for n, at in enumerate(followers)),
        f"master_replid:{server.replid}",
        f"master_replid2:{server.replid2}",
        f"master_repl_offset:{server.offset}",
        f"second_repl_offset:{server.parted}",
        "# Keyspace",
    ]
    if server.keys:
        lines.append(f"db0:keys={server.keys},expires=0,avg_ttl=0")
    return "\r\n".join(lines).encode()


def _with(servers, place, **changes):
    return (*servers[:place], servers[place]._replace(**changes), *servers[place + 1 :])


def follow(servers, place, master, now):
    """SLAVEOF and CONFIG REWRITE; ``master`` NOBODY makes a master of it, with a new history."""
    server = servers[place]
    servers = _with(servers, place, saved_follows=master)
    if master == server.follows:
        return servers
    if master == NOBODY:
        servers = _with(
            servers,
            place,
            replid2=server.replid,
            parted=server.offset + 1,
            replid=_new_history(server, place),
            lost_at=0,
        )
    return _settled(_with(servers, place, follows=master), now)


def _new_history(server, place):
    """A fresh replication id: one that no server has had."""
    return sha1(f"{server.replid} {place} {server.life}".encode()).hexdigest()


def die(servers, place, state, now):
    return _settled(_with(servers, place, state=state), now)


def start(servers, place, now):
    """It comes up with its data and what its config file says; a master begins a new history."""
    server = servers[place]
    changes = {"state": ANSWERS, "life": server.life + 1, "follows": server.saved_follows}
    changes["paused_until"] = 0
    if server.saved_follows == NOBODY:
        born = server._replace(life=server.life + 1)
        changes |= {"replid2": server.replid, "parted": server.offset + 1}
        changes["replid"] = _new_history(born, place)
    return _settled(_with(servers, place, **changes), now)


def pause(servers, place, until):
    return _with(servers, place, paused_until=until)


def _settled(servers, now):
    """Have replicas take their masters' data, and those that have lost theirs count from now."""
    for _ in servers:
        for place, server in enumerate(servers):
            if server.follows == NOBODY or server.state != ANSWERS:
                continue
            if not is_linked(servers, place):
                if not server.lost_at:
                    servers = _with(servers, place, lost_at=now)
                continue
            servers = _with(servers, place, lost_at=0, **_synced(server, servers[server.follows]))
    return servers


def _synced(replica, master):
    """What PSYNC leaves: the master's history, and the own one beside it if it was continued."""
    if replica.replid == master.replid:
        return {"offset": master.offset, "keys": master.keys}
    is_continued = replica.replid == master.replid2 and replica.offset < master.parted
    return {
        "replid": master.replid,
        "replid2": replica.replid if is_continued else _NO_ID,
        "parted": replica.offset + 1 if is_continued else -1,
        "offset": master.offset,
        "keys": master.keys,
    }
