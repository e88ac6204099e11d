"""How two sentinels get to know each other before a Raft stream begins. Values only, no IO.

The one that dials says ``SENTINEL RAFT HELLO`` with its introduction; the one that accepted answers
with its own and a proof; the dialer answers ``SENTINEL RAFT PROVE`` with its proof, and from the
``+OK`` on the connection carries frames. The rule guarded: a proof is good for one connection, one
direction and these two ends, since it covers both introductions with their fresh nonces. Without
``raft-secret`` the key is empty, and whoever may run SENTINEL commands here is trusted.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import astuple, replace
from enum import Enum

from sentinel_py.resp import to_bytes
from sentinel_py.values import dataclass

VERSION = "1"
WORD_MAX_LENGTH = 256
"""Host names are shorter than this, and everything else is an id or a number."""

_NOTHING = "-"  # how an empty word is said


class End(Enum):
    """Which end a proof is of; a proof sent back to its maker must not be good."""

    DIALER = "dialer"
    ACCEPTOR = "acceptor"


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who one end is. ``boot`` tells two runs, or two copies, of a sentinel apart."""

    run_id: str
    boot: str
    cluster: str  # empty while it belongs to none
    address: str  # where it can be dialled; empty if it does not know
    nonce: str = ""

    def with_nonce(self, nonce: str) -> Introduction:
        return replace(self, nonce=nonce)

    def words(self) -> tuple[str, ...]:
        return VERSION, *(word or _NOTHING for word in astuple(self))


WORDS = 6
"""How many words an introduction has."""


def parse(words: Sequence[str]) -> Introduction | None:
    """The introduction in these words; None if it is none, or of another version."""
    if len(words) != WORDS or words[0] != VERSION:
        return None
    if any(not word or len(word) > WORD_MAX_LENGTH for word in words):
        return None
    run_id, boot, cluster, address, nonce = ("" if word == _NOTHING else word for word in words[1:])
    if not (run_id and boot and nonce):
        return None
    return Introduction(run_id, boot, cluster, address, nonce)


def proof(secret: str, end: End, dialer: Introduction, acceptor: Introduction) -> str:
    """What shows that this end knows the secret; JSON keeps the words apart."""
    text = json.dumps([end.value, VERSION, astuple(dialer), astuple(acceptor)])
    return hmac.new(to_bytes(secret), text.encode(), "sha256").hexdigest()


def is_proof(
    text: str, secret: str, end: End, dialer: Introduction, acceptor: Introduction
) -> bool:
    """Whether the text is this end's proof; takes the same time for all wrong ones."""
    return hmac.compare_digest(to_bytes(text), proof(secret, end, dialer, acceptor).encode())
