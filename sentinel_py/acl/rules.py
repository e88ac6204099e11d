"""One set of ACL permissions: commands, channels and key patterns, as rules change and describe
them.

Pure. A user has one such set at its root and may have more in parentheses. The rule guarded: a set
that is described and rebuilt from its description permits exactly the same.

A Sentinel has no keys, but key patterns are part of what is written to the configuration, so they
are kept and given back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from sentinel_py.core.glob import glob_match
from sentinel_py.resp import to_bytes
from sentinel_py.server.commands import CATEGORIES, Channels, Command
from sentinel_py.values import dataclass

_TEXT_AFTER_ALL = (
    "Adding a pattern after the * pattern (or the '{flag}' flag) is not valid and does not have "
    "any effect. Try '{reset}' to start with an empty list of {what}"
)


class RuleError(Exception):
    """A rule that cannot be applied; the text is the reason shown to the operator."""

    rule: str | None = None  # the rule as written, filled in where it is known


class UnknownNameError(RuleError):
    """A rule about a command or category that does not exist."""

    def __init__(self) -> None:
        super().__init__("Unknown command or category name in ACL")


def syntax_error() -> RuleError:
    return RuleError("Syntax error")


@dataclass(slots=True)
class Permissions:
    """What one selector permits."""

    table: Mapping[str, Command]
    starts_from_all: bool = False  # described as +@all, else as -@all
    allowed: set[str] = field(default_factory=set)
    allowed_first_words: dict[str, list[str]] = field(default_factory=dict)
    command_rules: list[str] = field(default_factory=list)
    all_channels: bool = False
    channel_patterns: list[str] = field(default_factory=list)
    all_keys: bool = False
    key_patterns: dict[str, str] = field(default_factory=dict)  # pattern -> "R", "W" or "RW"

    def copy(self) -> Permissions:
        return replace(
            self,
            allowed=set(self.allowed),
            allowed_first_words={
                name: list(words) for name, words in self.allowed_first_words.items()
            },
            command_rules=list(self.command_rules),
            channel_patterns=list(self.channel_patterns),
            key_patterns=dict(self.key_patterns),
        )

    # Changing

    def apply(self, rule: str) -> None:
        """Carry out one rule; RuleError leaves the permissions as they were."""
        if whole := _WHOLE_RULES.get(rule.lower()):
            whole(self)
        elif by_sign := _RULES_BY_SIGN.get(rule[:1]):
            by_sign(self, rule)
        else:
            raise syntax_error()

    def _set_all_commands(self, allow: bool) -> None:
        self.starts_from_all = allow
        self.allowed = set(self.table) if allow else set()
        self.allowed_first_words.clear()
        self.command_rules.clear()

    def _set_all_channels(self, allow: bool) -> None:
        self.all_channels = allow
        self.channel_patterns.clear()

    def _set_all_keys(self, allow: bool) -> None:
        self.all_keys = allow
        self.key_patterns.clear()

    def _change_commands(self, rule: str) -> None:
        allow, name = rule[0] == "+", rule[1:].lower()
        if name.startswith("@"):
            self._change_category(name, allow)
        elif command := self.table.get(name):
            self._change_command(command, allow)
            self._remember(command.acl_name, allow)
        elif allow and "|" in name:
            self._allow_first_word(name)
        else:
            raise UnknownNameError

    def _change_category(self, name: str, allow: bool) -> None:
        if name[1:] not in CATEGORIES:
            raise UnknownNameError
        for command in self.table.values():
            if name[1:] in command.categories:
                self._change_command(command, allow)
        self._remember(name, allow)

    def _change_command(self, command: Command, allow: bool) -> None:
        change = self.allowed.add if allow else self.allowed.discard
        change(command.acl_name)
        for subcommand in command.subcommands.values():
            change(subcommand.acl_name)
        self.allowed_first_words.pop(command.name, None)

    def _allow_first_word(self, name: str) -> None:
        """Allow `ping|word`: a command that has no subcommands, with this first argument only."""
        name, _, word = name.rpartition("|")
        command = self.table.get(name)
        if command is None or (command.subcommands and word):
            raise UnknownNameError
        if "|" in name:
            raise RuleError("Allowing first-arg of a subcommand is not supported")
        if not word:
            raise syntax_error()
        word = _pattern(word)  # a line end would begin another line of the file
        words = self.allowed_first_words.setdefault(name, [])
        if word not in words:
            words.append(word)
        self._remember(f"{name}|{word}", allow=True)

    def _remember(self, name: str, allow: bool) -> None:
        """Keep the rule for the description, in place of the rules that it makes void."""
        self.command_rules = [
            rule
            for rule in self.command_rules
            if rule[1:] != name and not rule[1:].startswith(name + "|")
        ]
        self.command_rules.append(("+" if allow else "-") + name)

    def _add_channel_pattern(self, rule: str) -> None:
        if self.all_channels:
            raise RuleError(
                _TEXT_AFTER_ALL.format(flag="allchannels", reset="resetchannels", what="channels")
            )
        pattern = _pattern(rule[1:])
        if pattern not in self.channel_patterns:
            self.channel_patterns.append(pattern)

    def _add_key_pattern(self, rule: str) -> None:
        if self.all_keys:
            raise RuleError(
                _TEXT_AFTER_ALL.format(flag="allkeys", reset="resetkeys", what="patterns")
            )
        access, _, pattern = rule[1:].partition("~") if rule[0] == "%" else ("RW", "", rule[1:])
        access = "".join(sorted(access.upper()))
        if access not in ("R", "W", "RW"):
            raise syntax_error()
        pattern = _pattern(pattern)
        known = self.key_patterns.get(pattern, "")
        self.key_patterns[pattern] = "".join(sorted({*known, *access}))

    # Describing

    def describe(self) -> str:
        parts = [
            *self.describe_keys(),
            *([] if self.all_channels else ["resetchannels"]),
            *self.describe_channels(),
            self.describe_commands(),
        ]
        return " ".join(parts)

    def describe_commands(self) -> str:
        return " ".join(["+@all" if self.starts_from_all else "-@all", *self.command_rules])

    def describe_channels(self) -> list[str]:
        return ["&*"] if self.all_channels else [f"&{name}" for name in self.channel_patterns]

    def describe_keys(self) -> list[str]:
        if self.all_keys:
            return ["~*"]
        return [
            f"~{pattern}" if access == "RW" else f"%{access}~{pattern}"
            for pattern, access in self.key_patterns.items()
        ]

    # Asking

    def permitted_names(self) -> set[str]:
        """The commands that are permitted whatever their arguments are."""
        return {
            command.name
            for command in self.table.values()
            if self._allows_name(command)
            and command.also_needs is None
            and (self.all_channels or command.channels is Channels.NONE)
        }

    def allows_command(self, command: Command, args: Sequence[bytes]) -> bool:
        if command.also_needs and not self.allowed.issuperset(command.also_needs(args)):
            return False
        if self._allows_name(command):
            return True
        words = self.allowed_first_words.get(command.name, ())
        return len(args) > 1 and args[1].lower() in map(to_bytes, words)

    def _allows_name(self, command: Command) -> bool:
        return command.acl_name in self.allowed or command.needs_no_auth

    def allows_channel(self, channel: bytes, *, is_pattern: bool) -> bool:
        """A pattern to subscribe to is allowed only if the rules have it literally."""
        if self.all_channels:
            return True
        patterns = map(to_bytes, self.channel_patterns)
        if is_pattern:
            return channel in patterns
        return any(glob_match(pattern, channel) for pattern in patterns)


def _pattern(text: str) -> str:
    if any(char.isspace() or char == "\0" for char in text):
        raise syntax_error()
    return text


_WHOLE_RULES: dict[str, Callable[[Permissions], None]] = {
    word: action
    for words, action in (
        (("+@all", "allcommands"), lambda it: it._set_all_commands(True)),
        (("-@all", "nocommands"), lambda it: it._set_all_commands(False)),
        (("&*", "allchannels"), lambda it: it._set_all_channels(True)),
        (("resetchannels",), lambda it: it._set_all_channels(False)),
        (("~*", "allkeys"), lambda it: it._set_all_keys(True)),
        (("resetkeys",), lambda it: it._set_all_keys(False)),
    )
    for word in words
}
_RULES_BY_SIGN: dict[str, Callable[[Permissions, str], None]] = {
    "+": Permissions._change_commands,
    "-": Permissions._change_commands,
    "&": Permissions._add_channel_pattern,
    "~": Permissions._add_key_pattern,
    "%": Permissions._add_key_pattern,
}
