"""``sentinel-py import``: what becomes of each line of a config file of redis-sentinel.

Whether a line can be is said by the code that reads it at a start, line by line; here it is only
known why some of them change nothing. The rule it guards: nothing is touched but the file that
``--into`` names, and no password is printed.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

import click

from sentinel_py.config import directives, learned
from sentinel_py.config.config import (
    INCLUDE_DEPTH_MAX,
    ConfigError,
    Origin,
    StartError,
    Statement,
    load,
)
from sentinel_py.config.lines import join, key_of, split
from sentinel_py.config.settings import ACCEPTED, DIRECTIVES
from sentinel_py.console.options import Failed
from sentinel_py.core.model import Master, State
from sentinel_py.resolver import resolve_now
from sentinel_py.storage import LOCAL, cause

_BLANKS = " \t\r\n"
_SECRET = re.compile(r"pass|secret|token|auth$|^user$|http-user|webhook", re.IGNORECASE)
_TLS_CACHE = "sessions are kept as OpenSSL does by default"
_SHUTDOWN = "there is nothing to save or to wait for at the end"
_TITLE = "the process keeps the title it was started with"
UNUSED = {
    "unixsocketgroup": "the socket gets the group of the process",
    "socket-mark-id": "for FreeBSD and OpenBSD",
    "maxmemory-clients": "client-output-buffer-limit and maxclients bound what clients take",
    "tls-dh-params-file": "OpenSSL chooses the parameters",
    "tls-ciphersuites": "TLS 1.3 has OpenSSL's suites; tls-ciphers is for TLS 1.2",
    "tls-prefer-server-ciphers": "OpenSSL's own order holds",
    "tls-session-caching": _TLS_CACHE,
    "tls-session-cache-size": _TLS_CACHE,
    "tls-session-cache-timeout": _TLS_CACHE,
    "always-show-logo": "there is none",
    "set-proc-title": _TITLE,
    "proc-title-template": _TITLE,
    "shutdown-timeout": _SHUTDOWN,
    "shutdown-on-sigint": _SHUTDOWN,
    "shutdown-on-sigterm": _SHUTDOWN,
    "loadmodule": "modules are not loaded",
    "masterauth": "it is for replicas; a sentinel logs in with sentinel auth-pass",
    "masteruser": "it is for replicas; a sentinel logs in with sentinel auth-user",
}
"""Directives that are understood and change nothing, and why."""
_UNUSED_KINDS = (
    ("cluster-", "a sentinel is not part of a Redis Cluster"),
    ("append", "a sentinel keeps no data, so it writes no AOF"),
    ("aof", "a sentinel keeps no data, so it writes no AOF"),
    ("auto-aof", "a sentinel keeps no data, so it writes no AOF"),
    ("rdb", "a sentinel keeps no data, so it writes no RDB file"),
    ("save", "a sentinel keeps no data, so it writes no RDB file"),
    ("repl", "a sentinel neither has replicas nor is one"),
    ("slave", "a sentinel neither has replicas nor is one"),
    ("min-", "a sentinel neither has replicas nor is one"),
    ("io-threads", "one thread does all the work"),
    ("slowlog", "there is no such log"),
    ("latency", "there is no such log"),
)
_UNUSED_OTHERWISE = "it is for a Redis with data"


class Verdict(Enum):
    """What becomes of a line."""

    TAKEN = "taken over"
    UNUSED = "no effect"
    REFUSED = "refused"


_COLOUR = {Verdict.TAKEN: "green", Verdict.UNUSED: "yellow", Verdict.REFUSED: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line that says something, and what becomes of it."""

    path: str
    line_no: int
    line: str
    verdict: Verdict
    why: str = ""


@dataclass(slots=True)
class Import:
    """A whole file: its findings in the order of reading, and the state that they make."""

    findings: list[Finding]
    state: State

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict is verdict for finding in self.findings)


@click.command(help="Read a redis-sentinel's config file, and say what becomes of each line.")
@click.argument("conf", type=click.Path())
@click.option(
    "--into",
    metavar="FILE",
    type=click.Path(),
    help="Write what is taken over there; FILE must not exist. Other lines become comments.",
)
def main(conf: str, into: str | None) -> None:
    try:
        found = examine(conf)
        _report(found)
        if found.count(Verdict.REFUSED):
            sys.exit(1)
        if into:
            _write(conf, into, found)
            click.echo(f"Written to {into}. Start it:  sentinel-py {into}")
    except OSError as error:
        raise Failed(f"{error.filename or conf}: {cause(error)}") from None
    except StartError as error:
        raise Failed(str(error)) from None


