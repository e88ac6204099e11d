"""How a webhook is signed, and how its receiver checks that.

The header has the time and an HMAC-SHA256 of the time and the body: who records a request cannot
send it again later, or with another time. Nothing but the standard library is needed, so that a
receiver in Python can use ``verify`` as it is, and any other one write it anew.
"""

from __future__ import annotations

import hashlib
import hmac
import time

HEADER = "X-Sentinel-Signature"

TOLERANCE_S = 300
"""How old a signature may be, for who does not say otherwise."""

_TIME_DIGITS = 12


def sign(secret: str, body: bytes, at_s: int) -> str:
    """The header's value for a body that is sent at this Unix time."""
    return f"t={at_s},v1={_mac(secret, body, str(at_s))}"


def verify(
    secret: str,
    body: bytes,
    header: str,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> bool:
    """Whether this body was signed with the secret, and not long ago."""
    fields = dict(part.partition("=")[::2] for part in header.split(","))
    at, given = fields.get("t", ""), fields.get("v1", "")
    if not (at.isascii() and at.isdecimal() and len(at) <= _TIME_DIGITS):
        return False
    is_right = hmac.compare_digest(_mac(secret, body, at).encode(), given.encode(errors="replace"))
    age_s = (time.time() if now_s is None else now_s) - int(at)
    return is_right and abs(age_s) <= tolerance_s


def _mac(secret: str, body: bytes, at: str) -> str:
    key = secret.encode(errors="surrogateescape")
    return hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
