"""Reading the config file: `load` makes a `Config` of a file, stdin and the command line.

Generic directives take effect here, line by line; what is about sentinels, users and commands is
collected as statements for those who understand it. Writing the file is the business of `rewrite`.
The rule it guards: every line means what it means to redis-sentinel, and one that cannot be is
refused in redis-sentinel's words, with its number and its file.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from enum import Enum
from itertools import pairwise

from sentinel_py.config.kinds import TEXT
from sentinel_py.config.lines import (
    DirectiveError,
    Line,
    is_comment,
    join,
    key_of,
    quoted,
    split,
    uncommented,
)
from sentinel_py.config.settings import ACCEPTED, DIRECTIVES, ServerSettings
from sentinel_py.storage import LOCAL, Disk, cause
from sentinel_py.values import dataclass
from sentinel_py.version import REDIS_VERSION

INCLUDE_DEPTH_MAX = 32  # a file that includes itself must not take the process down
_BLANKS = " \t\r\n"
_GLOB_MARKS = frozenset("*?[")
_MAY_STAND_ALONE = {"--save": '""', "--sentinel": ""}
_USERS_AND_ACLFILE = (
    "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is"
    " invalid. This setup is very likely to lead to configuration errors and security holes, please"
    " define either an ACL file or declare users directly in your redis.conf, but not both."
)


class StartError(Exception):
    """The sentinel cannot start; one line for the log."""


class ConfigError(Exception):
    """A line that cannot be; `str()` is the banner that redis-sentinel prints."""

    def __init__(self, line_no: int | None, line: str, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.line_no = line_no
        self.line = line
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        banner = f"\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n"
        if self.line_no is not None:
            banner += f"Reading the configuration file, at line {self.line_no}\n>>> '{self.line}'\n"
        return banner + self.reason + (f"\nIn file: {self.path}" if self.path else "")


class Origin(Enum):
    """Where a line stands, and so whether a rewrite of the config file will find it there."""

    FILE = "the config file itself"
    INCLUDE = "a file that it includes"
    GIVEN = "stdin or the command line"


@dataclass(frozen=True, slots=True)
class Statement:
    """One line that says something. `path` is empty for what was not read from a file."""

    words: tuple[str, ...]
    line: str
    line_no: int
    origin: Origin
    path: str

    def error(self, reason: str) -> ConfigError:
        return ConfigError(self.line_no, self.line, reason, self.path)


@dataclass(slots=True)
class Config:
    """What was said. Lists are in the order of the lines.

    `path` is absolute, and so is `state_dir`, which is empty if the sentinel's state is kept in the
    file itself. `given` are the accepted directives of the command line, which go into the
    file although they mean nothing here; `included` are statements and settings of included files,
    which do not: their file keeps them.
    """

    path: str
    settings: ServerSettings = field(default_factory=ServerSettings)
    statements: list[Statement] = field(default_factory=list)
    users: list[Statement] = field(default_factory=list)
    renamed: list[Statement] = field(default_factory=list)
    given: dict[str, Line] = field(default_factory=dict)
    included: set[str] = field(default_factory=set)
    state_dir: str = ""


def load(
    path: str, argv: Sequence[str] = (), stdin: str | None = None, disk: Disk = LOCAL
) -> Config:
    """Read the config file, then stdin's text if any, then the options behind the file's name.

    Raises ConfigError for a line and StartError for all else.
    """
    if not path:
        raise StartError("Sentinel needs config file on disk to save state. Exiting...")
    config = Config(os.path.normpath(os.path.join(disk.current_dir(), path)))
    loader = _Loader(config, disk)
    text = loader.read(config.path)
    # Numbers run on behind the file's last line, so that they are those of redis-sentinel.
    lines = list(enumerate(f"{text}{stdin or ''}\n{options_text(argv)}".split("\n"), start=1))
    own = text.count("\n") + (text[-1:] not in ("", "\n"))
    loader.take(lines[:own], Origin.FILE, config.path)
    loader.take(lines[own:], Origin.GIVEN, "")
    loader.finish()
    return config


def check_writable(path: str, disk: Disk = LOCAL) -> None:
    """Refuse to start on a file that could not be rewritten."""
    try:
        disk.check_writable(path)
    except OSError as error:
        raise StartError(
            f"Sentinel config file {path} is not writable: {cause(error)}. Exiting... "
            "(With sentinel state-dir <directory> it is only read.)"
        ) from None


def options_text(argv: Sequence[str]) -> str:
    """The lines that the command line's words behind the file's name stand for."""
    words = argv[:-1] if argv[-1:] == ["-"] else argv
    text = ""
    wants_value = False
    for word, following in pairwise([*words, "--"]):
        if wants_value or not word.startswith("--"):
            text += f"{quoted(word)} "
            wants_value = False
            continue
        text += ("\n" if text else "") + f"{word[2:]} "
        wants_value = len(split(word) or ()) == 1
        # These two may come without a value.
        if word.lower() in _MAY_STAND_ALONE and following.startswith("--"):
            text += _MAY_STAND_ALONE[word.lower()]
            wants_value = False
    return text


class _Loader:
    """Takes lines into a Config; an include is taken where it stands."""

    def __init__(self, config: Config, disk: Disk) -> None:
        self.config = config
        self._disk = disk
        self._depth = 0
        self._origins: dict[str, Origin] = {}

    def read(self, path: str) -> str:
        try:
            return self._disk.read_text(path)
        except OSError as error:
            raise StartError(
                f"Fatal error, can't open config file '{path}': {cause(error)}"
            ) from None

    def take(self, lines: Iterable[tuple[int, str]], origin: Origin, path: str) -> None:
        for line_no, raw in lines:
            line = uncommented(raw.strip(_BLANKS))
            if not line or is_comment(line):
                continue
            words = split(line)
            statement = Statement(tuple(words or ()), line, line_no, origin, path)
            if words is None:
                raise statement.error("Unbalanced quotes in configuration line")
            if words:
                try:
                    self._obey(statement)
                except DirectiveError as error:
                    raise statement.error(str(error)) from None

    def include(self, statement: Statement) -> None:
        pattern = TEXT.read(statement.words[1:])
        if self._depth == INCLUDE_DEPTH_MAX:
            raise DirectiveError("Files include each other without an end")
        # What the command line includes is not included by the file.
        origin = Origin.GIVEN if statement.origin is Origin.GIVEN else Origin.INCLUDE
        is_glob = not _GLOB_MARKS.isdisjoint(pattern)
        self._depth += 1
        for path in self._disk.matching(pattern) if is_glob else [pattern]:
            self.take(enumerate(self.read(path).split("\n"), start=1), origin, path)
        self._depth -= 1

    def finish(self) -> None:
        """Say what can only be said when all lines are known."""
        config, settings = self.config, self.config.settings
        if config.users and settings.aclfile:
            raise StartError(_USERS_AND_ACLFILE)
        settings.dir = self._disk.current_dir()
        if config.state_dir:
            config.state_dir = os.path.normpath(os.path.join(settings.dir, config.state_dir))
        config.included.update(self._included())
        if settings.logfile:
            self._try_log_file(settings.logfile)

    def _included(self) -> Iterator[str]:
        """What included files say, as a rewrite would say it; users by their names alone."""
        config = self.config
        for name, origin in self._origins.items():
            if origin is Origin.INCLUDE:
                yield from (line.text for line in DIRECTIVES[name].lines(config.settings))
        for statement in config.statements:
            if statement.origin is Origin.INCLUDE:
                yield f"{key_of(statement.words)} {join(statement.words[2:])}"
        for statement in config.users:
            if statement.origin is Origin.INCLUDE:
                yield f"user {statement.words[1]}"

    def _obey(self, statement: Statement) -> None:
        name = statement.words[0].lower()
        if directive := DIRECTIVES.get(name):
            directive.read(self.config.settings, statement.words[1:])
            self._origins[name] = statement.origin
            if name == "dir":
                self._change_dir()
        elif check := ACCEPTED.get(name):
            check(statement.words[1:])
            if statement.origin is Origin.GIVEN:
                self.config.given[name] = Line(name, join((name, *statement.words[1:])))
        else:
            self._obey_other(name, statement)

    def _obey_other(self, name: str, statement: Statement) -> None:
        count = len(statement.words)
        match name, count:
            case "sentinel", 1:
                pass  # it chooses the sentinel mode, and there is no other here
            case "sentinel", 3 if statement.words[1].lower() == "state-dir":
                self._keep_state_in(statement.words[2])
            case "sentinel", _:
                self.config.statements.append(statement)
            case "include", 2:
                self.include(statement)
            case "user", _ if count > 1:
                self.config.users.append(statement)
            case "rename-command", 3:
                self.config.renamed.append(statement)
            case "loadmodule", _ if count > 1:
                pass
            case _ if "." not in name:
                raise DirectiveError("Bad directive or wrong number of arguments")
            case _ if count == 1:
                # A dot makes it an option of a module, and those are unknown until it is loaded.
                raise DirectiveError("Module config specified without value")

    def _keep_state_in(self, path: str) -> None:
        if not path:
            raise DirectiveError("state-dir can't be empty")
        self.config.state_dir = path

    def _change_dir(self) -> None:
        """Go there at once, because the paths of later lines start there."""
        path = self.config.settings.dir
        if not path:
            raise DirectiveError("dir can't be empty")
        try:
            self._disk.change_dir(path)
        except OSError as error:
            raise DirectiveError(cause(error)) from None

    def _try_log_file(self, path: str) -> None:
        try:
            self._disk.check_appendable(path)
        except OSError as error:
            text = f"Can't open the log file: {cause(error)}"
            raise ConfigError(None, "", text) from None
