"""What the ACL refused: the entries of ACL LOG and the counters of INFO.

Pure; the time is given by the caller. Alike refusals within a minute share one entry, so that a
client that tries again and again does not push out what else happened.
"""

from enum import Enum

from sentinel_py.values import dataclass

GROUPING_MS = 60_000
# How many of the latest entries are compared with a new one.
GROUPING_DEPTH = 10
DEFAULT_MAX_ENTRIES = 128


class Reason(Enum):
    """Why something was refused; the values are those of ACL LOG."""

    AUTH = "auth"
    COMMAND = "command"
    CHANNEL = "channel"


@dataclass(slots=True)
class AclLogEntry:
    entry_id: int
    reason: Reason
    object: str
    username: str
    client_info: str
    created_at: int
    updated_at: int
    count: int = 1

    def is_like(self, reason: Reason, what: str, username: str, now: int) -> bool:
        return (self.reason, self.object, self.username) == (reason, what, username) and abs(
            now - self.updated_at
        ) <= GROUPING_MS


class AclLog:
    """The latest refusals, newest first."""

    def __init__(self, max_entries: int = DEFAULT_MAX_ENTRIES) -> None:
        self.entries: list[AclLogEntry] = []
        self.denied = dict.fromkeys(Reason, 0)
        self._max_entries = max_entries
        self._next_id = 0

    def add(self, now: int, reason: Reason, what: str, username: str, client_info: str) -> None:
        self.denied[reason] += 1
        for entry in self.entries[:GROUPING_DEPTH]:
            if entry.is_like(reason, what, username, now):
                entry.count += 1
                entry.updated_at = now
                entry.client_info = client_info
                self.entries.remove(entry)
                break
        else:
            entry = AclLogEntry(self._next_id, reason, what, username, client_info, now, now)
            self._next_id += 1
        self.entries.insert(0, entry)
        del self.entries[self._max_entries :]

    def clear(self) -> None:
        self.entries.clear()
