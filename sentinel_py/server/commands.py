"""What a command is, and the table that finds it.

The handlers stand in the modules named after their family (`client_commands`, `acl_commands`, ...);
this module must not import them, nor anything that does IO. The rule guarded: what COMMAND says
about a command, what ACL rules know of it and what dispatch checks are read from the same entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sentinel_py.resp import Error, Reply, Simple, to_text
from sentinel_py.values import dataclass

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

Answer: TypeAlias = "Reply | asyncio.Future[Reply]"
# A handler must not change its arguments: the same list may be given to it again.
Handler: TypeAlias = "Callable[[Session, list[bytes]], Answer]"

# All categories an ACL rule may name, in the order in which they are listed. Most have no command
# here.
CATEGORIES = (
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap"),
    *("hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking"),
    *("dangerous", "connection", "transaction", "scripting"),
)

# Words of ours that tell what SENTINEL MASTERS tells are closed to whom that is closed.
READS_MASTERS = ("sentinel|masters",)

# Redis cuts what it repeats of an unknown command.
MAX_QUOTED_BYTES = 128


class Channels(Enum):
    """Which arguments are names that the user's channel rules have to allow."""

    NONE = "none"
    FIRST = "first"
    ALL = "all"
    ALL_PATTERNS = "all patterns"


class Lasts(Enum):
    """How long the reply to the same words stays the same, for every client that may ask."""

    NOT = "not"  # the command does something, or the reply depends on who asks
    INSTANT = "instant"  # until the clock moves, or the state does
    STEP = "step"  # until the state moves


@dataclass(frozen=True, slots=True)
class Docs:
    """What COMMAND DOCS tells; `arguments` is in the notation of `command_docs`."""

    summary: str
    since: str
    group: str = "server"
    complexity: str = "O(1)"
    arguments: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """One command or subcommand; a container has subcommands and usually no handler of its own."""

    name: str  # the full name in lower case, a subcommand's as `client|list`
    arity: int  # counts all words; negative means at least
    handler: Handler | None = None
    flags: tuple[str, ...] = ()
    extra_categories: tuple[str, ...] = ()  # beside those that the flags imply
    channels: Channels = Channels.NONE
    tips: tuple[str, ...] = ()
    docs: Docs | None = None
    # In COMMAND LIST, which has each command of redis-sentinel under one name.
    is_listed: bool = True
    lasts: Lasts = Lasts.NOT
    # What peers send in bursts: carried out while replies to others of these are still awaited.
    overlaps: bool = False
    # The name that ACL rules know it by, where it is a second name of another command.
    alias_of: str = ""
    # The commands that a user must have the right to, beside this one, to say these words: what is
    # no word of redis-sentinel must not be more than an old rule means to give.
    also_needs: Callable[[Sequence[bytes]], tuple[str, ...]] | None = None
    # Whether these words need neither a login nor a right, since they bring a proof of their own.
    proves_itself: Callable[[Sequence[bytes]], bool] | None = None
    subcommands: Mapping[bytes, Command] = field(default_factory=dict)

    @property
    def categories(self) -> tuple[str, ...]:
        """The ACL categories, in the order of CATEGORIES."""
        implied = {*self.extra_categories, "fast" if "fast" in self.flags else "slow"}
        if "admin" in self.flags:
            implied |= {"admin", "dangerous"}
        if "pubsub" in self.flags:
            implied.add("pubsub")
        return tuple(category for category in CATEGORIES if category in implied)

    @property
    def needs_no_auth(self) -> bool:
        return "no_auth" in self.flags

    @property
    def acl_name(self) -> str:
        return self.alias_of or self.name

    def accepts(self, word_count: int) -> bool:
        return word_count == self.arity or word_count >= -self.arity > 0

    def channel_arguments(self, args: Sequence[bytes]) -> Sequence[bytes]:
        """The arguments that `channels` speaks of; `args` begins with the command's name."""
        match self.channels:
            case Channels.NONE:
                return ()
            case Channels.FIRST:
                return args[1:2]
            case Channels.ALL | Channels.ALL_PATTERNS:
                return args[1:]


