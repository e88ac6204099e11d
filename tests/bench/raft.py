"""The Raft core: commit latency, what idling costs, and a failover that outlives its leader."""

import time

import click
import redis

from sentinel_py.local import HOST, Sandbox, eventually, monitor, raft_peers, wait_ready

from .figures import show
from .usage import cpu_s

NAME = "bench"


@click.command()
@click.option("--members", default=3, show_default=True, help="Members of the Raft cluster.")
@click.option("--rounds", default=20, show_default=True, help="Rounds of each measurement.")
@click.option("--idle", default=30, show_default=True, help="Seconds to idle.")
def raft(members, rounds, idle):
    """Commit latency, idle cost, and a leader that dies in the middle of a failover."""
    with Sandbox() as sandbox:
        nodes = start_members(sandbox, members)
        show_commits(nodes, rounds)
        show_idle(nodes, idle)
    deaths = [leader_dies(members) for _ in range(rounds)]
    show(
        "The Raft leader is killed between claim and promotion",
        [("until every survivor names the new master", deaths, "ms")],
    )


def start_members(sandbox, count, lines=()):
    ports = [sandbox.port() for _ in range(count)]
    lines = [raft_peers(ports), *lines]
    nodes = [sandbox.sentinel(lines, port=port) for port in ports]
    wait_ready(nodes)
    eventually(lambda: leader_of(nodes), what="Raft leader")
    return nodes


def ask(node, *words):
    with redis.Redis(HOST, node.port, socket_timeout=5) as client:
        return client.execute_command("SENTINEL", *words)


def section(node):
    with redis.Redis(HOST, node.port, socket_timeout=5) as client:
        return client.info("raft")


def leader_of(nodes):
    """The node that leads, once all agree who that is."""
    views = [section(node) for node in nodes if node.alive]
    if len({view.get("raft_leader") for view in views}) != 1:
        return None
    leading = [node for node in nodes if node.alive and section(node).get("raft_role") == "leader"]
    return leading[0] if len(leading) == 1 else None


def show_commits(nodes, rounds):
    leader = leader_of(nodes)
    follower = next(node for node in nodes if node is not leader)
    ask(leader, "MONITOR", NAME, HOST, "1", "2")
    rows = []
    for who, node in (("leader", leader), ("a follower", follower)):
        for how, pause_s in (("one after the other", 0), ("now and then", 0.02)):
            with redis.Redis(HOST, node.port) as client:
                taken = commits(client, rounds * 10, pause_s)
            rows.append((f"SENTINEL SET on {who}, {how}", taken, "ms"))
    show(f"Commit, {len(nodes)} members on one machine, fsync on", rows)
    ask(leader, "REMOVE", NAME)


def commits(client, count, pause_s):
    """Milliseconds of each; after a pause, the processors have to be woken up, too."""
    taken = []
    for number in range(count):
        began_at = time.perf_counter()
        client.execute_command("SENTINEL", "SET", NAME, "failover-timeout", str(1000 + number))
        taken.append((time.perf_counter() - began_at) * 1000)
        time.sleep(pause_s)
    return taken


def show_idle(nodes, seconds):
    before = [cpu_s(node.pid) for node in nodes]
    time.sleep(seconds)
    used = [cpu_s(node.pid) - start for node, start in zip(nodes, before, strict=True)]
    shares = [share / seconds * 100 for share in used]
    show("Idle, per member, watching nothing", [("share of a core", shares, "%")])


def leader_dies(members):
    """Milliseconds from the leader's end, just after its claim, to the last survivor's switch."""
    with Sandbox() as sandbox:
        master = sandbox.redis()
        replicas = [sandbox.redis(replica_of=master) for _ in range(2)]
        wait_ready([master, *replicas])
        nodes = start_members(sandbox, members)
        for line in monitor(NAME, master)[:1]:
            ask(nodes[0], *line.split()[1:])
        ask(nodes[0], "SET", NAME, "down-after-milliseconds", "500")
        eventually(lambda: all(knows_all(node, members) for node in nodes), what="discovery")
        leader = leader_of(nodes)
        ask(leader, "SIMULATE-FAILURE", "crash-after-election")
        master.kill()
        leader.wait()
        died_at = time.perf_counter()
        survivors = [node for node in nodes if node is not leader]
        eventually(lambda: all(has_switched(node, master) for node in survivors), 60_000, "switch")
        return (time.perf_counter() - died_at) * 1000


def knows_all(node, members, replicas=2):
    row = ask(node, "MASTER", NAME)
    facts = dict(zip(row[::2], row[1::2], strict=True)) if isinstance(row, list) else row
    facts = {as_text(key): as_text(value) for key, value in facts.items()}
    return (facts["num-slaves"], facts["num-other-sentinels"]) == (
        str(replicas),
        str(members - 1),
    )


def as_text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def has_switched(node, master):
    address = ask(node, "GET-MASTER-ADDR-BY-NAME", NAME)
    return as_text(address[1]) != str(master.port)
