"""Listening sockets: which addresses the `bind` list means, and what to say if one cannot be had.

The rule guarded: either all sockets that have to be there are open, or none.
"""

import errno
import os
import socket
import stat

from sentinel_py.endpoint import keep_alive
from sentinel_py.server.options import ServerOptions

# The address family is not there at all: as redis-sentinel does, go on without it.
_NO_SUCH_FAMILY = {
    errno.ENOPROTOOPT,
    errno.EPROTONOSUPPORT,
    errno.ESOCKTNOSUPPORT,
    errno.EPFNOSUPPORT,
    errno.EAFNOSUPPORT,
}
_WILDCARDS = {"*": "0.0.0.0", "::*": "::"}  # noqa: S104 (the operator asks for it)


class ListenError(Exception):
    """A socket that cannot be listened on; the text is one line for the operator."""


def listen_tcp(options: ServerOptions, port: int) -> list[socket.socket]:
    """Open the sockets of the `bind` list on a port; ListenError leaves none of them open."""
    sockets: list[socket.socket] = []
    try:
        for address in options.bind:
            opened = _listen_on(address, port, options.tcp_backlog)
            if opened is not None:
                sockets.append(opened)
                keep_alive(opened, options.tcp_keepalive_s)
    except ListenError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _listen_on(address: str, port: int, backlog: int) -> socket.socket | None:
    host = address.removeprefix("-")
    try:
        return _open_tcp(_WILDCARDS.get(host, host), port, backlog)
    except OSError as error:
        if error.errno in _NO_SUCH_FAMILY:
            return None
        if error.errno == errno.EADDRNOTAVAIL and address.startswith("-"):
            return None
        raise ListenError(
            f"Could not create server TCP listening socket {host}:{port}: {_reason(error)}"
        ) from error


def _open_tcp(host: str, port: int, backlog: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::*` stands beside `*` on the same port.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return text if isinstance(error, socket.gaierror) else f"bind: {text}"


def listen_unix(options: ServerOptions) -> socket.socket:
    """Open the Unix socket; one that an earlier run left behind is replaced."""
    path = options.unixsocket
    assert path is not None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        remove_unix_socket(path)
        listener.bind(path)
        if options.unixsocketperm:
            os.chmod(path, options.unixsocketperm)
        listener.listen(options.tcp_backlog)
    except OSError as error:
        listener.close()
        raise ListenError(f"Failed opening Unix socket: {path}: {_reason(error)}") from error
    return listener


def remove_unix_socket(path: str) -> None:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
