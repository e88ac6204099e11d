"""The ACL subcommands.

Whatever changes users ends in `Server.permissions_changed`, so that open connections comply at
once.
"""

# ruff: noqa: ARG001 (handlers share one signature)
from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from sentinel_py.acl.acl import DEFAULT_USER, AclError, is_valid_name
from sentinel_py.acl.log import AclLogEntry, Reason
from sentinel_py.acl.rules import Permissions, RuleError
from sentinel_py.resp import (
    NOT_AN_INTEGER,
    OK,
    Error,
    Reply,
    Set,
    parse_integer,
    to_text,
)
from sentinel_py.server.commands import (
    CATEGORIES,
    Answer,
    Command,
    Docs,
    Handler,
    help_reply,
    quotable,
    subcommand_map,
    subcommand_syntax_error,
)

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

GENPASS_DEFAULT_BITS = 256
GENPASS_MAX_BITS = 4096
LOG_DEFAULT_COUNT = 10

_NO_FILE = Error(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users "
    "via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "
    "configuration file set) in order to store users in the Redis configuration."
)


# Users


def acl_whoami(session: Session, args: list[bytes]) -> Answer:
    return session.user.name


def acl_users(session: Session, args: list[bytes]) -> Answer:
    return sorted(session.server.acl.users)


def acl_list(session: Session, args: list[bytes]) -> Answer:
    return session.server.acl.describe_users()


def acl_getuser(session: Session, args: list[bytes]) -> Answer:
    user = session.server.acl.users.get(to_text(args[2]))
    if user is None:
        return None
    return {
        "flags": Set(user.flags()),
        "passwords": list(user.password_hashes),
        **_permissions(user.root),
        "selectors": [_permissions(selector) for selector in user.selectors],
    }


def _permissions(permissions: Permissions) -> dict[str, Reply]:
    return {
        "commands": permissions.describe_commands(),
        "keys": " ".join(permissions.describe_keys()),
        "channels": " ".join(permissions.describe_channels()),
    }


def acl_setuser(session: Session, args: list[bytes]) -> Answer:
    name, *rules = map(to_text, args[2:])
    if not is_valid_name(name):
        return Error("ERR Usernames can't contain spaces or null characters")
    try:
        session.server.acl.set_user(name, rules)
    except RuleError as error:
        if error.rule is None:
            return Error(f"ERR {error}")
        return Error(f"ERR Error in ACL SETUSER modifier '{error.rule}': {error}")
    session.server.permissions_changed()
    return OK


def acl_deluser(session: Session, args: list[bytes]) -> Answer:
    names = [to_text(word) for word in args[2:]]
    if DEFAULT_USER in names:
        return Error("ERR The 'default' user cannot be removed")
    deleted = sum(session.server.acl.delete_user(name) for name in names)
    session.server.permissions_changed()
    return deleted


# What is permitted


def acl_cat(session: Session, args: list[bytes]) -> Answer:
    if len(args) == 2:
        return CATEGORIES
    if len(args) > 3:
        return subcommand_syntax_error(args)
    category = to_text(args[2]).lower()
    if category not in CATEGORIES:
        return Error(f"ERR Unknown category '{quotable(args[2])}'")
    commands = session.server.table.by_name.values()
    return [command.name for command in commands if category in command.categories]


def acl_dryrun(session: Session, args: list[bytes]) -> Answer:
    user = session.server.acl.users.get(to_text(args[2]))
    if user is None:
        return Error(f"ERR User '{to_text(args[2])}' not found")
    words = args[3:]
    command = session.server.table.find(words)
    if command is None:
        return Error(f"ERR Command '{to_text(words[0])}' not found")
    if not command.accepts(len(words)):
        return Error(f"ERR wrong number of arguments for '{command.name}' command")
    denial = user.check(command, words)
    if denial is None:
        return OK
    if denial.reason is Reason.CHANNEL:
        return f"User {user.name} has no permissions to access the '{denial.object}' channel"
    return f"User {user.name} has no permissions to run the '{denial.object}' command"


