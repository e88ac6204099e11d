"""Who is compared: our sentinel in both modes and redis-sentinel, started on the same lines."""

import shutil

from sentinel_py.local import raft_peers, sentinel_program

SENTINELS = 3
ORIGINAL = "original"
CONTENDERS = ("raft", "classic", ORIGINAL)


def start_sentinels(sandbox, contender, lines, count=SENTINELS):
    """A group of one contender's sentinels, which need not be ready yet."""
    ports = [sandbox.port() for _ in range(count)]
    if contender == "raft":
        lines = [raft_peers(ports), *lines]
    return [sandbox.sentinel(lines, port=port, program=program_of(contender)) for port in ports]


def program_of(contender):
    if contender == ORIGINAL:
        return [shutil.which("redis-sentinel") or "redis-sentinel"]
    return sentinel_program()
