"""A terminal of 100 x 30 for a test, and what a command prints there."""

import fcntl
import os
import re
import select
import struct
import subprocess
import termios

from sentinel_py.local import eventually, sentinel_program

LINES, COLUMNS = 30, 100
WITHIN_S = 60
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|\([A-Z])")


class Terminal:
    """One command in its terminal, which ends with it."""

    def __init__(self, *words):
        self._ours, theirs = os.openpty()
        size = struct.pack("HHHH", LINES, COLUMNS, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        plain = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        self._process = subprocess.Popen(
            [*sentinel_program(), *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**plain, "TERM": "xterm-256color"},
            start_new_session=True,
            # Without it, Ctrl-C is a key like any other.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        self._theirs = theirs
        self._read = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def raw(self):
        while select.select([self._ours], [], [], 0)[0]:
            self._read += os.read(self._ours, 65536)
        return self._read.decode(errors="replace")

    def text(self):
        return ESCAPES.sub("", self.raw).replace("\r", "")

    def frame(self):
        """The last picture that is complete."""
        home = "\x1b[H"
        whole = [it for it in self.raw.split(home) if it.count("\n") >= LINES - 1]
        return ESCAPES.sub("", whole[-1]).replace("\r", "") if whole else ""

    def shows(self, text, again=lambda: None):
        def is_shown():
            again()
            return text in self.text()

        eventually(is_shown, WITHIN_S * 1000, f"{text!r} in the terminal")

    def modes(self):
        return termios.tcgetattr(self._theirs)

    def press(self, key):
        os.write(self._ours, key)

    def ends(self):
        eventually(lambda: (self.raw, self._process.poll() is not None)[1], WITHIN_S * 1000, "end")
        return self._process.returncode
