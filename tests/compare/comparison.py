"""The comparison itself: both sentinels watch one world, get the same requests, and are set apart.

A request that one of them answers with more, fewer or other lines than the other gives a
`Difference`; each of its lines needs a reason.
"""

import difflib
import os
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

from sentinel_py.local import LocalError, Sandbox, eventually, monitor, sentinel_program, wait_ready

from . import sentinel_conversations, server_conversations
from .conversation import Bytes
from .explained import EXPLAINED, matches
from .masks import Masks, unordered_levels
from .wire import Connection

DOWN_AFTER_MS = 5000


def original_program():
    """The redis-sentinel on PATH; the table knows the differences from its version 7.0."""
    if path := shutil.which("redis-sentinel"):
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        if " v=7.0." in version.stdout:
            return path
    raise LocalError("no redis-sentinel 7.0 on PATH to compare with")


@dataclass
class Line:
    """A line of a reply that only redis-sentinel (`-`) or only we (`+`) have."""

    sign: str
    text: str
    reason: str = ""


@dataclass
class Difference:
    """What differs in the replies to one request."""

    request: str
    protocol: int
    lines: list[Line]

    @property
    def is_explained(self):
        return all(line.reason for line in self.lines)

    def unexplained(self, sign, pattern):
        """The first such line that has no reason yet."""
        return next(
            (
                line
                for line in self.lines
                if line.sign == sign and not line.reason and matches(pattern, line.text.strip())
            ),
            None,
        )


@dataclass(frozen=True)
class World:
    """What both watch, and the two of them."""

    ports: dict[str, int]
    original: object
    ours: object

    @classmethod
    @contextmanager
    def made(cls):
        with Sandbox() as box:
            yield cls._start(box)

    @classmethod
    def _start(cls, box):
        master, lonely = box.redis(), box.redis()
        replica = box.redis(replica_of=master)
        wait_ready([master, lonely, replica])
        options = {"down-after-milliseconds": DOWN_AFTER_MS, "failover-timeout": 60000}
        lines = [
            *monitor("mymaster", master, options=options),
            *monitor("lonely", lonely, quorum=1, options=options),
        ]
        original = box.sentinel(lines, program=[original_program()])
        program = shlex.split(os.environ.get("SENTINEL_PROGRAM", "")) or sentinel_program()
        ours = box.sentinel(lines, program=program)
        wait_ready([original, ours])
        servers = {"master": master, "replica": replica, "lonely": lonely}
        ports = {name: server.port for name, server in servers.items()} | {"spare": box.port()}
        world = cls(ports, original, ours)
        eventually(world.is_settled, 30_000, "acquaintance of the two sentinels")
        return world

    def is_settled(self):
        """Each knows the replica and the other sentinel, and has read everybody's INFO."""
        return all(map(_knows_all, (self.original, self.ours)))

    def masks(self):
        sentinels = dict.fromkeys((self.original.port, self.ours.port), "sentinel")
        return Masks({port: name for name, port in self.ports.items()} | sentinels)


def _knows_all(sentinel):
    questions = ("MASTERS", "REPLICAS mymaster", "SENTINELS mymaster", "SENTINELS lonely")
    with Connection(sentinel.port) as connection:
        rows = [line for words in questions for line in connection.ask(encode(f"SENTINEL {words}"))]
        cache = connection.ask(encode("SENTINEL INFO-CACHE mymaster lonely"))
    flags = [line.strip() for line in rows]
    # "$master" and "$slave" are also the roles that their INFO reported.
    return (
        [flags.count(f"${flag}") for flag in ("master", "slave", "sentinel")] == [4, 2, 2]
        and sum("$# Server" in line for line in cache) == 3
        and not any(line.strip() == "$-1" for line in cache)
    )


def encode(line):
    """A line as a client's words."""
    words = [word.encode("latin-1") for word in shlex.split(line)]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


class Comparison:
    """All differences between the two, and the rows of the table that explained none."""

    def __init__(self, world):
        self.world = world
        self.requests = 0
        self.differences = []
        self._masks = world.masks()
        self._used = set()
        for conversation in (
            *sentinel_conversations.CONVERSATIONS,
            *server_conversations.CONVERSATIONS,
        ):
            if isinstance(conversation, Bytes):
                self._send_all(conversation)
            else:
                for protocol in conversation.protocols:
                    self._converse(conversation, protocol)

    @property
    def _both(self):
        return self.world.original, self.world.ours

    @property
    def unexplained(self):
        return [difference for difference in self.differences if not difference.is_explained]

    @property
    def unused(self):
        """Rows of the table that nothing needs any more."""
        return [row for row in EXPLAINED if row not in self._used]

    def _converse(self, conversation, protocol):
        lines = [line.strip() for line in conversation.requests.strip().splitlines()]
        theirs, ours = (self._ask_all(sentinel, lines, protocol) for sentinel in self._both)
        if not self.world.ours.alive:
            raise LocalError(f"ended by {conversation.title}:\n{self.world.ours.log}")
        for line, their_reply, our_reply in zip([*lines, "(end)"], theirs, ours, strict=True):
            self._compare(line, protocol, their_reply, our_reply)

    def _ask_all(self, sentinel, lines, protocol):
        with Connection(sentinel.port) as connection:
            if protocol == 3:
                connection.ask(encode("HELLO 3"))
            replies = [self._ask(connection, line) for line in lines]
            return [*replies, connection.rest()]

    def _ask(self, connection, line):
        words, _, count = line.partition("=>")
        for name, port in self.world.ports.items():
            words = words.replace(f"${name}", str(port))
        words = words.replace("$long", "x" * 200).replace("\\r", "\r").replace("\\n", "\n")
        lines = connection.ask(encode(words), int(count or 1), unordered_levels(words))
        return self._masks.apply(words, lines)

    def _send_all(self, group):
        for chunk in group.chunks:
            theirs, ours = (self._send(sentinel, chunk) for sentinel in self._both)
            self._compare(_shown(chunk), 2, theirs, ours)

    def _send(self, sentinel, chunk):
        with Connection(sentinel.port) as connection:
            connection.ask(chunk, replies=0)
            return self._masks.apply("", connection.rest())

    def _compare(self, request, protocol, theirs, ours):
        self.requests += 1
        changes = difflib.ndiff(theirs, ours) if theirs != ours else ()
        lines = [Line(change[0], change[2:]) for change in changes if change[0] in "-+"]
        if lines:
            difference = Difference(request, protocol, lines)
            self.differences.append(difference)
            self._explain(difference)

    def _explain(self, difference):
        for row in EXPLAINED:
            while row.explain(difference):
                self._used.add(row)


def _shown(chunk):
    text = repr(chunk)[2:-1]
    return text if len(text) < 80 else f"{text[:20]}… ({len(chunk)} bytes)"
