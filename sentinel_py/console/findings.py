"""What ``doctor`` finds: how bad it is, what it is, where, and the way out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sentinel_py.console.wire import Place


class Severity(Enum):
    """An error keeps a failover from working; a warning will, one day, or makes it worse."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for the operator, and what to do about it."""

    severity: Severity
    what: str
    where: str
    way_out: str


def error(what: str, where: object, way_out: str) -> Finding:
    return Finding(Severity.ERROR, what, str(where), way_out)


def warning(what: str, where: object, way_out: str) -> Finding:
    return Finding(Severity.WARNING, what, str(where), way_out)


@dataclass(frozen=True, slots=True)
class Watched:
    """A master as a config file or a sentinel describes it; places have the login for Redis."""

    name: str
    master: Place
    replicas: tuple[Place, ...]
    sentinels: int  # 0 where that is not known yet
    quorum: int
    renamed: Mapping[str, str] = field(default_factory=dict)


def group_findings(watched: Watched) -> list[Finding]:
    """What the numbers alone say: a quorum that cannot be met, too few, an even number."""
    name, count, quorum = watched.name, watched.sentinels, watched.quorum
    if not count:
        return []
    if quorum > count:
        way_out = f"start more sentinels, or SENTINEL SET {name} quorum {count // 2 + 1}"
        return [error(f"quorum {quorum} of {count} sentinels can never be met", name, way_out)]
    if count < 3:
        few = "one sentinel" if count == 1 else "two sentinels"
        text = f"with {few}, the loss of one host leaves nobody to replace the master"
        return [warning(text, name, "three sentinels, on three hosts")]
    found = []
    if count % 2 == 0:
        text = f"{count} sentinels survive the loss of no more than {count - 1} would"
        found.append(warning(text, name, "an odd number"))
    if quorum == count:
        text = f"quorum {quorum} of {count}: one sentinel that is away prevents every failover"
        way_out = f"SENTINEL SET {name} quorum {count // 2 + 1}"
        found.append(warning(text, name, way_out))
    return found
