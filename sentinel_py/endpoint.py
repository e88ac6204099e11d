"""Both ends of an accepted connection, as CLIENT LIST shows them, and the options of its socket."""

from __future__ import annotations

import asyncio
import socket

from sentinel_py.values import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    address: str = ""
    local_address: str = ""
    file_descriptor: int = -1
    is_unix: bool = False
    is_local: bool = False  # on this machine, over the loopback interface or a Unix socket

    @classmethod
    def of(cls, transport: asyncio.Transport) -> Endpoint:
        if transport.is_closing():
            return cls("?:0", "?:0")
        accepted = transport.get_extra_info("socket")
        own = transport.get_extra_info("sockname")
        if accepted.family == socket.AF_UNIX:
            path = f"{own.decode() if isinstance(own, bytes) else own}:0"
            return cls(path, path, accepted.fileno(), is_unix=True, is_local=True)
        # A client that was gone before it was accepted has no address any more.
        peer = transport.get_extra_info("peername") or ("?", 0)
        is_local = peer[0].startswith("127.") or peer[0] == "::1"
        return cls(_format(peer), _format(own), accepted.fileno(), is_local=is_local)


def _format(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def keep_alive(listener: socket.socket, interval_s: int) -> None:
    """Probe silent TCP clients; a dead one is noticed within twice the interval.

    Accepted sockets inherit this from the one that listens, which saves four calls for each.
    """
    if not interval_s:
        return
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(interval_s // 3, 1)),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ):
        listener.setsockopt(level, option, value)