def acl_genpass(session: Session, args: list[bytes]) -> Answer:
    if len(args) > 3:
        return subcommand_syntax_error(args)
    bits = parse_integer(args[2]) if len(args) == 3 else GENPASS_DEFAULT_BITS
    if bits is None:
        return NOT_AN_INTEGER
    if not 0 < bits <= GENPASS_MAX_BITS:
        return Error(
            "ERR ACL GENPASS argument must be the number of bits for the output password, "
            f"a positive number up to {GENPASS_MAX_BITS}"
        )
    digits = (bits + 3) // 4
    return secrets.token_hex((digits + 1) // 2)[:digits]


# The log and the file


def acl_log(session: Session, args: list[bytes]) -> Answer:
    log = session.server.acl.log
    if len(args) > 3:
        return subcommand_syntax_error(args)
    if len(args) == 3 and args[2].lower() == b"reset":
        log.clear()
        return OK
    count = parse_integer(args[2]) if len(args) == 3 else LOG_DEFAULT_COUNT
    if count is None:
        return NOT_AN_INTEGER
    now = time.time_ns() // 1_000_000
    return [_log_entry(entry, now) for entry in log.entries[: max(count, 0)]]


def _log_entry(entry: AclLogEntry, now: int) -> Reply:
    return {
        "count": entry.count,
        "reason": entry.reason.value,
        "context": "toplevel",
        "object": entry.object,
        "username": entry.username,
        "age-seconds": (now - entry.updated_at) / 1000,
        "client-info": entry.client_info,
        "entry-id": entry.entry_id,
        "timestamp-created": entry.created_at,
        "timestamp-last-updated": entry.updated_at,
    }


def acl_load(session: Session, args: list[bytes]) -> Answer:
    if session.server.acl.store is None:
        return _NO_FILE
    try:
        session.server.acl.load()
    except AclError as error:
        return Error(f"ERR {error}")
    session.server.permissions_changed()
    return OK


def acl_save(session: Session, args: list[bytes]) -> Answer:
    if session.server.acl.store is None:
        return _NO_FILE
    try:
        session.server.acl.save()
    except OSError:
        return Error(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more "
            "information"
        )
    return OK


def acl_help(session: Session, args: list[bytes]) -> Answer:
    return help_reply(args, _HELP)


_HELP = """\
CAT [<category>]
    List all commands that belong to <category>, or all command categories
    when no category is specified.
DELUSER <username> [<username> ...]
    Delete a list of users.
DRYRUN <username> <command> [<arg> ...]
    Returns whether the user can execute the given command without executing the command.
GETUSER <username>
    Get the user's details.
GENPASS [<bits>]
    Generate a secure 256-bit user password. The optional `bits` argument can
    be used to specify a different size.
LIST
    Show users details in config file format.
LOAD
    Reload users from the ACL file.
LOG [<count> | RESET]
    Show the ACL log entries.
SAVE
    Save the current config to the ACL file.
SETUSER <username> <attribute> [<attribute> ...]
    Create or modify a user with the specified attributes.
USERS
    List all the registered usernames.
WHOAMI
    Return the current connection username.""".splitlines()

_FLAGS = ("noscript", "loading", "stale")
_ADMIN = ("admin", *_FLAGS)
_PER_USER = "O(N). Where N is the number of configured users."


def _subcommand(
    name: str,
    arity: int,
    handler: Handler,
    summary: str,
    *,
    since: str = "6.0.0",
    arguments: str = "",
    flags: tuple[str, ...] = _ADMIN,
    complexity: str = "O(1)",
) -> Command:
    docs = Docs(summary, since, complexity=complexity, arguments=arguments)
    return Command(f"acl|{name}", arity, handler, flags=flags, docs=docs)


_SUBCOMMANDS = (
    _subcommand(
        "cat",
        -2,
        acl_cat,
        "Lists the ACL categories, or the commands inside a category.",
        arguments="[category]",
        flags=_FLAGS,
    ),
    _subcommand(
        "deluser",
        -3,
        acl_deluser,
        "Deletes ACL users, and terminates their connections.",
        arguments="username ...",
    ),
    _subcommand(
        "dryrun",
        -4,
        acl_dryrun,
        "Simulates the execution of a command by a user, without executing the command.",
        since="7.0.0",
        arguments="username command [arg ...]",
    ),
    _subcommand(
        "genpass",
        -2,
        acl_genpass,
        "Generates a pseudorandom, secure password that can be used to identify ACL users.",
        arguments="[bits:integer]",
        flags=_FLAGS,
    ),
    _subcommand(
        "getuser",
        3,
        acl_getuser,
        "Lists the ACL rules of a user.",
        arguments="username",
        complexity="O(N). Where N is the number of rules that the user has.",
    ),
    _subcommand(
        "help",
        2,
        acl_help,
        "Returns helpful text about the different subcommands.",
        flags=("loading", "stale"),
    ),
    _subcommand(
        "list",
        2,
        acl_list,
        "Dumps the effective rules in ACL file format.",
        complexity=_PER_USER,
    ),
    _subcommand(
        "load",
        2,
        acl_load,
        "Reloads the rules from the configured ACL file.",
        complexity=_PER_USER,
    ),
    _subcommand(
        "log",
        -2,
        acl_log,
        "Lists recent security events generated due to ACL rules.",
        arguments="[count:integer|RESET]",
        complexity="O(N) with N being the number of entries shown.",
    ),
    _subcommand(
        "save",
        2,
        acl_save,
        "Saves the effective ACL rules in the configured ACL file.",
        complexity=_PER_USER,
    ),
    _subcommand(
        "setuser",
        -3,
        acl_setuser,
        "Creates and modifies an ACL user and its rules.",
        arguments="username [rule ...]",
        complexity="O(N). Where N is the number of rules provided.",
    ),
    _subcommand("users", 2, acl_users, "Lists all ACL users.", complexity=_PER_USER),
    _subcommand(
        "whoami",
        2,
        acl_whoami,
        "Returns the authenticated username of the current connection.",
        flags=_FLAGS,
    ),
)

ACL_COMMAND = Command(
    "acl",
    -2,
    subcommands=subcommand_map(_SUBCOMMANDS),
    docs=Docs(
        "A container for Access List Control commands.",
        "6.0.0",
        complexity="Depends on subcommand.",
    ),
)
