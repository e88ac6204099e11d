"""The CLIENT subcommands about the calling connection, and the table of all of them."""

# ruff: noqa: ARG001 (handlers share one signature)
from __future__ import annotations

import re

from sentinel_py.resp import (
    NO_REPLY,
    NOT_AN_INTEGER,
    OK,
    SYNTAX_ERROR,
    Error,
    parse_integer,
    to_text,
)
from sentinel_py.server.client_kill import client_kill
from sentinel_py.server.client_list import client_info, client_list
from sentinel_py.server.commands import (
    Answer,
    Command,
    Docs,
    Handler,
    help_reply,
    subcommand_map,
    subcommand_syntax_error,
)
from sentinel_py.server.session import QUIET_ALWAYS, QUIET_NEVER, QUIET_NEXT, Session
from sentinel_py.server.tracking import (
    client_caching,
    client_getredir,
    client_tracking,
    client_trackinginfo,
)

# CLIENT LIST is split at blanks: names must not have any.
_PRINTABLE = re.compile(rb"[!-~]*")

BAD_NAME = Error("ERR Client names cannot contain spaces, newlines or special characters.")


def is_printable(word: bytes) -> bool:
    return _PRINTABLE.fullmatch(word) is not None


def client_id(session: Session, args: list[bytes]) -> Answer:
    return session.client_id


def client_getname(session: Session, args: list[bytes]) -> Answer:
    return session.name or None


def client_setname(session: Session, args: list[bytes]) -> Answer:
    if not is_printable(args[2]):
        return BAD_NAME
    session.name = args[2]
    return OK


def client_setinfo(session: Session, args: list[bytes]) -> Answer:
    attribute, value = args[2], args[3]
    if attribute.lower() not in (b"lib-name", b"lib-ver"):
        return Error(f"ERR Unrecognized option '{to_text(attribute)}'")
    if not is_printable(value):
        name = to_text(attribute)
        return Error(f"ERR {name} cannot contain spaces, newlines or special characters.")
    if attribute.lower() == b"lib-name":
        session.lib_name = value
    else:
        session.lib_ver = value
    return OK


def client_reply(session: Session, args: list[bytes]) -> Answer:
    match args[2].lower():
        case b"on":
            session.quiet = QUIET_NEVER
            return OK
        case b"off":
            session.quiet = QUIET_ALWAYS
            return NO_REPLY
        case b"skip":
            if session.quiet != QUIET_ALWAYS:
                session.quiet = QUIET_NEXT
            return NO_REPLY
    return SYNTAX_ERROR


def client_no_evict(session: Session, args: list[bytes]) -> Answer:
    word = args[2].lower()
    if word not in (b"on", b"off"):
        return SYNTAX_ERROR
    session.no_evict = word == b"on"
    return OK


def client_pause(session: Session, args: list[bytes]) -> Answer:
    """Checked and accepted: what it would hold back are writes of data, and there are none."""
    if len(args) > 4:
        return subcommand_syntax_error(args)
    if len(args) == 4 and args[3].lower() not in (b"write", b"all"):
        return Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
    timeout_ms = parse_integer(args[2])
    if timeout_ms is None:
        return Error("ERR timeout is not an integer or out of range")
    return OK if timeout_ms >= 0 else Error("ERR timeout is negative")


def client_unpause(session: Session, args: list[bytes]) -> Answer:
    return OK


def client_unblock(session: Session, args: list[bytes]) -> Answer:
    """No command of a Sentinel blocks, so there is never a client to unblock."""
    if len(args) > 4:
        return subcommand_syntax_error(args)
    if len(args) == 4 and args[3].lower() not in (b"timeout", b"error"):
        return Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    return NOT_AN_INTEGER if parse_integer(args[2]) is None else 0


def client_help(session: Session, args: list[bytes]) -> Answer:
    return help_reply(args, _HELP)


_HELP = """\
CACHING (YES|NO)
    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.
GETREDIR
    Return the client ID we are redirecting to when tracking is enabled.
GETNAME
    Return the name of the current connection.
ID
    Return the ID of the current connection.
INFO
    Return information about the current client connection.
KILL <ip:port>
    Kill connection made from <ip:port>.
KILL <option> <value> [<option> <value> [...]]
    Kill connections. Options are:
    * ADDR (<ip:port>|<unixsocket>:0)
      Kill connections made from the specified address
    * LADDR (<ip:port>|<unixsocket>:0)
      Kill connections made to specified local address
    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)
      Kill connections by type.
    * USER <username>
      Kill connections authenticated by <username>.
    * SKIPME (YES|NO)
      Skip killing current connection (default: yes).
    * ID <client-id>
      Kill connections by client id.
    * MAXAGE <maxage>
      Kill connections older than the specified age.
LIST [options ...]
    Return information about client connections. Options:
    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)
      Return clients of specified type.
UNPAUSE
    Stop the current client pause, resuming traffic.
PAUSE <timeout> [WRITE|ALL]
    Suspend all, or just write, clients for <timeout> milliseconds.
REPLY (ON|OFF|SKIP)
    Control the replies sent to the current connection.
SETNAME <name>
    Assign the name <name> to the current connection.
SETINFO <option> <value>
    Set client meta attr. Options are:
    * LIB-NAME: the client lib name.
    * LIB-VER: the client lib version.
UNBLOCK <clientid> [TIMEOUT|ERROR]
    Unblock the specified blocked client.
TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]
         [OPTIN] [OPTOUT] [NOLOOP]
    Control server assisted client side caching.
TRACKINGINFO
    Report tracking status for the current connection.
NO-EVICT (ON|OFF)
    Protect current client connection from eviction.""".splitlines()

