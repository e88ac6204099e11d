"""Reading the config file: lines, includes, the command line, and what is refused."""

import contextlib
import os

import pytest
from fuzz.files import MemoryDisk
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.config import directives
from sentinel_py.config.config import (
    INCLUDE_DEPTH_MAX,
    ConfigError,
    Origin,
    StartError,
    check_writable,
    load,
    options_text,
)
from sentinel_py.config.lines import join
from sentinel_py.config.settings import ACCEPTED, DIRECTIVES
from sentinel_py.core.model import State
from sentinel_py.version import REDIS_VERSION


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into an empty current directory; the first one's name is returned."""
    monkeypatch.chdir(tmp_path)

    def write(text, **others):
        for name, content in {"sentinel": text, **others}.items():
            (tmp_path / f"{name}.conf").write_bytes(content.encode(errors="surrogateescape"))
        return "sentinel.conf"

    return write


def refusal(path, argv=(), stdin=None):
    with pytest.raises(ConfigError) as caught:
        load(path, argv, stdin)
    return caught.value


def test_lines_are_trimmed_and_comments_skipped(write):
    """Blanks and carriage returns around a line, empty lines and comments mean nothing."""
    config = load(write("\n# port 1\r\n \t port 2 \r\n  # port 3\n"))
    assert config.settings.port == 2


def test_names_are_case_insensitive_and_quotes_removed(write):
    """Directive names come in any case; words may be quoted either way."""
    config = load(write('REQUIREPASS "a \\"b\\x41"\nUnixSocket \'s p\'\n'))
    assert (config.settings.requirepass, config.settings.unixsocket) == ('a "bA', "s p")


def test_a_hash_within_a_line_is_a_word(write):
    """Only a whole line can be a comment."""
    assert load(write("requirepass #secret\n")).settings.requirepass == "#secret"


def test_last_line_wins(write):
    """Of several lines with one directive the last one holds."""
    assert load(write("port 1\nport 2\n")).settings.port == 2


def test_bytes_that_are_no_text_survive(write):
    """A password may be any bytes."""
    config = load(write("requirepass a\udcffb\nsentinel auth-pass m \udcfe\n"))
    assert config.settings.requirepass == "a\udcffb"
    assert config.statements[0].words[3] == "\udcfe"


def test_statements_are_collected_in_order_with_their_origin(write):
    """Sentinel, user and rename-command lines wait for those who understand them."""
    path = write("SENTINEL myid x\nuser a on\n\nsentinel\nrename-command PING PONG\n")
    config = load(path, ["--sentinel", "monitor", "m"])
    first, given = config.statements
    assert first.words == ("SENTINEL", "myid", "x")
    assert (first.line_no, first.origin, first.path) == (1, Origin.FILE, config.path)
    assert given.words == ("sentinel", "monitor", "m")
    assert (given.line_no, given.origin, given.path) == (7, Origin.GIVEN, "")
    assert [user.words for user in config.users] == [("user", "a", "on")]
    assert [renamed.line_no for renamed in config.renamed] == [5]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], ""),
        (["--port", "5"], 'port "5" '),
        (["--port 5"], "port 5 "),
        (["--port", "5", "--dir", "a b"], 'port "5" \ndir "a b" '),
        (["--bind", "1.2.3.4", "::1"], 'bind "1.2.3.4" "::1" '),
        (["port", "5"], '"port" "5" '),
        (["--port", "--x"], 'port "--x" '),
        (["--sentinel", "--port", "5"], 'sentinel \nport "5" '),
        (["--port", "5", "--sentinel"], 'port "5" \nsentinel '),
        (["--sentinel", "monitor", "m"], 'sentinel "monitor" "m" '),
        (["--save", "--port", "5"], 'save ""\nport "5" '),
        (["--save"], 'save ""'),
        (["--save", "900", "1"], 'save "900" "1" '),
        (["--port", "5", "-"], 'port "5" '),
    ],
)
def test_options_become_lines(argv, text):
    """The command line is text behind the file, as redis-sentinel makes it."""
    assert options_text(argv) == text