def subcommand_map(subcommands: Iterable[Command]) -> dict[bytes, Command]:
    """Index subcommands by the word that a client writes, in lower case."""
    return {command.name.partition("|")[2].encode(): command for command in subcommands}


class CommandTable:
    """The commands of this server, with and without the names that `rename-command` gave them."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self.by_word = {command.name.encode(): command for command in commands}
        # Under their own names, subcommands included: ACL rules do not follow renames.
        self.by_name = {command.name: command for command in _walk(self.by_word.values())}

    def rename(self, word: str, new_word: str) -> None:
        """Carry out one `rename-command` line; an empty new word removes the command.

        ValueError has the text for the operator.
        """
        key, new_key = word.lower().encode(), new_word.lower().encode()
        if key not in self.by_word:
            raise ValueError("No such command in rename-command")
        command = self.by_word.pop(key)
        if not new_key:
            return
        if new_key in self.by_word:
            raise ValueError("Target command name already exists")
        self.by_word[new_key] = command

    def find(self, args: Sequence[bytes]) -> Command | None:
        """The command or subcommand that these words call."""
        command = self.by_word.get(args[0].lower())
        if command is None or not command.subcommands or len(args) == 1:
            return command
        return command.subcommands.get(args[1].lower())

    def find_by_name(self, name: bytes) -> Command | None:
        """The command written as `ping` or `client|list`."""
        word, bar, subword = name.partition(b"|")
        command = self.by_word.get(word.lower())
        if command is None or not bar:
            return command
        return command.subcommands.get(subword.lower())

    def every(self) -> Iterator[Command]:
        """All commands a client can call, each container followed by its subcommands."""
        return _walk(self.by_word.values())


def _walk(commands: Iterable[Command]) -> Iterator[Command]:
    for command in commands:
        yield command
        yield from _walk(command.subcommands.values())


class Host(Protocol):
    """What the server needs of the node behind it."""

    @property
    def run_id(self) -> str: ...

    @property
    def myid(self) -> str: ...

    @property
    def config_file(self) -> str: ...

    def master_names(self) -> list[str]: ...

    def receive_hello(self, payload: str) -> None: ...

    def info_sections(self) -> list[tuple[str, list[tuple[str, object]]]]:
        """Title and pairs of the INFO sections behind CPU."""
        ...

    def shutdown(self) -> None: ...


def help_reply(args: list[bytes], lines: Iterable[str]) -> Reply:
    """The reply to `<container> HELP`."""
    container = to_text(args[0]).upper()
    head = f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    return [Simple(line) for line in (head, *lines, "HELP", "    Print this help.")]


def wrong_arity(command: Command) -> Error:
    return Error(f"ERR wrong number of arguments for '{command.name}' command")


def unknown_command(args: list[bytes]) -> Error:
    quoted = b""
    for arg in args[1:]:
        if len(quoted) >= MAX_QUOTED_BYTES:
            break
        quoted += b"'%b' " % _cut(arg, MAX_QUOTED_BYTES - len(quoted))
    name = quotable(args[0])
    return Error(f"ERR unknown command '{name}', with args beginning with: {to_text(quoted)}")


def unknown_subcommand(args: list[bytes]) -> Error:
    container = to_text(args[0]).upper()
    return Error(f"ERR unknown subcommand '{quotable(args[1])}'. Try {container} HELP.")


def subcommand_syntax_error(args: list[bytes]) -> Error:
    """For a subcommand that has an upper limit of words which its arity does not tell."""
    name, container = quotable(args[1]), to_text(args[0]).upper()
    return Error(
        f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    )


def quotable(word: bytes) -> str:
    """What an error text repeats of a client's word."""
    return to_text(_cut(word, MAX_QUOTED_BYTES))


def _cut(word: bytes, limit: int) -> bytes:
    return word.partition(b"\0")[0][:limit]
