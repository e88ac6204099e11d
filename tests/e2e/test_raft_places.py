"""Where Raft members are and who may speak to them: TLS and logins, names that move, lost disks."""

import shutil
import subprocess

import pytest
import redis

from sentinel_py.local import HOST, eventually, sentinel_program

from .certificates import make_pair
from .group import ask, pairs
from .members import (
    config,
    follower_of,
    has_members,
    leader_of,
    raft,
    start_members,
    status,
)
from .test_peer_login import RULES
from .test_tls import as_client

PASSWORD = "open-sesame"
PEER = {"username": "peer", "password": f"{PASSWORD}-peer"}
SECRET = "members-only"
PEER_RULES = f"{RULES} +subscribe +sentinel|raft &*"


def start_encrypted_members(box, pair):
    """Members on ports that speak TLS to known certificates, and take a user for peers alone."""
    ports = [box.port() for _ in range(3)]
    common = [
        f"requirepass {PASSWORD}",
        f"user {PEER['username']} on >{PEER['password']} {PEER_RULES}",
        f"sentinel sentinel-user {PEER['username']}",
        f"sentinel sentinel-pass {PEER['password']}",
        f"sentinel raft-secret {SECRET}",
        "sentinel raft-peers " + " ".join(f"{HOST}:{port}" for port in ports),
        "tls-replication yes",
        *(f"{name} {value}" for name, value in pair.directives().items()),
    ]
    return [box.sentinel(["port 0", f"tls-port {port}", *common], port=port) for port in ports]


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")
def test_members_behind_tls_passwords_and_a_secret(sandbox, tmp_path):
    """Streams come in as any peer does; after a restart of all, too; nothing secret is logged."""
    pair = make_pair(tmp_path, "ours")
    login = {**as_client(None, pair), "password": PASSWORD}
    members = start_encrypted_members(sandbox, pair)

    def leader():
        views = [pairs(ask(it, "SENTINEL", "RAFT", "STATUS", **login)) for it in members]
        leading = [it for it, view in zip(members, views, strict=True) if view["role"] == "leader"]
        has_one = len({view.get("leader") for view in views}) == 1
        return leading[0] if len(leading) == 1 and has_one else None

    def watch(name):
        follower = next(it for it in members if it is not eventually(leader))
        assert ask(follower, "SENTINEL", "MONITOR", name, HOST, sandbox.port(), 2, **login) == "OK"

    def logins_of_streams(member):
        rows = ask(member, "CLIENT", "LIST", **login).splitlines()
        return [row.partition(" user=")[2].split()[0] for row in rows if "sentinel|raft" in row]

    def watched(member):
        return [pairs(row)["name"] for row in ask(member, "SENTINEL", "MASTERS", **login)]

    watch("first")
    for member in members:
        member.kill()
    for member in members:
        member.start()
    watch("second")
    for member in members:
        eventually(lambda member=member: watched(member) == ["first", "second"])
        # The secret stands in the place of a login.
        eventually(lambda member=member: logins_of_streams(member) == ["default"] * 2)
        with pytest.raises(redis.ConnectionError):
            ask(member, "PING")
        assert not any(word in member.log for word in (PASSWORD, SECRET, "Traceback"))


class Names:
    """A file of host names, which the processes that are started with it take for /etc/hosts."""

    def __init__(self, path):
        self._path = path
        self._addresses = {}

    @property
    def program(self):
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(self._path)]

    def move(self, name, address):
        self._addresses[name] = address
        lines = [f"{address} {name}\n" for name, address in self._addresses.items()]
        self._path.write_text("".join(lines))  # in place: a new file would not be seen


