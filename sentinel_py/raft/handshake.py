"""How two sentinels prove themselves to each other before a stream begins. Values only, no IO.

The one that dials says ``SENTINEL RAFT HELLO`` with its introduction, and gets the other one's. It
says ``SENTINEL RAFT PROVE`` with its proof, and gets the other one's proof; from there on the
connection carries frames. The rules guarded:

- The dialler proves itself first. Whoever dials us to guess the secret at home gets nothing that a
  guess could be compared with; and a stranger at an address that we dial gets one HMAC under a
  stretched key, of which a guess costs him 16 MB and some 50 ms.
- A proof is good for one connection, one direction and these two ends, since it covers both
  introductions with their fresh nonces.
- What follows is authenticated: both ends derive a key for each direction from the same words, and
  each frame carries a code under it (see `framing`).

The key is made of ``sentinel raft-secret``. Without one the key is known to everybody, and the
codes protect against nothing but chance; who may dial then is for `peers` to say.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import astuple
from enum import Enum
from functools import lru_cache

from sentinel_py.raft.addresses import WORD_MAX_LENGTH, is_address
from sentinel_py.resp import to_bytes
from sentinel_py.values import dataclass

VERSION = "2"
WITHOUT = "none"
"""What an operator says who wants no secret: ``sentinel raft-secret none``."""

_NOTHING = "-"  # how an empty word is said

# RFC 7914's parameters for interactive use; each sentinel does it once in its life.
_STRETCH_N, _STRETCH_R, _STRETCH_P = 2**14, 8, 1
_STRETCH_MEMORY = 64 * 1024 * 1024
_SALT = b"sentinel_py raft-secret"


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

    def words(self) -> tuple[str, ...]:
        return VERSION, *(word or _NOTHING for word in astuple(self))


WORDS = 6
"""How many words an introduction has."""


def parse(words: Sequence[str]) -> Introduction | None:
    """Return the introduction in these words; None if it is none, or of another version."""
    if len(words) != WORDS or words[0] != VERSION:
        return None
    if any(not word or len(word) > WORD_MAX_LENGTH or not word.isprintable() for word in words):
        return None
    run_id, boot, cluster, address, nonce = ("" if word == _NOTHING else word for word in words[1:])
    if not (run_id and boot and nonce) or not (address == "" or is_address(address)):
        return None
    return Introduction(run_id, boot, cluster, address, nonce)


def is_secret(text: str) -> bool:
    """Return whether this value of ``raft-secret`` is one; empty and ``none`` are not."""
    return text not in ("", WITHOUT)


@lru_cache(maxsize=8)
def stretched(secret: str) -> bytes:
    """Return the key that ``raft-secret`` stands for; slow on purpose, and kept once made.

    The salt is the same everywhere: members have nothing in common before they know each other.
    """
    if not is_secret(secret):
        return _SALT
    return hashlib.scrypt(
        to_bytes(secret),
        salt=_SALT,
        n=_STRETCH_N,
        r=_STRETCH_R,
        p=_STRETCH_P,
        maxmem=_STRETCH_MEMORY,
        dklen=32,
    )


def proof(key: bytes, end: End, dialer: Introduction, acceptor: Introduction) -> str:
    """Return what shows that this end knows the key."""
    return _code(key, f"proof of the {end.value}", dialer, acceptor).hex()


def is_proof(text: str, key: bytes, end: End, dialer: Introduction, acceptor: Introduction) -> bool:
    """Return whether the text is this end's proof; takes the same time for all wrong ones."""
    return hmac.compare_digest(to_bytes(text), proof(key, end, dialer, acceptor).encode())


def frame_key(key: bytes, end: End, dialer: Introduction, acceptor: Introduction) -> bytes:
    """Return the key under which this end authenticates its frames on this connection."""
    return _code(key, f"frames of the {end.value}", dialer, acceptor)


def _code(key: bytes, what: str, dialer: Introduction, acceptor: Introduction) -> bytes:
    """JSON keeps the words apart."""
    text = json.dumps([what, VERSION, astuple(dialer), astuple(acceptor)])
    return hmac.digest(key, text.encode(), "sha256")
