"""Notices on their way to operators and clients: into the log, to subscribers, into a script.

Which notice there is, how loud, and for which script, is the core's decision; queue and limits of
scripts stand in ``scripts.py``. The rule guarded here: all readers get the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sentinel_py.core.messages import Level, Log, Notice, RunScript
from sentinel_py.logs import LogFile
from sentinel_py.resp import to_bytes, to_text
from sentinel_py.scripts import Scripts

MAX_TEXT_BYTES = 1023
"""The longest text of a notice, as in Sentinel: clients and scripts may rely on it."""


class Notifier:
    """Carries out Notice, Log and RunScript. ``publish`` takes channel and payload.

    ``listeners`` are called with each notice behind that, and may neither fail nor wait.
    """

    def __init__(self, log: LogFile, publish: Callable[[str, str], int], scripts: Scripts) -> None:
        self._log = log
        self._publish = publish
        self._scripts = scripts
        self.listeners: list[Callable[[Notice], None]] = []

    def notice(self, notice: Notice) -> None:
        text = _cut(notice.text)
        self._log.write(notice.level, f"{notice.name} {text}")
        if notice.level > Level.DEBUG:
            self._publish(notice.name, text)
        if notice.script:
            self._scripts.run((notice.script, notice.name, text))
        if notice.level > Level.DEBUG and self.listeners:
            told = notice if text == notice.text else replace(notice, text=text)
            for listener in self.listeners:
                listener(told)

    def log(self, line: Log) -> None:
        self._log.write(line.level, line.text)

    def run_script(self, effect: RunScript) -> None:
        self._scripts.run(effect.argv)


def _cut(text: str) -> str:
    data = to_bytes(text)
    if len(data) <= MAX_TEXT_BYTES:
        return text
    end = MAX_TEXT_BYTES
    while end > MAX_TEXT_BYTES - 4 and data[end] & 0xC0 == 0x80:  # inside a UTF-8 character
        end -= 1
    return to_text(data[:end])