@pytest.fixture
def names(tmp_path):
    names = Names(tmp_path / "hosts")
    names.move("nobody", HOST)
    if subprocess.run([*names.program, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    return names


class Named:
    """Members that know each other by name alone; each also listens where the test asks it."""

    def __init__(self, box, names):
        self._names = names
        self._last_number = 0
        ports = {f"member-{number}.test": box.port() for number in range(3)}
        peers = " ".join(f"{name}:{port}" for name, port in ports.items())
        self.members = []
        for name, port in ports.items():
            secret = f"sentinel raft-secret {SECRET}"
            lines = [f"sentinel raft-peers {peers}", secret, self._new_place(name)]
            program = [*names.program, *sentinel_program()]
            self.members.append(box.sentinel(lines, port=port, program=program))

    def _new_place(self, name):
        self._last_number += 1
        address = f"127.0.1.{self._last_number}"
        self._names.move(name, address)
        return f"bind {HOST} {address}"

    def move(self, members):
        """End these, and start them where their names lead to another address."""
        for member in members:
            member.kill()
        for member in members:
            name = f"member-{self.members.index(member)}.test"
            rewrite(member, "bind ", add=[self._new_place(name)])
            member.start()
        leader_of(self.members)


def test_members_that_move_are_found_by_their_names(sandbox, names):
    """One comes back at another address, then all do; nothing but the names is told to anybody."""
    named = Named(sandbox, names)
    members = named.members
    for number, moving in enumerate(([], members[:1], members)):
        named.move(moving)
        leader = leader_of(members)
        name = f"m{number}"
        assert ask(leader, "SENTINEL", "MONITOR", name, HOST, sandbox.port(), 2) == "OK"
        for member in members:
            eventually(lambda member=member, name=name: f"monitor {name} " in config(member))
    assert "127.0.1." not in str([raft(member, "MEMBERS") for member in members])


def rewrite(member, *dropped, add=()):
    """Change its file while it is down: lines that begin so are left out, others come to it."""
    lines = [it for it in config(member).splitlines() if not it.startswith(dropped)]
    (member.folder / "sentinel.conf").write_text("\n".join([*lines, *add, ""]))


def raft_folder(member):
    return member.folder / f"raft-{member.port}"


def test_a_member_that_moves_to_another_port_is_known_there(sandbox):
    """Its Raft directory goes with it; raft-self says where it is, and all files learn it."""
    members = start_members(sandbox)
    _, moving = follower_of(members)
    moving.kill()
    kept = raft_folder(moving)
    moving.port = sandbox.port()
    kept.rename(raft_folder(moving))
    rewrite(moving, "port ", add=[f"port {moving.port}", f"sentinel raft-self {moving.address}"])
    moving.start()
    leader = leader_of(members)
    for member in members:
        eventually(lambda member=member: has_members(member, members))
        eventually(lambda member=member: moving.address in config(member))
    assert raft(leader, "TRANSFER", moving.address) == "OK"
    assert leader_of(members) is moving


def lose_disk(member, *, file_too=False):
    """End it and empty its directory; of its file, what an operator would write again."""
    member.kill()
    shutil.rmtree(raft_folder(member))
    if file_too:
        kept = ("port ", "bind ", "dir ", "sentinel raft-peers ")
        lines = [it for it in config(member).splitlines() if it.startswith(kept)]
        (member.folder / "sentinel.conf").write_text("\n".join([*lines, ""]))


def waiting(member):
    return status(member)["waiting_for"]


def test_a_lost_disk_is_replaced(sandbox):
    """Whoever has forgotten its votes is somebody else, and has none until it is added."""
    members = start_members(sandbox)
    leader, lost = follower_of(members)
    rest = [member for member in members if member is not lost]
    third = next(member for member in rest if member is not leader)
    place = HOST, sandbox.port(), 2
    assert ask(leader, "SENTINEL", "MONITOR", "before", *place) == "OK"
    old_id = status(lost)["id"]

    lose_disk(lost)
    assert ask(leader, "SENTINEL", "REMOVE", "before") == "OK"
    assert ask(leader, "SENTINEL", "MONITOR", "meanwhile", *place) == "OK"
    lost.start()
    eventually(lambda: "to be added to Raft cluster" in waiting(lost))
    assert f"SENTINEL RAFT REMOVE {old_id}" in lost.log
    third.kill()
    eventually(lambda: status(leader)["leader"] == "", what="a leader that has lost its majority")
    for member in (leader, lost):
        with pytest.raises(redis.ResponseError, match=r"NOQUORUM .* nothing was changed"):
            ask(member, "SENTINEL", "MONITOR", "refused", *place)
    third.start()

    leader = leader_of(rest)
    with pytest.raises(redis.ResponseError, match="is a member already"):
        raft(leader, "ADD", lost.address)
    replace_member(leader, lost, old_id, members)
    for member in members:
        eventually(lambda member=member: names_of(member) == ["meanwhile"])

    lose_disk(lost, file_too=True)
    lost.start()
    eventually(lambda: "to be added to Raft cluster" in waiting(lost))
    replace_member(leader_of(rest), lost, lost.address, members)
    for member in members:
        eventually(lambda member=member: names_of(member) == ["meanwhile"])


def replace_member(leader, lost, old, members):
    assert raft(leader, "REMOVE", old) == "OK"
    assert raft(leader, "ADD", lost.address) == "OK"
    for member in members:
        eventually(lambda member=member: has_members(member, members))
    assert leader_of(members)


def names_of(member):
    return sorted(pairs(row)["name"] for row in ask(member, "SENTINEL", "MASTERS"))


def test_a_cluster_whose_disks_are_all_lost_begins_anew(sandbox):
    """What any of the files has is everybody's again, also if the last orders are in some only."""
    members = start_members(sandbox)
    leader, follower = follower_of(members)
    place = HOST, sandbox.port(), 2
    for name in ("first", "second"):
        assert ask(leader, "SENTINEL", "MONITOR", name, *place) == "OK"
        eventually(lambda name=name: f"monitor {name} " in config(leader))
        if follower.alive:
            follower.kill()
    old = status(leader)["cluster"]
    for member in members:
        lose_disk(member)
    for member in members:
        member.start()
    assert status(leader_of(members))["cluster"] != old
    for member in members:
        eventually(lambda member=member: names_of(member) == ["first", "second"])


def test_a_removed_member_begins_anew_in_another_cluster(sandbox):
    """Its place in the log of the one says nothing about the log of the other, which is shorter."""
    members = start_members(sandbox)
    leader, moving = follower_of(members)
    place = HOST, sandbox.port(), 2
    for number in range(10):
        assert ask(leader, "SENTINEL", "MONITOR", f"m{number}", *place) == "OK"
    assert raft(leader, "REMOVE", moving.address) == "OK"
    eventually(lambda: status(moving)["role"] == "removed")

    (other,) = start_members(sandbox, count=1)
    leader_of([other])
    assert raft(other, "ADD", moving.address) == "OK"
    assert leader_of([other, moving]) is other
    assert int(status(other)["commit_index"]) < int(status(leader)["commit_index"])
    assert ask(other, "SENTINEL", "MONITOR", "new", *place) == "OK"
    eventually(lambda: names_of(moving) == ["new"])
