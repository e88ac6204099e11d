"""Writing a file in place: for one that no new file can be renamed over.

Such a file is mounted by itself (`docker -v ./sentinel.conf:/etc/sentinel.conf`), or its directory
may not be written. To overwrite it would leave a mixture of both texts behind if the power fails.
So the new text is first put behind the old one, as comment lines that end in its length and its sum
(a redo log, in the file itself):

    # sentinel_py is saving this file in place: …
    #| the new text, line by line
    #= 1234 <sha256 of it>

Then it is written over the old text, and the file is cut off behind it. Each of the three steps is
synced before the next one begins:

- A crash in the first one leaves the old text, with comments behind it that have no sum.
- One in the second or the third leaves a whole set of comments, and the new text is read from them.

`whole` tells the text of a file in any of these states; it is what everybody has to read. The rule
guarded: it is the old text or the new one, and once `overwrite` has returned, the new one.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from typing import Protocol

BEGIN = (
    b"# sentinel_py is saving this file in place: what follows is its new text, "
    b"and counts if its last line has the right sum\n"
)
_LINE = b"#| "
_END = re.compile(rb"#= ([0-9]{1,12}) ([0-9a-f]{64})")
_MARKS = (b"#|", b"#=")


class File(Protocol):
    """What is needed of an open file. Failures are OSError."""

    def read(self) -> bytes: ...
    def write(self, at: int, data: bytes) -> None: ...
    def cut(self, size: int) -> None: ...
    def sync(self) -> None: ...


class Descriptor:
    """A file of the system, open for reading and writing."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self) -> bytes:
        parts, at = [], 0
        while part := os.pread(self._fd, 1 << 20, at):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def write(self, at: int, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], at + written)

    def cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fsync(self._fd)


def whole(data: bytes) -> bytes:
    """The text of a file, whatever a save that was cut off has left in it."""
    at = _log_at(data)
    if at is not None and (text := _logged(data[at:])) is not None:
        return text
    # Cut off before the log was whole: it begins with its first line, or with the first letters of
    # that, and zeros are where something did not come to the disk.
    begins = sorted(it for it in (data.find(b"\0"), at, len(data)) if it is not None and it >= 0)
    kept = next(data[:begin] for begin in begins if _is_fragment(data[begin:]))
    last = kept[kept.rfind(b"\n") + 1 :]
    return kept.removesuffix(last) if BEGIN.startswith(last) else kept


def overwrite(file: File, text: bytes) -> None:
    """Put the text in the place of the old one; after an OSError either may stand there."""
    data = file.read()
    old = whole(data)
    if old != data:
        _finish(file, data, old)
    at = max(len(old), len(text)) + 1
    log = b"\n" * (at - len(old)) + _log(text)
    try:
        file.write(len(old), log)
        file.sync()
    except OSError:
        with suppress(OSError):
            file.cut(len(old))  # it counts for nothing, and takes others the space
        raise
    _finish(file, old + log, text)


def _finish(file: File, data: bytes, text: bytes) -> None:
    """Make the text that a file stands for all that there is in it."""
    # Up to the log, which has to be there to the last.
    image = text.ljust(_log_at(data) or 0, b"\n")
    if not data.startswith(image):
        file.write(0, image)
        file.sync()
    file.cut(len(text))
    file.sync()


# The log -----------------------------------------------------------------------------------------


def _log_at(data: bytes) -> int | None:
    at = data.rfind(b"\n" + BEGIN)
    if at >= 0:
        return at + 1
    return 0 if data.startswith(BEGIN) else None


def _log(text: bytes) -> bytes:
    lines = b"".join(_LINE + line + b"\n" for line in text.split(b"\n"))
    return BEGIN + lines + b"#= %d %s\n" % (len(text), _sum(text))


def _logged(log: bytes) -> bytes | None:
    """The text that a log holds, if all of it is there."""
    *marked, last = log.removeprefix(BEGIN).removesuffix(b"\n").split(b"\n")
    end = _END.fullmatch(last)
    if end is None or not all(line.startswith(_LINE) for line in marked):
        return None
    text = b"\n".join(line[len(_LINE) :] for line in marked)
    is_whole = (len(text), _sum(text)) == (int(end[1]), end[2])
    return text if is_whole else None


def _sum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _is_fragment(data: bytes) -> bool:
    """Whether all of it is what is left of a log, and nothing that anybody else has written."""
    return all(
        b"\0" in line or line.startswith(_MARKS) or BEGIN.startswith(line)
        for line in data.split(b"\n")
    )
