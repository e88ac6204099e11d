"""Addresses of members as text, ``host:port``; an IPv6 address may stand in brackets."""

from __future__ import annotations

from sentinel_py.core.model import Address
from sentinel_py.raft.handshake import WORD_MAX_LENGTH

_PORT_MAX = 65535


def split(text: str) -> tuple[str, int]:
    """Host and port; ValueError with a text for the operator if it is no address."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX
    if not (host and colon and is_port) or len(text) > WORD_MAX_LENGTH or not text.isprintable():
        raise ValueError(f"'{text}' is not of the form host:port")
    return host, int(port)


def join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def of(address: Address) -> str:
    return join(address.host, address.port)
