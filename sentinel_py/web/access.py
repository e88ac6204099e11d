"""Who may read and who may write: a token, or names with passwords.

Nothing here knows of requests. The rule it guards: every comparison takes the same time, whatever
was sent, and an unknown name costs what a known one does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

TOKEN_NAME = "token"  # noqa: S105 - a name, under which a browser can send the token
"""A browser knows names and passwords only: the token is the password of this name."""


class Access:
    """What the settings allow; with neither token nor names, reading is free and writing is not."""

    def __init__(self, token: str, users: Mapping[str, str]) -> None:
        self._token = _digest(token) if token else None
        self._logins = [_digest(f"{name}:{password}") for name, password in users.items()]
        if token:
            self._logins.append(_digest(f"{TOKEN_NAME}:{token}"))

    @property
    def is_set(self) -> bool:
        return bool(self._logins)

    def admits(self, authorization: str) -> bool:
        """Whether this header's value proves that its sender may come in."""
        scheme, _, proof = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                return self._token is not None and _same(_digest(proof.strip()), self._token)
            case "basic":
                login = _digest(_decoded(proof.strip()))
                matches = [_same(login, known) for known in self._logins]
                return any(matches)
            case _:
                return False


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _decoded(proof: str) -> str:
    """Name and password; of what is no base64, something that no login can be."""
    try:
        return base64.b64decode(proof, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return ""
