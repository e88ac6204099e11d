"""Connections that have a place before TLS begins, and seconds to begin it.

asyncio's servers tell of a connection when its handshake is over, and wait a minute for that: until
then a stranger costs a file and the state of TLS, and is in no count. The rule guarded: who is let
in is in `coming` until its handshake is over, and no handshake lasts.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

from sentinel_py.tasks import spawn

HANDSHAKE_WITHIN_S = 5.0
"""TLS begins with two round trips."""

ACCEPT_AGAIN_S = 0.1
"""When as many files are open as may be, those who want to connect wait."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Doorway(Generic[P]):
    """Accepts connections for the protocols that `make` makes.

    When `is_full` says so, a connection is not let in: `turn_away` gets its socket, to close it.
    `failed` is called for each that was let in and did not begin. Without a context, there is no
    handshake. TLS may take `end_within_s` to end, or as long as asyncio lets it.
    """

    _loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        make: Callable[[], P],
        context: ssl.SSLContext | None,
        *,
        is_full: Callable[[], bool],
        turn_away: Callable[[socket.socket], None],
        failed: Callable[[], None] = lambda: None,
        end_within_s: float | None = None,
    ) -> None:
        self.coming: dict[P, socket.socket] = {}
        self._make = make
        self._context = context
        self._is_full = is_full
        self._turn_away = turn_away
        self._failed = failed
        self._end_within_s = end_within_s
        self._listeners: list[socket.socket] = []
        self._pause: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, listeners: Iterable[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = list(listeners)
        for listener in self._listeners:
            listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept nobody any more, and end the handshakes; each is over when it sees that."""
        if self._pause is not None:
            self._pause.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        for connection in self.coming.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._tasks)

    def _listen(self) -> None:
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has gone again
        except OSError:
            self._wait_for_files()
            return
        if self._is_full():
            self._turn_away(connection)
        else:
            self._let_in(connection)

    def _wait_for_files(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        self._pause = self._loop.call_later(ACCEPT_AGAIN_S, self._listen)

    def _let_in(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        protocol = self._make()
        self.coming[protocol] = connection
        spawn(self._begin(protocol, connection), self._tasks)

    async def _begin(self, protocol: P, connection: socket.socket) -> None:
        is_encrypted = self._context is not None
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_WITHIN_S if is_encrypted else None,
                ssl_shutdown_timeout=self._end_within_s if is_encrypted else None,
            )
        except OSError:
            self._failed()
        finally:
            self.coming.pop(protocol, None)
