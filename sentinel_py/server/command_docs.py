"""The COMMAND family: what commands there are, and how they are used.

All is read from the command table, so that it cannot differ from what dispatch and ACL rules use.
"""

# ruff: noqa: ARG001 (handlers share one signature)
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sentinel_py.core.glob import glob_match
from sentinel_py.resp import SYNTAX_ERROR, Error, Reply, Set, Simple, to_text
from sentinel_py.server.commands import Answer, Command, Docs, Handler, help_reply, subcommand_map
from sentinel_py.server.notation import parse_notation

if TYPE_CHECKING:
    from sentinel_py.server.session import Session


def _info(command: Command) -> Reply:
    """The ten elements of COMMAND INFO; no command here has keys."""
    return [
        command.name,
        command.arity,
        Set(map(Simple, command.flags)),
        *(0, 0, 0),
        Set(Simple(f"@{category}") for category in command.categories),
        Set(command.tips),
        Set(),
        [_info(it) for it in command.subcommands.values()] or Set(),
    ]


def _docs(command: Command) -> dict[str, Reply]:
    parts: dict[str, Reply] = {}
    if docs := command.docs:
        parts |= {"summary": docs.summary, "since": docs.since, "group": docs.group}
        parts["complexity"] = docs.complexity
        if docs.arguments:
            parts["arguments"] = [it.reply() for it in parse_notation(docs.arguments)]
    if command.subcommands:
        parts["subcommands"] = {it.name: _docs(it) for it in command.subcommands.values()}
    return parts


def command(session: Session, args: list[bytes]) -> Answer:
    return [_info(it) for it in session.server.table.by_word.values()]


def command_count(session: Session, args: list[bytes]) -> Answer:
    return len(session.server.table.by_word)


def command_info(session: Session, args: list[bytes]) -> Answer:
    if len(args) == 2:
        return command(session, args)
    found = map(session.server.table.find_by_name, args[2:])
    return [_info(it) if it else None for it in found]


def command_docs(session: Session, args: list[bytes]) -> Answer:
    table = session.server.table
    if len(args) == 2:
        return {it.name: _docs(it) for it in table.by_word.values()}
    found = map(table.find_by_name, args[2:])
    return {it.name: _docs(it) for it in found if it}


_FILTERS: dict[bytes, Callable[[Command, bytes], bool]] = {
    b"module": lambda _it, _name: False,
    b"aclcat": lambda it, name: to_text(name).lower() in it.categories,
    b"pattern": lambda it, name: glob_match(name, it.name.encode(), ignore_case=True),
}


def command_list(session: Session, args: list[bytes]) -> Answer:
    every = [it for it in session.server.table.every() if it.is_listed]
    if len(args) == 2:
        return [it.name for it in every]
    if len(args) != 5 or args[2].lower() != b"filterby":
        return SYNTAX_ERROR
    matches = _FILTERS.get(args[3].lower())
    if matches is None:
        return SYNTAX_ERROR
    return [it.name for it in every if matches(it, args[4])]


def command_getkeys(session: Session, args: list[bytes]) -> Answer:
    if session.server.table.find(args[2:]) is None:
        return Error("ERR Invalid command specified")
    return Error("ERR The command has no key arguments")


def command_help(session: Session, args: list[bytes]) -> Answer:
    return help_reply(args, _HELP)


_HELP = """\
(no subcommand)
    Return details about all Redis commands.
COUNT
    Return the total number of commands in this Redis server.
LIST
    Return a list of all commands in this Redis server.
INFO [<command-name> ...]
    Return details about multiple Redis commands.
    If no command names are given, documentation details for all
    commands are returned.
DOCS [<command-name> ...]
    Return documentation details about multiple Redis commands.
    If no command names are given, documentation details for all
    commands are returned.
GETKEYS <full-command>
    Return the keys from a full Redis command.
GETKEYSANDFLAGS <full-command>
    Return the keys and the access flags from a full Redis command.""".splitlines()

_UNORDERED = ("nondeterministic_output_order",)
_PER_COMMAND = "O(N) where N is the number of commands to look up"
_PER_WORD = "O(N) where N is the number of arguments to the command"


def _entry(
    name: str,
    arity: int,
    handler: Handler,
    docs: Docs,
    *,
    tips: tuple[str, ...] = (),
    subcommands: tuple[Command, ...] = (),
) -> Command:
    return Command(
        name,
        arity,
        handler,
        flags=("loading", "stale"),
        extra_categories=("connection",),
        tips=tips,
        docs=docs,
        subcommands=subcommand_map(subcommands),
    )


_SUBCOMMANDS = (
    _entry("command|count", 2, command_count, Docs("Returns a count of commands.", "2.8.13")),
    _entry(
        "command|docs",
        -2,
        command_docs,
        Docs(
            "Returns documentary information about one, multiple or all commands.",
            "7.0.0",
            complexity=_PER_COMMAND,
            arguments="[command-name ...]",
        ),
        tips=_UNORDERED,
    ),
    _entry(
        "command|getkeys",
        -4,
        command_getkeys,
        Docs(
            "Extracts the key names from an arbitrary command.",
            "2.8.13",
            complexity=_PER_WORD,
            arguments="command [arg ...]",
        ),
    ),
    _entry(
        "command|getkeysandflags",
        -4,
        command_getkeys,
        Docs(
            "Extracts the key names and access flags for an arbitrary command.",
            "7.0.0",
            complexity=_PER_WORD,
            arguments="command [arg ...]",
        ),
    ),
    _entry(
        "command|help",
        2,
        command_help,
        Docs("Returns helpful text about the different subcommands.", "5.0.0"),
    ),
    _entry(
        "command|info",
        -2,
        command_info,
        Docs(
            "Returns information about one, multiple or all commands.",
            "2.8.13",
            complexity=_PER_COMMAND,
            arguments="[command-name ...]",
        ),
        tips=_UNORDERED,
    ),
    _entry(
        "command|list",
        -2,
        command_list,
        Docs(
            "Returns a list of command names.",
            "7.0.0",
            complexity="O(N) where N is the total number of commands",
            arguments="[FILTERBY <<MODULE module-name>|<ACLCAT category>|"
            "<PATTERN pattern:pattern>>]",
        ),
        tips=_UNORDERED,
    ),
)

COMMAND_COMMAND = _entry(
    "command",
    -1,
    command,
    Docs(
        "Returns detailed information about all commands.",
        "2.8.13",
        complexity="O(N) where N is the total number of commands",
    ),
    tips=_UNORDERED,
    subcommands=_SUBCOMMANDS,
)