def examine(conf: str) -> Import:
    """Judge every line of the file and of those that it includes.

    Raises OSError if one is unreadable, and StartError for what no line can be blamed for.
    """
    reading = _Reading()
    reading.take(os.path.abspath(conf), Origin.FILE)
    reading.judge_again()
    state, refused = _apply(reading.statements)
    findings = [
        replace(finding, verdict=Verdict.REFUSED, why=refused[finding.path, finding.line_no])
        if (finding.path, finding.line_no) in refused
        else finding
        for finding in reading.findings
    ]
    if all(finding.verdict is not Verdict.REFUSED for finding in findings):
        load(conf, disk=_DryDisk())
    return Import(findings, state)


class _DryDisk:
    """The disk as a start sees it, but for what a start would change.

    While there is a `line`, it is all that stands in any file.
    """

    def __init__(self) -> None:
        self.line: str | None = None
        self._dir = os.getcwd()

    def read_text(self, path: str) -> str:
        if self.line is None:
            return LOCAL.read_text(self.at(path))
        line, self.line = self.line, ""
        return line

    def write_atomically(self, path: str, _text: str) -> None:
        raise AssertionError(f"{path} is only read")

    def matching(self, pattern: str) -> list[str]:
        return sorted(glob.glob(self.at(pattern)))

    def change_dir(self, path: str) -> None:
        os.close(os.open(self.at(path), os.O_RDONLY | os.O_DIRECTORY))
        self._dir = self.at(path)

    def current_dir(self) -> str:
        return self._dir

    def check_appendable(self, path: str) -> None:
        folder = os.path.dirname(self.at(path))
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))

    def check_writable(self, _path: str) -> None:
        return

    def at(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._dir, path))


