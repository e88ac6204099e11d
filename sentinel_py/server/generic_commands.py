"""The commands of every Redis server that a Sentinel has too, and the list of all base commands."""

# ruff: noqa: ARG001 (handlers share one signature)
from __future__ import annotations

from typing import TYPE_CHECKING

from sentinel_py.acl.commands import ACL_COMMAND
from sentinel_py.acl.log import Reason
from sentinel_py.resp import (
    NO_REPLY,
    OK,
    RESP2,
    RESP3,
    SYNTAX_ERROR,
    Error,
    Raw,
    parse_integer,
    to_text,
)
from sentinel_py.server.client_commands import BAD_NAME, CLIENT_COMMAND, is_printable
from sentinel_py.server.command_docs import COMMAND_COMMAND
from sentinel_py.server.commands import Answer, Command, Docs, Lasts
from sentinel_py.server.pubsub import PUBSUB_COMMANDS
from sentinel_py.values import dataclass
from sentinel_py.version import REDIS_VERSION

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

_PONG = Raw(b"+PONG\r\n")
_WRONG_PASSWORD = Error("WRONGPASS invalid username-password pair or user is disabled.")

_HELLO_NEEDS_AUTH = Error(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
    "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP "
    "protocol version at the same time"
)


def ping(session: Session, args: list[bytes]) -> Answer:
    if len(args) > 2:
        return Error("ERR wrong number of arguments for 'ping' command")
    if session.is_in_subscriber_mode:
        return ["pong", args[1] if len(args) == 2 else ""]
    return args[1] if len(args) == 2 else _PONG


def auth(session: Session, args: list[bytes]) -> Answer:
    if len(args) > 3:
        return SYNTAX_ERROR
    default = session.server.acl.default
    if len(args) == 2 and default.nopass:
        return Error(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    name = args[1] if len(args) == 3 else default.name.encode()
    return OK if _log_in(session, args, name, args[-1]) else _WRONG_PASSWORD


def _log_in(session: Session, args: list[bytes], name: bytes, password: bytes) -> bool:
    user = session.server.acl.authenticate(name, password)
    if user is None:
        session.server.log_denial(session, Reason.AUTH, to_text(args[0]), to_text(name))
        return False
    session.log_in(user)
    return True


def hello(session: Session, args: list[bytes]) -> Answer:
    protocol = session.protocol
    if len(args) > 1:
        wanted = parse_integer(args[1])
        if wanted is None:
            return Error("ERR Protocol version is not an integer or out of range")
        if wanted not in (RESP2, RESP3):
            return Error("NOPROTO unsupported protocol version")
        protocol = wanted
    options = _hello_options(args[2:])
    if isinstance(options, Error):
        return options
    if options.credentials and not _log_in(session, args, *options.credentials):
        return _WRONG_PASSWORD
    if session.needs_auth:
        return _HELLO_NEEDS_AUTH
    if options.name is not None:
        session.name = options.name
    session.protocol = protocol
    session.refresh()
    return {
        "server": "redis",
        "version": REDIS_VERSION,
        "proto": protocol,
        "id": session.client_id,
        "mode": "sentinel",
        "modules": [],
    }


@dataclass(slots=True)
class _HelloOptions:
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None


def _hello_options(words: list[bytes]) -> _HelloOptions | Error:
    """Read all options before any takes effect, so that a bad one leaves everything as it was."""
    options = _HelloOptions()
    while words:
        match [words[0].lower(), *words[1:]]:
            case [b"auth", user, password, *rest]:
                options.credentials = (user, password)
            case [b"setname", name, *rest]:
                if not is_printable(name):
                    return BAD_NAME
                options.name = name
            case _:
                return Error(f"ERR Syntax error in HELLO option '{to_text(words[0])}'")
        words = rest
    return options


def info(session: Session, args: list[bytes]) -> Answer:
    # Bytes: it is never the same twice, so it had better not be kept as other texts are.
    return session.server.info.render(map(to_text, args[1:]))


def role(session: Session, args: list[bytes]) -> Answer:
    return ["sentinel", session.server.host.master_names()]


_SHUTDOWN_WORDS = {b"nosave", b"save", b"now", b"force", b"abort"}


def shutdown(session: Session, args: list[bytes]) -> Answer:
    words = {word.lower() for word in args[1:]}
    if words - _SHUTDOWN_WORDS or words >= {b"save", b"nosave"}:
        return SYNTAX_ERROR
    if b"abort" in words:
        return SYNTAX_ERROR if len(words) > 1 else Error("ERR No shutdown in progress.")
    session.server.host.shutdown()
    return NO_REPLY


_ALWAYS = ("noscript", "loading", "stale")
_BEFORE_AUTH = (*_ALWAYS, "fast", "no_auth", "allow_busy")

_GENERIC_COMMANDS = (
    Command(
        "auth",
        -2,
        auth,
        flags=_BEFORE_AUTH,
        extra_categories=("connection",),
        docs=Docs(
            "Authenticates the connection.",
            "1.0.0",
            "connection",
            "O(N) where N is the number of passwords defined for the user",
            "[username] password",
        ),
    ),
    Command(
        "hello",
        -1,
        hello,
        flags=_BEFORE_AUTH,
        extra_categories=("connection",),
        docs=Docs(
            "Handshakes with the server.",
            "6.0.0",
            "connection",
            arguments="[protover:integer [AUTH <username password>] [SETNAME clientname]]",
        ),
    ),
    Command(
        "info",
        -1,
        info,
        flags=("loading", "stale"),
        extra_categories=("dangerous",),
        tips=(
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ),
        docs=Docs(
            "Returns information and statistics about the server.",
            "1.0.0",
            arguments="[section ...]",
        ),
    ),
    Command(
        "ping",
        -1,
        ping,
        flags=("fast",),
        lasts=Lasts.STEP,
        overlaps=True,
        extra_categories=("connection",),
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
        docs=Docs(
            "Returns the server's liveliness response.",
            "1.0.0",
            "connection",
            arguments="[message]",
        ),
    ),
    Command(
        "role",
        1,
        role,
        flags=(*_ALWAYS, "fast"),
        extra_categories=("admin", "dangerous"),
        docs=Docs("Returns the role of the instance and the masters it watches.", "2.8.12"),
    ),
    Command(
        "shutdown",
        -1,
        shutdown,
        flags=("admin", *_ALWAYS, "no_multi", "allow_busy"),
        docs=Docs(
            "Shuts down the server.",
            "1.0.0",
            arguments="[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]",
        ),
    ),
)


def base_commands() -> list[Command]:
    """All commands but SENTINEL."""
    return [ACL_COMMAND, CLIENT_COMMAND, COMMAND_COMMAND, *PUBSUB_COMMANDS, *_GENERIC_COMMANDS]