def test_file_then_stdin_then_options(write):
    """What comes later wins, and lines are numbered through all three."""
    path = write("port 1\ntimeout 1\nmaxclients 1\n")
    config = load(path, ["--maxclients", "3"], "timeout 2\nmaxclients 2\n")
    settings = config.settings
    assert (settings.port, settings.timeout, settings.maxclients) == (1, 2, 3)
    assert refusal(path, ["--port", "x"], "timeout 2\n").line_no == 6


def test_accepted_options_of_the_command_line_are_kept_for_the_file(write):
    """An option without meaning here is remembered only if the file does not have it."""
    config = load(write("hz 20\n"), ["--appendonly", "yes"])
    assert [line.text for line in config.given.values()] == ["appendonly yes"]


def test_include_takes_effect_where_it_stands(write):
    """Lines of an included file are counted from its top and say where they are from."""
    path = write("port 1\ninclude a.conf\ntimeout 3\n", a="port 2\ntimeout 2\nsentinel myid x\n")
    config = load(path)
    assert (config.settings.port, config.settings.timeout) == (2, 3)
    statement = config.statements[0]
    assert (statement.line_no, statement.origin, statement.path) == (3, Origin.INCLUDE, "a.conf")
    assert config.included == {"port 2", "sentinel myid x"}


def test_include_by_pattern_is_sorted_and_may_match_nothing(write):
    """A pattern includes all files that match, in the order of their names."""
    path = write("include [ba].conf\ninclude x*.conf\n", b="port 2\n", a="port 1\ntimeout 1\n")
    config = load(path)
    assert (config.settings.port, config.settings.timeout) == (2, 1)


def test_include_of_the_command_line_is_not_the_files(write):
    """What only the command line includes must be written into the file."""
    config = load(write("", a="sentinel myid x\n"), ["--include", "a.conf"])
    assert config.statements[0].origin is Origin.GIVEN
    assert not config.included


def test_files_that_include_each_other_are_refused(write):
    """The depth of includes has a limit."""
    error = refusal(write("include sentinel.conf\n"))
    assert error.reason == "Files include each other without an end"
    assert INCLUDE_DEPTH_MAX == 32


def test_missing_include_names_the_file(write):
    """A plain name must exist."""
    with pytest.raises(StartError) as caught:
        load(write("include nope.conf\n"))
    assert str(caught.value) == (
        "Fatal error, can't open config file 'nope.conf': No such file or directory"
    )


def test_missing_config_file(tmp_path):
    """The config file is named by its absolute path."""
    with pytest.raises(StartError) as caught:
        load(str(tmp_path / "x" / ".." / "nope.conf"))
    assert str(caught.value) == (
        f"Fatal error, can't open config file '{tmp_path}/nope.conf': No such file or directory"
    )


def test_no_config_file():
    """A sentinel without a file cannot save."""
    with pytest.raises(StartError, match=r"^Sentinel needs config file on disk to save state\."):
        load("")


def test_file_that_cannot_be_written(tmp_path):
    """The start is refused when no rewrite could succeed."""
    check_writable(os.devnull)
    with pytest.raises(StartError) as caught:
        check_writable(str(tmp_path))
    assert str(caught.value) == (
        f"Sentinel config file {tmp_path} is not writable: Is a directory. Exiting... "
        "(With sentinel state-dir <directory> it is only read.)"
    )


