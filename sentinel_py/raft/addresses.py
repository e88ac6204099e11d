"""Addresses of members as text, ``host:port``; an IPv6 address may stand in brackets."""

from __future__ import annotations

from ipaddress import ip_address

from sentinel_py.core.model import Address

WORD_MAX_LENGTH = 256
"""Host names are shorter than this, and everything else is an id or a number."""

_PORT_MAX = 65535


def split(text: str) -> tuple[str, int]:
    """Host and port; ValueError with a text for the operator if it is no address."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX
    is_plain = text.isprintable() and " " not in text and len(text) <= WORD_MAX_LENGTH
    if not (host and colon and is_port and is_plain):
        raise ValueError(f"'{text}' is not of the form host:port")
    return host, int(port)


def is_address(text: str) -> bool:
    """Return whether the text is of the form ``host:port``."""
    try:
        split(text)
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """Return whether this address is this host's own; of names, ``localhost`` alone."""
    host, _ = split(text)
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def of(address: Address) -> str:
    return join(address.host, address.port)
