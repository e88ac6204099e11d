"""Log lines in files, on stdout and in syslog; and notices on their way there."""

import logging
import os
import re
import syslog

import pytest

from sentinel_py.core.messages import Level, Log, Notice, RunScript
from sentinel_py.logs import LogFile, LogOptions, bridge_logging
from sentinel_py.notify import MAX_TEXT_BYTES, Notifier

LINE = re.compile(r"(\d+):X \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3} ([.*#-]) (.*)\n")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def log(path):
    return LogFile(LogOptions(path=str(path), level="debug"))


def lines(path):
    """Mark and text of each line."""
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines(keepends=True)]
    assert all(found)
    return [match.groups()[1:] for match in found]


def test_line_format(log, path):
    """A line has pid, role, time and a mark for its level, as redis-sentinel writes it."""
    for level in Level:
        log.write(level, f"+{level.name} é")
    assert lines(path) == [
        (".", "+DEBUG é"),
        ("-", "+VERBOSE é"),
        ("*", "+NOTICE é"),
        ("#", "+WARNING é"),
    ]
    assert path.read_text().startswith(f"{os.getpid()}:X ")


def test_what_modules_log(log, path, monkeypatch):
    """What an exception says is not lost, and each of its lines is a line."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    bridge_logging(log)
    try:
        raise LookupError("no such thing")
    except LookupError:
        logging.getLogger("sentinel_py.raft").exception("Entry %d", 7)
    logging.getLogger("sentinel_py.raft").info("all is well")
    written = lines(path)
    assert written[0] == ("#", "Entry 7")
    assert written[-2:] == [("#", "LookupError: no such thing"), ("-", "all is well")]


@pytest.mark.parametrize(
    ("word", "marks"),
    [("debug", ".-*#"), ("verbose", "-*#"), ("notice", "*#"), ("warning", "#"), ("nothing", "")],
)
def test_level(log, path, word, marks):
    """The log level can be changed at any time; what is below it is left out."""
    path.touch()
    log.set_level(word)
    for level in Level:
        log.write(level, "x")
    assert "".join(mark for mark, _ in lines(path)) == marks


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\n1:X forged", r"a\n1:X forged"),
        ("\r\t\x1b[2J\0\x7f", r"\r\t\x1b[2J\x00\x7f"),
        ("\x85\u2028\u2029", r"\x85\u2028\u2029"),
        ("byte \udcff, no character \ud800", r"byte \xff, no character \ud800"),
    ],
)
def test_one_line_whatever_the_text(log, path, text, written):
    """No text from outside can forge a line, steer a terminal or make the file invalid UTF-8."""
    log.write(Level.NOTICE, text)
    assert lines(path) == [("*", written)]


def test_rotation(log, path):
    """When the file has been renamed, the next line goes to a new one."""
    log.write(Level.NOTICE, "first")
    old = path.rename(path.with_suffix(".1"))
    log.write(Level.NOTICE, "second")
    assert lines(old) == [("*", "first")]
    assert lines(path) == [("*", "second")]


def test_no_path_is_stdout(capfd):
    """Without a log file, lines go to stdout."""
    LogFile(LogOptions()).write(Level.WARNING, "x")
    assert capfd.readouterr().out.endswith(" # x\n")


def test_a_file_that_cannot_be_opened(tmp_path):
    """The start can find out; later it is no reason to fail."""
    log = LogFile(LogOptions(path=str(tmp_path / "no" / "log")))
    with pytest.raises(FileNotFoundError):
        log.try_open()
    log.write(Level.WARNING, "x")


def test_a_device_that_is_full():
    """A write that fails raises nothing."""
    log = LogFile(LogOptions(path="/dev/full"))
    log.try_open()
    log.write(Level.WARNING, "x")


def test_syslog(monkeypatch, path):
    """Syslog gets the bare text under the configured name, beside the file."""
    calls = []
    monkeypatch.setattr(syslog, "openlog", lambda *args: calls.append(args))
    monkeypatch.setattr(syslog, "syslog", lambda *args: calls.append(args))
    options = LogOptions(
        path=str(path), syslog_enabled=True, syslog_ident="me", syslog_facility="local3"
    )
    log = LogFile(options)
    for level in Level:
        log.write(level, "a\nb")
    flags = syslog.LOG_PID | syslog.LOG_NDELAY | syslog.LOG_NOWAIT
    assert calls == [
        ("me", flags, syslog.LOG_LOCAL3),
        (syslog.LOG_NOTICE, r"a\nb"),
        (syslog.LOG_WARNING, r"a\nb"),
    ]
    assert [mark for mark, _ in lines(path)] == ["*", "#"]


class Outlets:
    """Where a notifier sends: what was published, and which scripts were run."""

    def __init__(self):
        self.published = []
        self.ran = []

    def publish(self, channel, payload):
        self.published.append((channel, payload))
        return 0

    def run(self, argv):
        self.ran.append(argv)


@pytest.fixture
def outlets():
    return Outlets()


@pytest.fixture
def notifier(log, outlets):
    return Notifier(log, outlets.publish, outlets)


def test_notice(notifier, outlets, path):
    """A notice is logged, published, and handed to its script if it has one."""
    notifier.notice(Notice(Level.NOTICE, "+slave", "slave x"))
    notifier.notice(Notice(Level.WARNING, "+sdown", "master x", script="/bin/notify"))
    assert lines(path) == [("*", "+slave slave x"), ("#", "+sdown master x")]
    assert outlets.published == [("+slave", "slave x"), ("+sdown", "master x")]
    assert outlets.ran == [("/bin/notify", "+sdown", "master x")]


def test_debug_notice(notifier, outlets, path):
    """Debug notices are for the log only."""
    notifier.notice(Notice(Level.DEBUG, "+script-child", "17"))
    assert lines(path) == [(".", "+script-child 17")]
    assert outlets.published == []


def test_publication_does_not_depend_on_the_log_level(log, notifier, outlets, path):
    """Subscribers hear what the log leaves out."""
    log.set_level("nothing")
    notifier.notice(Notice(Level.WARNING, "+sdown", "master x"))
    assert outlets.published == [("+sdown", "master x")]
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * MAX_TEXT_BYTES, MAX_TEXT_BYTES),
        ("x" * 2000, MAX_TEXT_BYTES),
        ("é" * 1000, 511),
        ("x" + "é" * 1000, 512),
        ("xx" + "😀" * 1000, 2 + 255),
        ("\udc80" * 2000, MAX_TEXT_BYTES - 4),
    ],
)
def test_long_text(notifier, outlets, text, kept):
    """The text is cut at the limit of the original, between characters."""
    notifier.notice(Notice(Level.WARNING, "+sdown", text, script="s"))
    assert outlets.published == [("+sdown", text[:kept])]
    assert outlets.ran == [("s", "+sdown", text[:kept])]


def test_other_effects(notifier, outlets, path):
    """A log line is not published; a script runs with exactly its arguments."""
    notifier.log(Log(Level.VERBOSE, "text"))
    notifier.run_script(RunScript(("/bin/reconfig", "x")))
    assert lines(path) == [("-", "text")]
    assert outlets.published == []
    assert outlets.ran == [("/bin/reconfig", "x")]