def test_dir_takes_effect_at_once_and_is_absolute(write, tmp_path):
    """Later relative paths start in the new directory; the config file stays where it is."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.conf").write_text("port 7\nlogfile log\n")
    config = load(write("dir sub\ninclude b.conf\n"))
    assert config.path == str(tmp_path / "sentinel.conf")
    assert (config.settings.port, config.settings.dir) == (7, str(tmp_path / "sub"))
    assert (tmp_path / "sub" / "log").exists()


def test_dir_is_known_without_a_directive(write, tmp_path):
    """Without `dir`, paths start where the process was started."""
    assert load(write("")).settings.dir == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense 1", "Bad directive or wrong number of arguments"),
        ("include", "Bad directive or wrong number of arguments"),
        ("user", "Bad directive or wrong number of arguments"),
        ("rename-command PING", "Bad directive or wrong number of arguments"),
        ('port "1', "Unbalanced quotes in configuration line"),
        ('requirepass "a"b', "Unbalanced quotes in configuration line"),
        ("port 1 2", "wrong number of arguments"),
        ("port", "wrong number of arguments"),
        ("appendonly perhaps", "argument must be 'yes' or 'no'"),
        ("mod.option", "Module config specified without value"),
        ("dir /nonexistent/dir", "No such file or directory"),
        ('dir ""', "dir can't be empty"),
        ('logfile "a\\x00b"', "argument must not contain a zero byte"),
        ('include "a\\x00b"', "argument must not contain a zero byte"),
    ],
)
def test_refused_lines(write, text, reason):
    """A bad line is refused with the reason that redis-sentinel gives."""
    error = refusal(write(f"timeout 0\n{text}\n"))
    assert (error.line_no, error.line, error.reason) == (2, text, reason)


def test_options_of_modules_are_let_pass(write):
    """A name with a dot may belong to a module, and means nothing here."""
    load(write("search.timeout 5\nloadmodule /x.so a b\n"))


def test_banner_of_a_file(write):
    """The first lines are redis-sentinel's to the byte; the file's name follows them."""
    error = refusal(write("include a.conf\n", a="# x\n  port abc \n"))
    assert str(error) == (
        f"\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n"
        "Reading the configuration file, at line 2\n"
        ">>> 'port abc'\n"
        "argument couldn't be parsed into an integer\n"
        "In file: a.conf"
    )


def test_banner_of_the_command_line(write):
    """What was not read from a file names none; the line is the text that was made of it."""
    error = refusal(write("port 0\n"), ["--port", "abc"])
    assert str(error) == (
        f"\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n"
        "Reading the configuration file, at line 3\n"
        ">>> 'port \"abc\"'\n"
        "argument couldn't be parsed into an integer"
    )


def test_banner_without_a_line(write):
    """A log file that cannot be opened is found when all lines are read."""
    assert str(refusal(write("logfile /nonexistent/log\nport 1\n"))) == (
        f"\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n"
        "Can't open the log file: No such file or directory"
    )


def test_users_in_two_places(write):
    """Users stand in the config file or in an ACL file."""
    with pytest.raises(StartError, match="define either an ACL file or declare users directly"):
        load(write("aclfile users.acl\nuser a on\n"))


OPTIONS = [key.removeprefix("sentinel ") for key in sorted(directives.KEYS)]
NAMES = [*DIRECTIVES, *ACCEPTED, "include", "user", "rename-command", "sentinel", "a.b"]
WORDS = st.binary(max_size=12).map(lambda data: data.decode(errors="surrogateescape")) | (
    st.sampled_from(["yes", "0", "-1", "9" * 40, "1mb", "1%", "127.0.0.1", "mm", "\0", "", '"'])
)
LINES = st.builds(
    lambda name, words: join([*name, *words]),
    st.tuples(st.sampled_from(NAMES)) | st.tuples(st.just("sentinel"), st.sampled_from(OPTIONS)),
    st.lists(WORDS, max_size=5),
)


@given(st.lists(LINES | st.binary().map(lambda data: data.decode(errors="surrogateescape"))))
def test_no_text_ends_in_a_traceback(lines):
    """Whatever stands in a file, it is understood or refused in words."""
    text = "\n".join(["sentinel monitor mm 127.0.0.1 6379 1", *lines])
    with contextlib.suppress(ConfigError, StartError):
        config = load("/c", disk=MemoryDisk(text))
        directives.apply(config.statements, State(myid=""), now=0, resolve=lambda _: None)
