"""One client connection: bytes in, table look-up, bytes out.

There is no task and no queue on the way of a request: the replies to a chunk leave in one write
before `data_received` returns. Commands are not known here, nor are other clients.

The rules guarded: replies leave in the order of their requests, whatever else is sent meanwhile; a
client that does not read its replies is not read from; after a protocol error nothing more is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, cast

from sentinel_py.acl.log import Reason
from sentinel_py.endpoint import Endpoint
from sentinel_py.resp import NO_REPLY, RESP2, Error, ProtocolError, Raw, Reply, encode
from sentinel_py.server.commands import (
    Answer,
    Command,
    Lasts,
    unknown_command,
    unknown_subcommand,
    wrong_arity,
)
from sentinel_py.server.ready import NOTHING_READY, ByChunk, ReadyReply
from sentinel_py.server.request_parser import (
    Request,
    RequestParser,
    RequestTooLargeError,
    known_requests,
)
from sentinel_py.server.terms import SUBSCRIBER_COMMANDS, Terms, terms_of

if TYPE_CHECKING:
    from sentinel_py.acl.user import User
    from sentinel_py.server.server import Server
    from sentinel_py.server.tracking import Tracking

logger = logging.getLogger(__name__)

# A client is not read from while more than this waits to be sent to it; pipelines end here.
OUTPUT_HIGH_MARK_BYTES = 1024 * 1024
OUTPUT_LOW_MARK_BYTES = 256 * 1024
# Replies are handed to the transport no later than when they are this long together.
FLUSH_BYTES = 256 * 1024

# `quiet` counts the replies that are not sent; CLIENT REPLY SKIP counts itself and the next one.
QUIET_NEVER = 0
QUIET_NEXT = 2
QUIET_ALWAYS = -1

# A browser that is made to talk to us says these; it must not get to the lines it would add.
_HTTP_WORDS = (b"post", b"host:")


class Session(asyncio.Protocol):
    """One client. Handlers read and change its public attributes."""

    # What a client that asks one thing and leaves never has is not made for it. These, the parser
    # made late and the terms looked up save 2.8 us of the 4.9 that a connection takes here.
    client_id = 0
    authenticated = False
    protocol = RESP2
    name = lib_name = lib_ver = b""
    tracking: Tracking | None = None
    quiet = QUIET_NEVER
    no_evict = False
    last_command: Command | None = None
    closing = False
    is_handed_over = False
    # Whether what it was handed over to goes on only as long as its user may begin such a thing.
    depends_on_user = True
    # Whether it came when all was full, and has yet to show that it is another sentinel.
    is_on_trial = False
    _endpoint: Endpoint | None = None
    _parser: RequestParser | None = None
    _rest: Iterator[Request] = iter(())
    _is_processing = False
    _closes_after_reply = False
    # Halted: requests are not carried out and not read, for one of the two reasons below.
    _halted = False
    _output_full = False
    _over_soft_limit_at: int | None = None

    def __init__(self, server: Server) -> None:
        self.server = server
        self.user = server.acl.default
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.created_at = self.active_at = server.ticked_at
        self._stats = server.stats
        self._out: list[bytes] = []
        self._delayed: list[bytes] = []
        self._awaited: deque[Reply | asyncio.Future[Reply]] = deque()
        self._instant = server.instant
        # Of chunks, those to which the replies cannot differ from what another client got.
        self._ready: ByChunk
        if server.newcomer is None:
            server.newcomer = terms_of(self)
        self.authenticated = not server.newcomer.needs_auth
        self._take(server.newcomer)

    # What the transport reports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(OUTPUT_HIGH_MARK_BYTES, OUTPUT_LOW_MARK_BYTES)
        self.server.admit(self, self._transport)

    def data_received(self, data: bytes) -> None:
        ready = self._ready.get(data)
        if ready is not None and (ready.instant is None or ready.instant == self._instant()):
            self._send_ready(ready, len(data))
            return
        if self._halted:
            # TLS delivers what it had decrypted before it was told to stop.
            assert self.closing
            return
        self.active_at = self.server.ticked_at
        stats = self._stats
        stats.reads += 1
        stats.input_bytes += len(data)
        errors, may_keep = stats.error_replies, self._ready is not NOTHING_READY
        self._rest = self._parsing().feed(data)
        written = self._process()
        if may_keep and self._ready is not NOTHING_READY and errors == stats.error_replies:
            self._keep(data, b"".join(written))

    def pause_writing(self) -> None:
        self._output_full = True
        self._halt()

    def resume_writing(self) -> None:
        self._output_full = False
        self._go_on()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closing = True
        self.server.forget(self)

    # Requests

    def _send_ready(self, ready: ReadyReply, size: int) -> None:
        """Answer a chunk as it was answered before; all that is counted is counted."""
        self.active_at = self.server.ticked_at
        self.last_command = ready.command
        stats = self._stats
        stats.reads += 1
        stats.input_bytes += size
        stats.commands += ready.requests
        self._write(ready.data)

    def _keep(self, chunk: bytes, replies: bytes) -> None:
        """Have the replies ready for whoever sends the same chunk while they are true."""
        command = self.last_command
        if command is None or command.lasts is Lasts.NOT or not replies:
            return
        requests = known_requests(chunk) or []
        found = [self.server.table.find(args) for args in requests]
        lasting = {it.lasts if it else Lasts.NOT for it in found}
        if not requests or Lasts.NOT in lasting:
            return
        instant = self._instant() if Lasts.INSTANT in lasting else None
        reply = ReadyReply(replies, len(requests), command, instant)
        self.server.ready.keep(self.protocol, chunk, reply)

    def _process(self) -> list[bytes]:
        """Carry out requests until none is left or something has to be waited for.

        Returns what was written.
        """
        self._is_processing = True
        written: list[bytes] = []
        count = size = 0
        try:
            for args in self._rest:
                if self._awaited and not self._overlaps(args):
                    self._rest = chain((args,), self._rest)
                    break
                count += 1
                answer = self._execute(args)
                if self._awaited or isinstance(answer, asyncio.Future):
                    self._wait_for(answer)
                    continue
                if type(answer) is not Raw or self.quiet:
                    answer = self._encode(answer)
                self._out.append(answer)
                size += len(answer)
                if size > FLUSH_BYTES:
                    written.append(self._flush())
                    size = 0
                if self._delayed:
                    self._deliver_delayed()
                if self._halted:
                    break
        except RequestTooLargeError:
            logger.warning("Client %s closed: its request is too large.", self.endpoint.address)
            self.abort()
        except ProtocolError as error:
            if self._awaited:
                self._rest = _Failing(error)
            else:
                self._out.append(self._encode(Error(f"ERR {error}")))
                self.close_after_reply()
        finally:
            self._stats.commands += count
            self._is_processing = False
            written.append(self._flush())
            self._look_out()
        return written

    def _look_out(self) -> None:
        """Look for ready replies from here on, if a look is all it takes to answer a chunk."""
        parser = self._parser
        is_plain = not (self._halted or self.quiet or (parser and parser.is_midway))
        self._ready = self._known_replies if is_plain else NOTHING_READY

    def _execute(self, args: Request) -> Answer:
        command = self.last_command = self.server.table.by_word.get(args[0].lower())
        if command is None:
            return self._unknown(args)
        if command.subcommands and len(args) > 1:
            command = self.last_command = command.subcommands.get(args[1].lower())
            if command is None:
                return unknown_subcommand(args)
        if len(args) != command.arity and not command.accepts(len(args)):
            return wrong_arity(command)
        if command.name not in self._permitted and (refusal := self._refusal(command, args)):
            return refusal
        assert command.handler is not None
        return command.handler(self, args)

    def _unknown(self, args: Request) -> Answer:
        if args[0].lower() in _HTTP_WORDS:
            self.server.warn_of_http(self)
            self.abort()
            return NO_REPLY
        return unknown_command(args)

    def _refusal(self, command: Command, args: Request) -> Error | None:
        """Why a command is refused that is not permitted at first sight."""
        if self.is_on_trial:
            return self._refusal_on_trial(command, args)
        return self._refusal_of(command, args)

    def _refusal_on_trial(self, command: Command, args: Request) -> Error | None:
        reserve = self.server.reserve
        if not reserve.may_say(command, args):
            self.server.stats.rejected_connections += 1
            self.close_after_reply()
            return Error("ERR max number of clients reached")
        refusal = self._refusal_of(command, args)
        if refusal is None:
            reserve.said(self, command, args)
        return refusal

    def _refusal_of(self, command: Command, args: Request) -> Error | None:
        if command.proves_itself and command.proves_itself(args):
            return None
        if self.needs_auth and not command.needs_no_auth:
            return Error("NOAUTH Authentication required.")
        if denial := self.user.check(command, args):
            self.server.log_denial(self, denial.reason, denial.object, self.user.name)
            if denial.reason is Reason.CHANNEL:
                return Error("NOPERM No permissions to access a channel")
            who, what = self.user.name, command.name
            return Error(f"NOPERM User {who} has no permissions to run the '{what}' command")
        if self.is_in_subscriber_mode and command.name not in SUBSCRIBER_COMMANDS:
            return Error(
                f"ERR Can't execute '{command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / "
                "PING / QUIT / RESET are allowed in this context"
            )
        return None

    @property
    def endpoint(self) -> Endpoint:
        """Looked up when somebody asks: that is dear, and most clients come and go unseen."""
        if self._endpoint is None:
            self._endpoint = Endpoint.of(self._transport)
        return self._endpoint

    @property
    def subscription_count(self) -> int:
        return len(self.channels) + len(self.patterns)

    def log_in(self, user: User) -> None:
        self.user = user
        self.authenticated = True
        self.refresh()

    def refresh(self) -> None:
        """Derive anew what depends on the user, the protocol and the subscriptions."""
        self._take(terms_of(self))
        self._look_out()

    def _take(self, terms: Terms) -> None:
        (
            self.needs_auth,
            self.is_in_subscriber_mode,
            self._permitted,
            self._output_limit,
            self._known_replies,
        ) = terms
        self._ready = self._known_replies
        if self._parser is not None:
            self._parser.authenticated = not self.needs_auth

    def _parsing(self) -> RequestParser:
        if self._parser is None:
            options = self.server.options
            self._parser = RequestParser(
                options.proto_max_bulk_len, options.client_query_buffer_limit
            )
            self._parser.authenticated = not self.needs_auth
        return self._parser

    # Waiting

    def _halt(self) -> None:
        if not self._halted and not self.closing:
            self._halted = True
            self._ready = NOTHING_READY
            self._transport.pause_reading()

    def _go_on(self) -> None:
        if self.closing or self._output_full or self._awaited:
            return
        self._halted = False
        self._process()
        if not self._halted and not self.closing:
            self._transport.resume_reading()

    def _overlaps(self, args: Request) -> bool:
        """Whether a request need not wait for those before it.

        Votes of one chunk, for as many masters, are saved together and not one after the other.
        When half of 300 masters died, the last had waited for more than a second.
        """
        command = self.server.table.find(args)
        return command is not None and command.overlaps

    def _wait_for(self, answer: Answer) -> None:
        """Send this reply behind all that are awaited."""
        self._awaited.append(answer)
        self._halt()
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Reply]) -> None:
        if answer.cancelled():
            self.abort()
        elif self.closing:
            answer.exception()  # nobody is left to tell
        elif self._awaited:
            self._send_awaited()

    def _send_awaited(self) -> None:
        """Send the replies that have come, as far as none before them is missing."""
        awaited = self._awaited
        while awaited:
            reply = awaited[0]
            if isinstance(reply, asyncio.Future):
                if not reply.done():
                    return
                reply = reply.result()
            awaited.popleft()
            self._out.append(self._encode(reply))
        self._deliver_delayed()
        self._go_on()

    # Output

    def _encode(self, reply: Reply) -> bytes:
        if isinstance(reply, Error):
            self._stats.error_replies += 1
        if self.quiet:
            self.quiet -= self.quiet > 0
            return NO_REPLY
        return encode(reply, self.protocol)

    def push(self, message: bytes) -> None:
        """Send what is no reply: behind the replies that are ready, ahead of those that are not."""
        if self.closing:
            return
        self._out.append(message)
        if not self._is_processing:
            self._flush()

    def deliver(self, message: bytes) -> None:
        """Send a subscriber's message; what its own request causes comes behind the reply."""
        if self._is_processing:
            self._delayed.append(message)
        else:
            self.push(message)

    def _deliver_delayed(self) -> None:
        self._out += self._delayed
        self._delayed.clear()

    def _flush(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        if data and not self.closing:
            self._write(data)
        if self._closes_after_reply and not self.closing:
            self.close()
        return data

    def _write(self, data: bytes) -> None:
        self._stats.writes += 1
        self._stats.output_bytes += len(data)
        self._transport.write(data)
        if self._output_limit is not None:
            self.check_output_limit()

    @property
    def output_bytes(self) -> int:
        """What waits to be sent."""
        return self._transport.get_write_buffer_size()

    @property
    def input_bytes(self) -> int:
        """What is held of an unfinished request."""
        return self._parser.pending_bytes if self._parser else 0

    def check_output_limit(self) -> None:
        """Close the client if it left too much unread, or a good deal for too long."""
        limit = self._output_limit
        if self.closing or limit is None:
            return
        waiting, now = self._transport.get_write_buffer_size(), self.server.now()
        if not 0 < limit.soft_bytes <= waiting:
            self._over_soft_limit_at = None
        elif self._over_soft_limit_at is None:
            self._over_soft_limit_at = now
        over_soft_ms = now - (self._over_soft_limit_at or now)
        if limit.is_exceeded(waiting, over_soft_ms):
            where = self.endpoint.address
            logger.warning("Client %s closed for overcoming of output buffer limits.", where)
            self.abort()

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Leave what comes behind the present request to another protocol.

        It has to pass `connection_lost` on; the connection stays in the list of clients.
        """
        self.is_handed_over = True
        self._transport.set_protocol(protocol)
        return self._transport

    # Ending

    def close_after_reply(self) -> None:
        """Send what is ready, the reply to the current request included, and do nothing more."""
        self._closes_after_reply = True
        self._halt()

    def kill(self) -> None:
        """Close at once, but let a client that is being served have its reply."""
        if self._is_processing:
            self.close_after_reply()
        else:
            self.abort()

    def close(self) -> None:
        """Close once everything is sent."""
        self._end()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._end()
        self._transport.abort()

    def _end(self) -> None:
        self.closing = self._halted = True
        self._ready = NOTHING_READY


class _Failing(Iterator[Request]):
    """Requests of which the next one makes no sense."""

    def __init__(self, error: ProtocolError) -> None:
        self._error = error

    def __next__(self) -> Request:
        raise self._error
