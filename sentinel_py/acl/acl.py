"""The users of this server: set up from the configuration, changed by ACL commands, asked at log-
in.

Pure: the ACL file is read and written by callables that are handed in. The rule guarded: a User
object lives as long as its name, so that connections can hold it and see every change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sentinel_py.acl.log import DEFAULT_MAX_ENTRIES, AclLog
from sentinel_py.acl.rules import RuleError, UnknownNameError
from sentinel_py.acl.user import User, merge_selectors
from sentinel_py.resp import to_text
from sentinel_py.server.commands import CommandTable
from sentinel_py.values import dataclass

DEFAULT_USER = "default"
_DEFAULT_USER_RULES = ("+@all", "~*", "&*", "on", "nopass")


class AclError(Exception):
    """Users that cannot be set up as written; the text is the whole line for the operator."""


@dataclass(frozen=True, slots=True)
class AclStore:
    """The ACL file; `read` and `write` raise OSError."""

    path: str
    read: Callable[[], str]
    write: Callable[[str], None]


class Acl:
    """All users by name. There is always one named default: connections begin as it."""

    def __init__(
        self,
        table: CommandTable,
        *,
        pubsub_default_all: bool = False,
        log_max_len: int = DEFAULT_MAX_ENTRIES,
        store: AclStore | None = None,
    ) -> None:
        self.table = table
        self.log = AclLog(log_max_len)
        self.store = store
        self._pubsub_default_all = pubsub_default_all
        self.users = {DEFAULT_USER: self._new_default()}

    @classmethod
    def from_config(
        cls,
        table: CommandTable,
        *,
        requirepass: str | None = None,
        user_lines: Iterable[Sequence[str]] = (),
        pubsub_default_all: bool = False,
        log_max_len: int = DEFAULT_MAX_ENTRIES,
        store: AclStore | None = None,
    ) -> Acl:
        """Set up the users of the configuration; each user line is its words behind `user`."""
        acl = cls(
            table, pubsub_default_all=pubsub_default_all, log_max_len=log_max_len, store=store
        )
        if requirepass:
            acl.default.change(["resetpass", f">{requirepass}"])
        configured: set[str] = set()
        for name, *rules in user_lines:
            acl._configure(name, rules, is_duplicate=name in configured)
            configured.add(name)
        if store is not None:
            acl._load_at_start(configured)
        return acl

    @property
    def default(self) -> User:
        return self.users[DEFAULT_USER]

    @property
    def default_needs_password(self) -> bool:
        """Whether a connection has to log in before it may do anything."""
        return not (self.default.nopass and self.default.enabled)

    def authenticate(self, name: bytes, password: bytes) -> User | None:
        """The user who may log in with these, if there is one."""
        user = self.users.get(to_text(name))
        if user is None or not user.enabled:
            return None
        return user if user.has_password(password) else None

    def set_user(self, name: str, rules: Iterable[str]) -> None:
        """Create or change a user; RuleError changes nothing."""
        user = self.users.get(name) or self._new(name)
        user.change(rules)
        self.users[name] = user

    def delete_user(self, name: str) -> bool:
        assert name != DEFAULT_USER
        return self.users.pop(name, None) is not None

    def holds(self, user: User) -> bool:
        """Whether this user still exists."""
        return self.users.get(user.name) is user

    def describe_users(self) -> list[str]:
        """The `user ...` lines of the configuration, sorted by name."""
        return [f"user {name} {self.users[name].describe()}" for name in sorted(self.users)]

    def save(self) -> None:
        """Write the ACL file; OSError if that fails."""
        assert self.store is not None
        self.store.write("".join(f"{line}\n" for line in self.describe_users()))

    def load(self) -> None:
        """Replace all users by those of the ACL file; AclError changes nothing."""
        assert self.store is not None
        try:
            text = self.store.read()
        except OSError as error:
            raise AclError(
                f"Error loading ACLs, opening file '{self.store.path}': {error.strerror}"
            ) from error
        loaded, errors = self._read_lines(self.store.path, text)
        if errors:
            raise AclError(
                f"{errors}WARNING: ACL errors detected, "
                "no change to the previously active ACL rules was performed"
            )
        loaded.setdefault(DEFAULT_USER, self._new_default())
        known = self.users
        self.users = {name: known.get(name, user) for name, user in loaded.items()}
        for name, user in loaded.items():
            self.users[name].become(user)

    def _new(self, name: str) -> User:
        return User.new(name, self.table.by_name, self._pubsub_default_all)

    def _new_default(self) -> User:
        user = self._new(DEFAULT_USER)
        user.change(_DEFAULT_USER_RULES)
        return user

    def _configure(self, name: str, rules: list[str], *, is_duplicate: bool) -> None:
        if is_duplicate:
            raise AclError(
                f"Error in user declaration '{name}': "
                "Duplicate user found. A user can only be defined once in config files"
            )
        if not is_valid_name(name):
            raise AclError("Spaces not allowed in ACL usernames")
        try:
            self.set_user(name, ["reset", *rules])
        except UnknownNameError as error:
            raise AclError(
                f"Error loading ACL rule '{error.rule}' for the user named '{name}': {error}"
            ) from error
        except RuleError as error:
            raise AclError(f"Error in user declaration '{name}': {error}") from error

    def _load_at_start(self, configured: set[str]) -> None:
        if configured:
            raise AclError(
                "Configuring users in the configuration file and setting an ACL file at the same "
                "time is invalid: declare users in one of them, not in both"
            )
        try:
            self.load()
        except AclError as error:
            raise AclError(f"Aborting startup because of ACL errors: {error}") from error

    def _read_lines(self, path: str, text: str) -> tuple[dict[str, User], str]:
        """The users of the ACL file, and all that is wrong with it in one line."""
        users: dict[str, User] = {}
        errors = ""
        for number, line in enumerate(text.split("\n"), start=1):
            where = f"{path}:{number}"
            words = line.strip(" \t\r").split(" ")
            if words == [""]:
                continue
            errors += self._read_line(where, words, users)
        return users, errors

    def _read_line(self, where: str, words: list[str], users: dict[str, User]) -> str:
        """Add the user of one line of the ACL file; what is wrong with it, or an empty string."""
        if words[0] != "user" or len(words) < 2:
            return f"{where} should start with user keyword followed by the username. "
        name, rules = words[1], words[2:]
        if not is_valid_name(name):
            return f"'{where}: username '{name}' contains invalid characters. "
        if name in users:
            return f"WARNING: Duplicate user '{name}' found on line {where.rpartition(':')[2]}. "
        users[name] = user = self._new(name)
        try:
            merged = merge_selectors(rules)
        except RuleError:
            return f"{where}: Unmatched parenthesis in selector definition."
        return "".join(_try_rules(where, user, merged))


def _try_rules(where: str, user: User, rules: list[str]) -> Iterable[str]:
    """Apply rules one by one; of plain mistakes tell the first, as others may follow from it."""
    mistaken = False
    for rule in rules:
        try:
            user.change([rule.strip("\t\r\n")])
        except UnknownNameError as error:
            yield f"{where}: Error in applying operation '{rule}': {error}. "
        except RuleError as error:
            if not mistaken:
                yield f"{where}: {error}. "
            mistaken = True


def is_valid_name(name: str) -> bool:
    return not any(char.isspace() or char == "\0" for char in name)
