"""A user: how to log in as this user, and what it may do.

Pure. The rules guarded: passwords are kept as SHA-256 only and compared in constant time, and a
change is applied whole or not at all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace

from sentinel_py.acl.log import Reason
from sentinel_py.acl.rules import Permissions, RuleError
from sentinel_py.quoting import split_args
from sentinel_py.resp import to_bytes, to_text
from sentinel_py.server.commands import Channels, Command
from sentinel_py.values import dataclass

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Denial:
    """What a user may not do: run the command, or use the channel, that `object` names."""

    reason: Reason
    object: str


@dataclass(slots=True, eq=False)
class User:
    """A user, and the permissions outside of parentheses (root) and inside (selectors)."""

    name: str
    root: Permissions
    pubsub_default_all: bool
    enabled: bool = False
    nopass: bool = False
    sanitize_payload: bool = True
    password_hashes: list[str] = field(default_factory=list)
    selectors: list[Permissions] = field(default_factory=list)
    # Derived: the commands that need no further look.
    permitted: frozenset[str] = frozenset()

    @classmethod
    def new(cls, name: str, table: Mapping[str, Command], pubsub_default_all: bool) -> User:
        """A user as it is before its first rule: off, without passwords and permissions."""
        user = cls(name, Permissions(table, all_channels=pubsub_default_all), pubsub_default_all)
        user._derive()
        return user

    def change(self, rules: Iterable[str]) -> None:
        """Apply all rules or, if RuleError is raised, none."""
        staged = self._copy()
        for rule in merge_selectors(rules):
            try:
                staged.apply(rule)
            except RuleError as error:
                error.rule = rule
                raise
        self.become(staged)

    def become(self, other: User) -> None:
        """Take over everything but the name."""
        self.root, self.selectors = other.root, other.selectors
        self.enabled, self.nopass = other.enabled, other.nopass
        self.sanitize_payload = other.sanitize_payload
        self.password_hashes = other.password_hashes
        self._derive()

    def _copy(self) -> User:
        return replace(
            self,
            root=self.root.copy(),
            password_hashes=list(self.password_hashes),
            selectors=[selector.copy() for selector in self.selectors],
        )

    def _derive(self) -> None:
        names = (permissions.permitted_names() for permissions in (self.root, *self.selectors))
        self.permitted = frozenset().union(*names)

    def apply(self, rule: str) -> None:
        if not rule:
            return
        if word := _USER_WORDS.get(rule.lower()):
            word(self)
        elif sign := _USER_SIGNS.get(rule[0]):
            sign(self, rule[1:])
        elif rule[0] == "(" and rule[-1] == ")":
            self._add_selector(rule[1:-1])
        else:
            self.root.apply(rule)

    def _set_enabled(self, enabled: bool) -> None:
        self.enabled = enabled

    def _set_sanitize(self, sanitize: bool) -> None:
        self.sanitize_payload = sanitize

    def _set_nopass(self, nopass: bool) -> None:
        self.nopass = nopass
        self.password_hashes.clear()

    def _reset(self) -> None:
        self.become(User.new(self.name, self.root.table, self.pubsub_default_all))

    def _add_hash(self, digest: str) -> None:
        if digest not in self.password_hashes:
            self.password_hashes.append(digest)
        self.nopass = False

    def _remove_hash(self, digest: str) -> None:
        if digest not in self.password_hashes:
            raise RuleError("The password you are trying to remove from the user does not exist")
        self.password_hashes.remove(digest)

    def _add_selector(self, rules: str) -> None:
        selector = Permissions(self.root.table, all_channels=self.pubsub_default_all)
        words = split_args(to_bytes(rules))
        for word in words or ():
            selector.apply(to_text(word))
        self.selectors.append(selector)

    def flags(self) -> list[str]:
        return [
            "on" if self.enabled else "off",
            *(["nopass"] if self.nopass else []),
            "sanitize-payload" if self.sanitize_payload else "skip-sanitize-payload",
        ]

    def describe(self) -> str:
        """The rules that make this user, as ACL LIST and the configuration show them."""
        hashes = [f"#{digest}" for digest in self.password_hashes]
        selectors = [f"({selector.describe()})" for selector in self.selectors]
        return " ".join([*self.flags(), *hashes, self.root.describe(), *selectors])

    def has_password(self, password: bytes) -> bool:
        digest = hashlib.sha256(password).hexdigest()
        matches = [hmac.compare_digest(digest, known) for known in self.password_hashes]
        return self.nopass or any(matches)

    def check(self, command: Command, args: Sequence[bytes]) -> Denial | None:
        """The reason why these words may not be run, or None.

        With several selectors the reason is that of the one that came furthest.
        """
        if command.name in self.permitted:
            return None
        furthest = -1
        channels = command.channel_arguments(args)
        for permissions in (self.root, *self.selectors):
            if not permissions.allows_command(command, args):
                continue
            index = _first_refused(permissions, command, channels)
            if index is None:
                return None
            furthest = max(furthest, index)
        if furthest < 0:
            return Denial(Reason.COMMAND, command.name)
        return Denial(Reason.CHANNEL, to_text(channels[furthest]))

    def may_keep(self, channels: Iterable[bytes], patterns: Iterable[bytes]) -> bool:
        """Whether subscriptions made earlier are still permitted."""
        everything = (self.root, *self.selectors)

        def allowed(name: bytes, is_pattern: bool) -> bool:
            return any(it.allows_channel(name, is_pattern=is_pattern) for it in everything)

        return all(allowed(name, False) for name in channels) and all(
            allowed(name, True) for name in patterns
        )


def _first_refused(
    permissions: Permissions, command: Command, channels: Sequence[bytes]
) -> int | None:
    is_pattern = command.channels is Channels.ALL_PATTERNS
    for index, channel in enumerate(channels):
        if not permissions.allows_channel(channel, is_pattern=is_pattern):
            return index
    return None


def _hash_of(password: str) -> str:
    return hashlib.sha256(to_bytes(password)).hexdigest()


def _checked_hash(digest: str) -> str:
    if not _HASH.fullmatch(digest):
        raise RuleError(
            "The password hash must be exactly 64 characters and contain only lowercase "
            "hexadecimal characters"
        )
    return digest


_USER_WORDS: dict[str, Callable[[User], None]] = {
    "on": lambda user: user._set_enabled(True),
    "off": lambda user: user._set_enabled(False),
    "nopass": lambda user: user._set_nopass(True),
    "resetpass": lambda user: user._set_nopass(False),
    "sanitize-payload": lambda user: user._set_sanitize(True),
    "skip-sanitize-payload": lambda user: user._set_sanitize(False),
    "clearselectors": lambda user: user.selectors.clear(),
    "reset": User._reset,
}
_USER_SIGNS: dict[str, Callable[[User, str], None]] = {
    ">": lambda user, rest: user._add_hash(_hash_of(rest)),
    "#": lambda user, rest: user._add_hash(_checked_hash(rest)),
    "<": lambda user, rest: user._remove_hash(_hash_of(rest)),
    "!": lambda user, rest: user._remove_hash(_checked_hash(rest)),
}


def merge_selectors(rules: Iterable[str]) -> list[str]:
    """Join the words of a selector in parentheses that was split at its blanks."""
    merged: list[str] = []
    opened: list[str] = []
    for rule in rules:
        if opened or (rule.startswith("(") and not rule.endswith(")")):
            opened.append(rule)
            if rule.endswith(")"):
                merged.append(" ".join(opened))
                opened.clear()
        else:
            merged.append(rule)
    if opened:
        raise RuleError(f"Unmatched parenthesis in acl selector starting at '{opened[0]}'.")
    return merged
