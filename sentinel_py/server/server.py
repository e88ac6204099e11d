"""The listening server: its clients, its subscribers and what it counts.

Connections are handled in `session`, sockets are opened in `listeners`, TLS begins in `doorway`.
The rule guarded: a client is in `clients` from the moment it is admitted until its connection is
lost, and nothing of it stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import ssl
import time
from collections.abc import Callable

from sentinel_py.acl.acl import Acl
from sentinel_py.acl.log import Reason
from sentinel_py.acl.user import User
from sentinel_py.resp import to_bytes
from sentinel_py.server.client_list import describe_client
from sentinel_py.server.commands import CommandTable, Host
from sentinel_py.server.doorway import Doorway
from sentinel_py.server.info import Info, Stats
from sentinel_py.server.listeners import ListenError, listen_tcp, listen_unix, remove_unix_socket
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.pubsub import PubSub
from sentinel_py.server.ready import ReadyReplies
from sentinel_py.server.reserve import PLACES, Reserve
from sentinel_py.server.session import Session
from sentinel_py.server.terms import Terms

logger = logging.getLogger(__name__)

# Idle clients and slow subscribers are looked for this often; both limits are in whole seconds.
HOUSEKEEPING_S = 1.0
# An attack is reported, but cannot be used to fill the log.
HTTP_WARNING_INTERVAL_MS = 60_000

_TOO_MANY = b"-ERR max number of clients reached\r\n"

_PROTECTED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no "
    b"password is set for the default user. In this mode connections are only accepted from "
    b"the loopback interface. If you want to connect from external computers to Redis you "
    b"may adopt one of the following solutions: 1) Just disable protected mode sending the "
    b"command 'CONFIG SET protected-mode no' from the loopback interface by connecting to "
    b"Redis from the same host the server is running, however MAKE SURE Redis is not "
    b"publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change "
    b"permanent. 2) Alternatively you can just disable the protected mode by editing the "
    b"Redis configuration file, and setting the protected mode option to 'no', and then "
    b"restarting the server. 3) If you started the server manually just for testing, restart "
    b"it with the '--protected-mode no' option. 4) Set up an authentication password for the "
    b"default user. NOTE: You only need to do one of the above things in order for the "
    b"server to start accepting connections from the outside.\r\n"
)


class Server:
    """All that clients connect to. Nothing is open before `start` and after `close`."""

    def __init__(
        self,
        options: ServerOptions,
        table: CommandTable,
        acl: Acl,
        host: Host,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.options = options
        self.table = table
        self.acl = acl
        self.host = host
        self.clients: dict[int, Session] = {}
        self.pubsub = PubSub()
        self.ready = ReadyReplies(table.every())
        self.stats = Stats()
        # What all clients begin with, until the ACL changes; derived by the first one.
        self.newcomer: Terms | None = None
        self._info: Info | None = None
        # `ticked_at` is now, but for up to a second: good enough for ages, and free.
        self.started_at = self.ticked_at = self.now()
        self._next_client_id = 1
        self._is_closed = False
        self._listeners: list[asyncio.Server] = []
        self.reserve = Reserve(self._end_trial)
        self.doorway = Doorway(
            lambda: Session(self), ssl_context, is_full=self._is_shut, turn_away=self._shut_out
        )
        self._housekeeping: asyncio.TimerHandle | None = None
        self._http_warned_at: int | None = None
        # A clock that stands still while requests that came together are carried out.
        self.instant: Callable[[], float] = lambda: math.nan

    def now(self) -> int:
        """Monotonic milliseconds."""
        return time.monotonic_ns() // 1_000_000

    async def start(self) -> None:
        """Open all listening sockets, or raise ListenError and leave none open."""
        self.started_at = self.now()
        plain, encrypted = self._open_sockets()
        loop = asyncio.get_running_loop()
        self.instant = loop.time
        for opened in plain:
            listener = await loop.create_server(
                lambda: Session(self), sock=opened, backlog=self.options.tcp_backlog
            )
            self._listeners.append(listener)
        self.doorway.open(encrypted)
        self._keep_house()

    def _open_sockets(self) -> tuple[list[socket.socket], list[socket.socket]]:
        options = self.options
        with contextlib.ExitStack() as opened:
            plain = listen_tcp(options, options.port) if options.port else []
            opened.callback(_close_all, plain)
            encrypted = listen_tcp(options, options.tls_port) if options.tls_port else []
            opened.callback(_close_all, encrypted)
            if options.unixsocket:
                plain.append(listen_unix(options))
            if not plain and not encrypted:
                raise ListenError("Configured to not listen anywhere, exiting.")
            opened.pop_all()
        return plain, encrypted

    def close(self) -> None:
        """Close the listening sockets and all clients, without a word to them.

        Who was accepted a moment ago and is not admitted yet is closed when it is.
        """
        self._is_closed = True
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self.doorway.close()
        self.reserve.close()
        for session in list(self.clients.values()):
            session.abort()
        if self.options.unixsocket:
            remove_unix_socket(self.options.unixsocket)

    def publish(self, channel: str, payload: str) -> int:
        """Send an event to its subscribers; return how many got it."""
        if not (self.pubsub.channels or self.pubsub.patterns):
            return 0
        return self.pubsub.publish(to_bytes(channel), to_bytes(payload))

    @property
    def info(self) -> Info:
        """Made when the first client asks: by then, all that it holds for constant is known."""
        if self._info is None:
            self._info = Info(self)
        return self._info

    def permissions_changed(self) -> None:
        """Make all connections comply with the ACL as it is now."""
        self.newcomer = None
        for session in [*self.doorway.coming, *self.clients.values()]:
            user = session.user
            if session.is_handed_over:
                if session.depends_on_user and not self._may_stream(user):
                    session.abort()
            elif self.acl.holds(user) and user.may_keep(session.channels, session.patterns):
                session.refresh()
            else:
                session.kill()

    def _may_stream(self, user: User) -> bool:
        """Whether a stream between sentinels that this user has begun may go on."""
        return self.acl.holds(user) and user.enabled and "sentinel|raft" in user.root.allowed

    def log_denial(self, session: Session, reason: Reason, what: str, username: str) -> None:
        """Put a refusal into the ACL log."""
        now = time.time_ns() // 1_000_000
        self.acl.log.add(now, reason, what, username, describe_client(session))

    def warn_of_http(self, session: Session) -> None:
        last = self._http_warned_at
        if last is not None and self.now() - last <= HTTP_WARNING_INTERVAL_MS:
            return
        self._http_warned_at = self.now()
        logger.warning(
            "Possible SECURITY ATTACK detected: a client sends POST or Host: lines, likely a "
            "browser that is misused to send commands. Connection from %s aborted.",
            session.endpoint.address,
        )

    # What sessions report of themselves

    def admit(self, session: Session, transport: asyncio.Transport) -> None:
        """Register a new client, or tell it why it may not come in."""
        self.doorway.coming.pop(session, None)
        is_full = self._is_full()
        if self._is_closed:
            session.abort()
        elif is_full and not self.reserve.is_open:
            self._turn_away(session, transport, _TOO_MANY)
        elif self._is_protected_from(session):
            self._turn_away(session, transport, _PROTECTED)
        else:
            session.client_id = self._next_client_id
            self._next_client_id += 1
            self.clients[session.client_id] = session
            self.stats.connections += 1
            if is_full:
                self.reserve.take_on_trial(session)

    def _is_full(self) -> bool:
        return self._places_taken >= self.options.maxclients

    def _is_shut(self) -> bool:
        """Whether not even a sentinel may begin TLS. Who it is, it can only say behind that."""
        more = PLACES if self.reserve.is_open else 0
        return self._places_taken >= self.options.maxclients + more

    @property
    def _places_taken(self) -> int:
        return len(self.clients) - len(self.reserve) + len(self.doorway.coming)

    def _end_trial(self, session: Session) -> None:
        """Tell one that was no sentinel what it would have been told at once."""
        self.reserve.forget(session)
        self.stats.rejected_connections += 1
        session.push(_TOO_MANY)
        session.close()

    def _is_protected_from(self, session: Session) -> bool:
        if not self.options.protected_mode or not self.acl.default.nopass:
            return False
        return not session.endpoint.is_local

    def _turn_away(self, session: Session, transport: asyncio.Transport, text: bytes) -> None:
        self.stats.rejected_connections += 1
        transport.write(text)
        session.close()

    def _shut_out(self, connection: socket.socket) -> None:
        """Close one too many on the TLS port; to tell it why would take a handshake."""
        self.stats.rejected_connections += 1
        connection.close()

    def forget(self, session: Session) -> None:
        self.clients.pop(session.client_id, None)
        self.reserve.forget(session)
        if session.channels or session.patterns:
            self.pubsub.forget(session)

    def _keep_house(self) -> None:
        """Once a second: what no request and no reply would bring up."""
        loop = asyncio.get_running_loop()
        self._housekeeping = loop.call_later(HOUSEKEEPING_S, self._keep_house)
        now = self.ticked_at = self.now()
        self.stats.sample(now)
        idle_ms = self.options.timeout_s * 1000
        sessions = list(self.clients.values())
        self.stats.max_unread_bytes = max((it.input_bytes for it in sessions), default=0)
        self.stats.max_unsent_bytes = max((it.output_bytes for it in sessions), default=0)
        for session in sessions:
            may_idle = session.subscription_count or session.is_handed_over
            if idle_ms and not may_idle and now - session.active_at > idle_ms:
                session.abort()
            else:
                session.check_output_limit()


def _close_all(sockets: list[socket.socket]) -> None:
    for opened in sockets:
        opened.close()
