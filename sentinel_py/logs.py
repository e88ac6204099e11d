"""Where log lines go: a file or stdout, and syslog.

Lines look as those of redis-sentinel, since people and log shippers parse them. What is worth a
line is decided elsewhere. The rule guarded here: logging never fails its caller, and whatever text
comes from outside, one call makes one line.
"""

from __future__ import annotations

import logging
import os
import syslog
import time
from contextlib import suppress
from typing import Final

from sentinel_py.core.messages import Level
from sentinel_py.values import dataclass

LEVELS: Final = {level.name.lower(): int(level) for level in Level} | {"nothing": len(Level)}
"""The words of ``loglevel``, and the lowest level that each lets through."""

FACILITIES: Final = {
    name: getattr(syslog, f"LOG_{name.upper()}")
    for name in ("user", *(f"local{number}" for number in range(8)))
}
"""The words of ``syslog-facility``."""

_MARKS: Final = {Level.DEBUG: ".", Level.VERBOSE: "-", Level.NOTICE: "*", Level.WARNING: "#"}
_PRIORITIES: Final = {
    Level.DEBUG: syslog.LOG_DEBUG,
    Level.VERBOSE: syslog.LOG_INFO,
    Level.NOTICE: syslog.LOG_NOTICE,
    Level.WARNING: syslog.LOG_WARNING,
}

# What would break a line or a terminal, and what is not text: a byte that was no UTF-8 came in as
# a surrogate from U+DC80 on.
_ESCAPES: Final = (
    {code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0xD800, 0xE000))}
    | {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)}
    | {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
    | {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}
)

_STDOUT: Final = 1


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The log directives of the configuration; no ``path`` means stdout."""

    path: str = ""
    level: str = "notice"
    syslog_enabled: bool = False
    syslog_ident: str = "redis"
    syslog_facility: str = "local0"


class LogFile:
    """Takes log lines. The file is opened for each: it may be renamed or removed at any time."""

    def __init__(self, options: LogOptions) -> None:
        self._path = options.path
        self._to_syslog = options.syslog_enabled
        self._lowest = LEVELS[options.level]
        if self._to_syslog:
            flags = syslog.LOG_PID | syslog.LOG_NDELAY | syslog.LOG_NOWAIT
            syslog.openlog(options.syslog_ident, flags, FACILITIES[options.syslog_facility])

    def try_open(self) -> None:
        """Raise the OSError that would make every write fail."""
        if self._path:
            os.close(self._open())

    def set_level(self, word: str) -> None:
        self._lowest = LEVELS[word]

    def write(self, level: Level, text: str) -> None:
        if level < self._lowest:
            return
        text = text.translate(_ESCAPES)
        line = f"{os.getpid()}:X {_now()} {_MARKS[level]} {text}\n"
        with suppress(OSError):
            self._append(line.encode())
        if self._to_syslog:
            syslog.syslog(_PRIORITIES[level], text)

    def _append(self, line: bytes) -> None:
        if not self._path:
            os.write(_STDOUT, line)
            return
        file = self._open()
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


class _Bridge(logging.Handler):
    def __init__(self, log: LogFile) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = Level.WARNING if record.levelno >= logging.WARNING else Level.VERBOSE
        for line in self.format(record).splitlines():
            self._log.write(level, line)


def bridge_logging(log: LogFile) -> None:
    """Let modules that use ``logging`` write into the sentinel's log."""
    root = logging.getLogger()
    root.handlers[:] = [_Bridge(log)]
    root.setLevel(logging.INFO)


def _now() -> str:
    ns = time.time_ns()
    day = time.strftime("%d %b %Y %H:%M:%S", time.localtime(ns // 10**9))
    return f"{day}.{ns // 10**6 % 1000:03}"
