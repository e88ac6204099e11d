"""A client on one host: asks its own host's sentinel for the master, writes, records what it got.

    python -m tests.chaos.writer RECORD NAME NUMBER ADDRESS...

Runs as a process of its own inside the host's namespace, until it is ended. Each line of the record
is one acknowledged write: instant, number, server. The rule it guards: no number is sent twice, so
a write that was not acknowledged is never counted.
"""

import sys
import time

from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from .accounting import Ack

# About a hundred writes in a second: fine enough for figures of ten milliseconds, and little work
# for a machine that runs five of these beside ten servers.
PAUSE_S = 0.01
# Clients that ask without a pause would hold up the start of what they wait for.
AFTER_FAILURE_S = 0.03
PATIENCE = {"socket_timeout": 0.5, "socket_connect_timeout": 0.3, "retry": Retry(NoBackoff(), 0)}
SENTINEL_PORT = 26379


def key(writer):
    return f"acknowledged:{writer}"


def read(record, writer):
    """What this writer has recorded; its last line may be torn, and is then left out."""
    lines = record.read_text().split("\n")[:-1] if record.exists() else []
    return [
        Ack(int(at), writer, int(number), server)
        for at, number, server in (line.split() for line in lines)
    ]


def write(record, name, writer, addresses):
    entry = Sentinel(
        [(address, SENTINEL_PORT) for address in addresses], sentinel_kwargs=PATIENCE, **PATIENCE
    )
    own_first = list(entry.sentinels)
    number = 0
    with open(record, "w", buffering=1) as file, entry.master_for(name) as master:
        while True:
            number = _write_on(file, master, writer, number)
            # The client would go on with whichever sentinel has answered last.
            entry.sentinels[:] = own_first
            master.connection_pool.disconnect()
            time.sleep(AFTER_FAILURE_S)


def _write_on(file, master, writer, number):
    """Write until the first failure; the last number that was sent."""
    while True:
        number += 1
        try:
            master.rpush(key(writer), number)
        except (RedisError, OSError):
            return number
        address, _ = master.connection_pool.master_address
        file.write(f"{time.monotonic_ns() // 1_000_000} {number} {address}\n")
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
