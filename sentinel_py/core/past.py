"""What is remembered of orders and masters that are gone, for some seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sentinel_py.values import dataclass

if TYPE_CHECKING:
    from sentinel_py.core.model import Address


class RecentOrder(NamedTuple):
    """An order that the log has carried out: its place, and digests of its proposer and of it."""

    place: int
    who: str
    key: str


class HeardOrder(NamedTuple):
    """An order of another member, by its digest, and when it was applied here."""

    key: str
    about: str  # the master's name, or the pattern of a RESET
    at: int


@dataclass(slots=True)
class FormerMaster:
    """What is left of a master that was removed; ``row`` is what clients are shown of it."""

    address: Address
    replicas: tuple[Address, ...]
    removed_at: int
    named_until: int
    row: list[tuple[str, str]] | None