_FLAGS = ("noscript", "loading", "stale")
_ADMIN = ("admin", *_FLAGS)
_UNSTABLE = ("nondeterministic_output",)


def _subcommand(
    name: str,
    arity: int,
    handler: Handler,
    summary: str,
    since: str,
    *,
    arguments: str = "",
    flags: tuple[str, ...] = _FLAGS,
    tips: tuple[str, ...] = (),
    complexity: str = "O(1)",
) -> Command:
    return Command(
        f"client|{name}",
        arity,
        handler,
        flags=flags,
        extra_categories=("connection",),
        tips=tips,
        docs=Docs(summary, since, "connection", complexity, arguments),
    )


_PER_CLIENT = "O(N) where N is the number of client connections"
_TYPE_WORDS = "TYPE <NORMAL|MASTER|REPLICA|PUBSUB>"


_SUBCOMMANDS = (
    _subcommand(
        "caching",
        3,
        client_caching,
        "Instructs the server whether to track the keys in the next request.",
        "6.0.0",
        arguments="<YES|NO>",
    ),
    _subcommand("getname", 2, client_getname, "Returns the name of the connection.", "2.6.9"),
    _subcommand(
        "getredir",
        2,
        client_getredir,
        "Returns the client ID to which the tracking notifications are redirected.",
        "6.0.0",
    ),
    _subcommand(
        "help",
        2,
        client_help,
        "Returns helpful text about the different subcommands.",
        "5.0.0",
        flags=("loading", "stale"),
    ),
    _subcommand("id", 2, client_id, "Returns the unique client ID of the connection.", "5.0.0"),
    _subcommand(
        "info",
        2,
        client_info,
        "Returns information about the connection.",
        "6.2.0",
        tips=_UNSTABLE,
    ),
    _subcommand(
        "kill",
        -3,
        client_kill,
        "Terminates open connections.",
        "2.4.0",
        arguments=f"addr|<[ID client-id:integer] [{_TYPE_WORDS}] [USER username] "
        "[ADDR addr] [LADDR laddr] [SKIPME <YES|NO>] [MAXAGE maxage:integer]> ...",
        flags=_ADMIN,
        complexity=_PER_CLIENT,
    ),
    _subcommand(
        "list",
        -2,
        client_list,
        "Lists open connections.",
        "2.4.0",
        arguments=f"[{_TYPE_WORDS}] [ID client-id:integer ...]",
        flags=_ADMIN,
        tips=_UNSTABLE,
        complexity=_PER_CLIENT,
    ),
    _subcommand(
        "no-evict",
        3,
        client_no_evict,
        "Sets the client eviction mode of the connection.",
        "7.0.0",
        arguments="<ON|OFF>",
        flags=_ADMIN,
    ),
    _subcommand(
        "pause",
        -3,
        client_pause,
        "Suspends commands processing.",
        "2.9.50",
        arguments="timeout:integer [WRITE|ALL]",
        flags=_ADMIN,
    ),
    _subcommand(
        "reply",
        3,
        client_reply,
        "Instructs the server whether to reply to commands.",
        "3.2.0",
        arguments="<ON|OFF|SKIP>",
    ),
    _subcommand(
        "setinfo",
        4,
        client_setinfo,
        "Sets information specific to the client or connection.",
        "7.2.0",
        arguments="<LIB-NAME libname>|<LIB-VER libver>",
        tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    ),
    _subcommand(
        "setname",
        3,
        client_setname,
        "Sets the connection name.",
        "2.6.9",
        arguments="connection-name",
    ),
    _subcommand(
        "tracking",
        -3,
        client_tracking,
        "Controls server-assisted client-side caching for the connection.",
        "6.0.0",
        arguments="<ON|OFF> [REDIRECT client-id:integer] [PREFIX prefix ...] "
        "[BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    ),
    _subcommand(
        "trackinginfo",
        2,
        client_trackinginfo,
        "Returns information about server-assisted client-side caching for the connection.",
        "6.2.0",
    ),
    _subcommand(
        "unblock",
        -3,
        client_unblock,
        "Unblocks a client blocked by a blocking command from a different connection.",
        "5.0.0",
        arguments="client-id:integer [TIMEOUT|ERROR]",
        flags=_ADMIN,
    ),
    _subcommand(
        "unpause",
        2,
        client_unpause,
        "Resumes processing commands from paused clients.",
        "6.2.0",
        flags=_ADMIN,
    ),
)

CLIENT_COMMAND = Command(
    "client",
    -2,
    subcommands=subcommand_map(_SUBCOMMANDS),
    docs=Docs(
        "A container for client connection commands.",
        "2.4.0",
        "connection",
        "Depends on subcommand.",
    ),
)