class _Reading:
    """Findings and statements while files are read."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.statements: list[Statement] = []
        self._disk = _DryDisk()
        self._depth = 0
        self._last: dict[str, int] = {}  # where a directive stands whose last line wins

    def take(self, path: str, origin: Origin) -> None:
        for line_no, raw in enumerate(LOCAL.read_text(path).split("\n"), start=1):
            line = raw.strip(_BLANKS)
            if line and not line.startswith("#"):
                self._judge(Statement(tuple(split(line) or ()), line, line_no, origin, path))

    def judge_again(self) -> None:
        """Say of lines that a later one makes void that they are."""
        for at, finding in enumerate(self.findings):
            name = finding.line.split(maxsplit=1)[0].lower()
            last = self.findings[self._last.get(name, at)]
            if last is not finding and finding.verdict is Verdict.TAKEN:
                file = "" if last.path == finding.path else f" of {last.path}"
                why = f"line {last.line_no}{file} says it again"
                self.findings[at] = replace(finding, verdict=Verdict.UNUSED, why=why)

    def _judge(self, statement: Statement) -> None:
        self._disk.line = statement.line
        try:
            config = load(statement.path, disk=self._disk)
        except ConfigError as error:
            self._find(statement, Verdict.REFUSED, error.reason)
            return
        except StartError as error:
            self._find(statement, Verdict.REFUSED, str(error))
            return
        name = statement.words[0].lower()
        if name == "include":
            self._include(statement)
        elif why := _unused(statement.words):
            self._find(statement, Verdict.UNUSED, why)
        else:
            if name in DIRECTIVES and not DIRECTIVES[name].kind.merge:
                self._last[name] = len(self.findings)
            self._find(statement, Verdict.TAKEN, _remark(statement.words))
            if config.statements:
                self.statements.append(statement)

    def _include(self, statement: Statement) -> None:
        pattern = statement.words[1]
        paths = self._disk.matching(pattern)
        if self._depth == INCLUDE_DEPTH_MAX:
            self._find(statement, Verdict.REFUSED, "Files include each other without an end")
        elif not paths and not glob.has_magic(pattern):
            self._find(statement, Verdict.REFUSED, f"there is no {self._disk.at(pattern)}")
        else:
            self._find(statement, Verdict.TAKEN, f"{len(paths)} files")
            self._depth += 1
            for path in paths:
                self.take(path, Origin.INCLUDE)
            self._depth -= 1

    def _find(self, statement: Statement, verdict: Verdict, why: str) -> None:
        place = (statement.path, statement.line_no)
        self.findings.append(Finding(*place, statement.line, verdict, why))


def _unused(words: tuple[str, ...]) -> str:
    """Why these words change nothing; empty if they change something."""
    name = words[0].lower()
    if name in UNUSED:
        return UNUSED[name]
    if "." in name:
        return UNUSED["loadmodule"]
    if name in ACCEPTED:
        return next(
            (why for kind, why in _UNUSED_KINDS if name.startswith(kind)), _UNUSED_OTHERWISE
        )
    if key_of(words) == "sentinel known-sentinel" and len(words) == 5:
        return "it is of an early version, without an id; the sentinel will be found again"
    return ""


def _remark(words: tuple[str, ...]) -> str:
    key = key_of(words)
    if key == "user":
        return "its rules are checked at the start"
    return "found out by the sentinel" if key in learned.KEYS else ""


def _apply(statements: list[Statement]) -> tuple[State, dict[tuple[str, int], str]]:
    """The state that all statements make which can be; of the others, why they cannot."""
    resolve = functools.cache(resolve_now)
    refused: dict[tuple[str, int], str] = {}
    while True:
        state = State(myid="")
        possible = [each for each in statements if (each.path, each.line_no) not in refused]
        try:
            directives.apply(possible, state, now=0, resolve=resolve)
        except ConfigError as error:
            place = (error.path, error.line_no or 0)
            assert place not in refused, "a refused line is not applied"
            refused[place] = error.reason
        else:
            return state, refused


# The report --------------------------------------------------------------------------------------


def _report(found: Import) -> None:
    path = ""
    for finding in found.findings:
        if finding.path != path:
            path = finding.path
            click.echo(path)
        verdict = click.style(f"{finding.verdict.value:10}", fg=_COLOUR[finding.verdict])
        why = click.style(f"  ({finding.why})", dim=True) if finding.why else ""
        click.echo(f"{finding.line_no:5}  {verdict}  {shown(finding.line)}{why}")
    counts = (f"{found.count(verdict)} {verdict.value}" for verdict in Verdict)
    click.echo(f"\n{', '.join(counts)}.")
    for text in _summary(found.state):
        click.echo(text)


def shown(line: str) -> str:
    """The line as it may be read over somebody's shoulder."""
    words = split(line)
    if not words:
        return f"{line.split(maxsplit=1)[0]} ***"
    is_sentinel = words[0].lower() == "sentinel"
    name = words[1] if is_sentinel and words[1:] else words[0]
    if not _SECRET.search(name):
        return join(words)
    # Behind the name of a master or a user, if it is about one.
    bare = 1 + is_sentinel + (len(words) > 2 + is_sentinel)
    return " ".join([join(words[:bare]), "***"])


def _summary(state: State) -> Iterator[str]:
    for master in state.masters.values():
        yield f"Watches {_about(master)}."
    if not state.masters:
        yield "Watches nothing until SENTINEL MONITOR says what."
    if state.settings.raft_peers:
        yield f"A member of the Raft cluster {' '.join(state.settings.raft_peers)}."
    if state.myid:
        yield f"Has the id {state.myid}: end the sentinel that has it before you start this one."


def _about(master: Master) -> str:
    return (
        f"{master.name} at {master.address.host}:{master.address.port}, "
        f"quorum {master.options.quorum}, epoch {master.config_epoch}, "
        f"known replicas: {len(master.replicas)}, other sentinels: {len(master.peers)}"
    )


# The new file ------------------------------------------------------------------------------------


def _write(conf: str, into: str, found: Import) -> None:
    """Write the file anew; whoever could not read the old one cannot read it either."""
    path = os.path.abspath(conf)
    fates = {finding.line_no: finding for finding in found.findings if finding.path == path}
    raw = LOCAL.read_text(path).split("\n")
    text = "\n".join(_kept(line, fates.get(at)) for at, line in enumerate(raw, start=1))
    old = os.stat(path)
    fd = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        try:
            os.fchown(fd, old.st_uid, old.st_gid)
        except PermissionError:
            return
        os.fchmod(fd, stat.S_IMODE(old.st_mode))


def _kept(line: str, finding: Finding | None) -> str:
    if finding is None or finding.verdict is Verdict.TAKEN:
        return line
    return f"# no effect ({finding.why}): {line.strip(_BLANKS)}"
