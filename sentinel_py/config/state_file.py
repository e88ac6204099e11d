"""The state of a sentinel that may not write its config file: `sentinel state-dir`.

What the config file would be rewritten with goes into a file of the state directory, in the same
form, and beside it what the config file said at that time. What the lines mean is for `directives`
to say. The rule it guards: what the operator has changed in the config file since then counts, and
in all else the sentinel's own last word.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sentinel_py.config import directives, learned
from sentinel_py.config.config import Config, Origin, StartError, Statement, load
from sentinel_py.config.lines import Line, join, key_of, split
from sentinel_py.config.settings import DIRECTIVES
from sentinel_py.core.model import State
from sentinel_py.storage import LOCAL, cause

_SAID = "#: "
_HEAD = """\
# The state of a sentinel, which alone writes here. Its config file: {path}
# What is changed there after this was written counts; all else is as it says here.
"""
_MIDDLE = "# What the config file said when this was written:\n"
_DIR_MODE = 0o700
_FILE_MODE = 0o600  # passwords of masters stand in it
_LOGLEVEL = DIRECTIVES["loglevel"]

_Subject = tuple[str, str]
"""A directive, and the name of the master that it is about, or nothing."""

_Groups = dict[_Subject, list[Statement]]

_ACCOUNTS = {("requirepass", ""), ("user", "")}
_RAFT_PEERS = ("sentinel raft-peers", "")
_MONITOR, _KNOWN_REPLICA, _IS_SHARED = (
    f"sentinel {name}" for name in ("monitor", "known-replica", "raft-master")
)


class StateFile:
    """The state file of a running process; it takes the place of ``rewrite.ConfigFile``.

    `overruled` are the changes of the config file that do not count.
    """

    def __init__(
        self, path: str, config: Config, said: Sequence[Statement], overruled: Sequence[str]
    ) -> None:
        self.path = path
        self._config = config
        self._head = _HEAD.format(path=join([config.path]))
        self._tail = _MIDDLE + "".join(f"{_SAID}{join(each.words)}\n" for each in said)
        self.overruled = overruled

    def prepare(self) -> None:
        """Make the directory and the file if need be; StartError if nothing can be kept there."""
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, _DIR_MODE, exist_ok=True)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, _FILE_MODE))
            with tempfile.TemporaryFile(dir=folder):
                return
        except OSError as error:
            raise StartError(
                f"Sentinel state-dir {folder} is not writable: {cause(error)}. Exiting..."
            ) from None

    def rewrite(self, sentinel_lines: Iterable[Line], user_lines: Iterable[str]) -> None:
        """Bring the file up to date, or raise SaveError."""
        self.rewriting(sentinel_lines, user_lines)()

    def rewriting(
        self, sentinel_lines: Iterable[Line], user_lines: Iterable[str]
    ) -> Callable[[], None]:
        """Return what brings the file up to date, in any thread, or raises SaveError."""
        lines = [*_LOGLEVEL.lines(self._config.settings), *sentinel_lines]
        texts = [line.text for line in lines if line.required or line.key == _LOGLEVEL.name]
        texts += [join(("user", *text.split(" ")[1:])) for text in user_lines]
        text = self._head + "\n".join(texts) + "\n" + self._tail
        return lambda: LOCAL.write_atomically(self.path, text)


def take_up(config: Config) -> StateFile:
    """Put what was kept into the config for the start that follows; see ``merged``.

    Nothing is written. Raises ConfigError for a line of either file.
    """
    # What the state file overrules is checked as well: it may count at the next start.
    directives.apply(config.statements, State(myid=""), now=0, resolve=lambda _: None)
    port = config.settings.port or config.settings.tls_port
    path = os.path.join(config.state_dir, f"sentinel-{port}.conf")
    text = _read(path)
    before = [
        _statement(line.removeprefix(_SAID), line_no, path)
        for line_no, line in enumerate(text.split("\n"), start=1)
        if line.startswith(_SAID)
    ]
    said, kept = _said(config), _said(load(path)) if text else []
    counted, overruled = merged(said, before, kept)
    _replace(config, counted)
    return StateFile(path, config, said, overruled)


def merged(
    said: Sequence[Statement], before: Sequence[Statement], kept: Sequence[Statement]
) -> tuple[list[Statement], list[str]]:
    """What counts of the config file and of the state file, and the changes that do not count.

    `said` is what the config file says now, `before` what it said when `kept` was written. What
    the members of a Raft cluster have in common is not for the file of one of them to change.
    """
    now, then, own = _grouped(said), _grouped(before), _grouped(kept)
    changed = {at for at in (*now, *then) if _words(now, at) != _words(then, at)}
    changed -= {at for at in own if at[0] in learned.KEYS}
    if changed & _ACCOUNTS:
        changed |= _ACCOUNTS
    shared = _shared(now if _RAFT_PEERS in changed else own, own)
    overruled = {at for at in changed if at[1] in shared and at[0] in directives.SHARED}
    changed -= overruled

    monitored = {name for key, name in changed if key == _MONITOR}
    anew = {name for name in monitored if _is_other(name, now, own)}
    for name in monitored - anew:
        now[_MONITOR, name] = [_with_quorum(own[_MONITOR, name][-1], now[_MONITOR, name][-1])]
    # What was removed by a command stays so until the operator monitors it in another way.
    removed = {name for key, name in now if key == _MONITOR and (key, name) not in own}
    counted = [
        *_chosen(own, lambda at: at not in changed and at[1] not in anew),
        *_chosen(now, lambda at: at[1] in anew or (at in changed and at[1] not in removed)),
    ]
    return counted, sorted(" ".join(at) for at in overruled)


def _read(path: str) -> str:
    """The text of the state file; nothing if there is none yet."""
    try:
        return LOCAL.read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise StartError(f"Sentinel state {path} is not readable: {cause(error)}") from None


def _said(config: Config) -> list[Statement]:
    """What a sentinel would rewrite, as the file has it."""
    settings = [
        _statement(line.text, 0, config.path)
        for name in ("requirepass", "loglevel")
        for line in DIRECTIVES[name].lines(config.settings)
    ]
    return [*config.statements, *config.users, *settings]


def _replace(config: Config, counted: Iterable[Statement]) -> None:
    config.statements, config.users = [], []
    for each in counted:
        match each.words[0].lower():
            case "sentinel":
                config.statements.append(each)
            case "user" if not config.settings.aclfile:
                config.users.append(each)
            case "loglevel":
                _LOGLEVEL.read(config.settings, each.words[1:])


def _statement(line: str, line_no: int, path: str) -> Statement:
    words = split(line)
    statement = Statement(tuple(words or ()), line, line_no, Origin.FILE, path)
    if not words:
        raise statement.error("Unbalanced quotes in configuration line")
    return statement


def _grouped(statements: Iterable[Statement]) -> _Groups:
    groups: _Groups = {}
    for each in statements:
        key = key_of(each.words)
        name = each.words[2:3] if key in directives.PER_MASTER else ()
        groups.setdefault((key, "".join(name)), []).append(each)
    return groups


def _words(groups: _Groups, at: _Subject) -> list[tuple[str, ...]]:
    return [each.words[1:] for each in groups.get(at, ())]


def _chosen(groups: _Groups, is_chosen: Callable[[_Subject], bool]) -> list[Statement]:
    return [each for at, group in groups.items() if is_chosen(at) for each in group]


def _shared(settings: _Groups, own: _Groups) -> set[str]:
    """Names of the masters that are in the log of a Raft cluster."""
    return {name for key, name in own if key == _IS_SHARED} if _RAFT_PEERS in settings else set()


def _is_other(name: str, now: _Groups, own: _Groups) -> bool:
    """Whether the config file asks for another master than the one we know by this name.

    Any node of the known one stands for it: who was master when the line was written does not
    matter.
    """
    asked, known = now.get((_MONITOR, name)), own.get((_MONITOR, name))
    if not asked or not known:
        return True
    nodes = [*known, *own.get((_KNOWN_REPLICA, name), ())]
    return asked[-1].words[3:5] not in [node.words[3:5] for node in nodes]


def _with_quorum(known: Statement, asked: Statement) -> Statement:
    return replace(known, words=(*known.words[:5], *asked.words[5:]))
