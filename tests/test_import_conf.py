"""What becomes of each line of a redis-sentinel's file, and what the new file says."""

import ast
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

import sentinel_py
from sentinel_py.config import config, directives
from sentinel_py.config.settings import ACCEPTED, DIRECTIVES
from sentinel_py.console.import_conf import UNUSED, Verdict, examine, main, shown
from sentinel_py.core.model import State

ID = "a" * 40
WATCH = "sentinel monitor m 10.0.0.1 6379 2"
TAKEN, UNUSED_HERE, REFUSED = Verdict
PACKAGE = Path(sentinel_py.__file__).parent
UNKNOWN = "Bad directive or wrong number of arguments"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a config file of these lines into an empty current directory; its name."""
    monkeypatch.chdir(tmp_path)

    def write(*lines, name="sentinel.conf"):
        (tmp_path / name).write_text("\n".join([*lines, ""]), errors="surrogateescape")
        return name

    return write


@pytest.fixture
def run(write):
    """Import a file of these lines; the exit status and what was printed."""

    def run(*lines, into=None):
        words = [write(*lines), *(("--into", into) if into else ())]
        result = CliRunner().invoke(main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return run


def verdicts(found):
    return [(finding.line_no, finding.verdict) for finding in found.findings]


@pytest.mark.parametrize(
    ("line", "verdict", "why"),
    [
        ("PORT 26380", TAKEN, ""),
        ("sentinel parallel-syncs m 2", TAKEN, ""),
        (f"sentinel myid {ID}", TAKEN, "found out by the sentinel"),
        ("sentinel known-slave m 10.0.0.2 1", TAKEN, "found out by the sentinel"),
        ("user a on nopass", TAKEN, "its rules are checked at the start"),
        ("rename-command PING PONG", TAKEN, ""),
        ("appendonly yes", UNUSED_HERE, "a sentinel keeps no data, so it writes no AOF"),
        ("cluster-enabled no", UNUSED_HERE, "a sentinel is not part of a Redis Cluster"),
        ("masterauth x", UNUSED_HERE, UNUSED["masterauth"]),
        ("databases 16", UNUSED_HERE, "it is for a Redis with data"),
        ("loadmodule /x.so", UNUSED_HERE, "modules are not loaded"),
        ("some.option 1", UNUSED_HERE, "modules are not loaded"),
        ("set-proc-title no", UNUSED_HERE, UNUSED["set-proc-title"]),
        ("foo bar", REFUSED, UNKNOWN),
        ("appendonly perhaps", REFUSED, "argument must be 'yes' or 'no'"),
        ("port abc", REFUSED, "argument couldn't be parsed into an integer"),
        ("sentinel quorum m 0", REFUSED, "Unrecognized sentinel configuration statement."),
        ("sentinel auth-pass other x", REFUSED, "No such master with specified name."),
        ('requirepass "x', REFUSED, "Unbalanced quotes in configuration line"),
        ("dir /nonexistent", REFUSED, "No such file or directory"),
        ("logfile /nonexistent/x", REFUSED, "Can't open the log file: No such file or directory"),
        ("include /nonexistent", REFUSED, "there is no /nonexistent"),
        ("include self.conf", TAKEN, "1 files"),
    ],
)
def test_each_line_has_a_fate(write, line, verdict, why):
    """Taken over, without effect and why, or refused in the words of a start."""
    write("", name="self.conf")
    *_, last = examine(write(WATCH, line)).findings
    assert (last.line_no, last.verdict, last.why) == (2, verdict, why)


def test_comments_and_empty_lines_have_none(write):
    """Numbers are those of the file all the same."""
    found = examine(write("# head", "", WATCH))
    assert verdicts(found) == [(3, TAKEN)]


def test_the_order_of_lines_is_that_of_a_start(write):
    """An option may stand above the line that monitors its master."""
    found = examine(write("sentinel quorum-less x", "sentinel auth-pass m x", WATCH, WATCH))
    assert verdicts(found) == [(1, REFUSED), (2, TAKEN), (3, TAKEN), (4, REFUSED)]
    assert found.findings[3].why == "Duplicate master name."


def test_a_line_that_a_later_one_makes_void_is_named(write):
    """The last one wins; limits of several kinds of clients stand beside each other."""
    limits = [f"client-output-buffer-limit {kind} 0 0 0" for kind in ("normal", "pubsub")]
    found = examine(write("port 1", "PORT 2", *limits))
    assert [finding.why for finding in found.findings] == ["line 2 says it again", "", "", ""]


def test_included_files_are_read_too(write, tmp_path):
    """Their lines are named with their own file and number; a glob may find nothing."""
    write("port 1", "foo", name="a.inc")
    found = examine(write("include *.inc", "include *.none", "port 2"))
    places = [(os.path.basename(it.path), it.line_no, it.verdict) for it in found.findings]
    assert places == [
        ("sentinel.conf", 1, TAKEN),
        ("a.inc", 1, UNUSED_HERE),
        ("a.inc", 2, REFUSED),
        ("sentinel.conf", 2, TAKEN),
        ("sentinel.conf", 3, TAKEN),
    ]
    assert found.findings[1].why == f"line 3 of {tmp_path / 'sentinel.conf'} says it again"


def test_a_file_that_includes_itself_is_refused(write):
    """It ends, with one refusal."""
    found = examine(write("include sentinel.conf"))
    assert [it.why for it in found.findings if it.verdict is REFUSED] == [
        "Files include each other without an end"
    ]


def test_nothing_is_changed_but_what_was_asked_for(write, tmp_path):
    """A start would change the directory and begin the log."""
    (tmp_path / "sub").mkdir()
    examine(write("dir sub", "logfile x.log", "pidfile x.pid"))
    assert Path.cwd() == tmp_path
    assert sorted(os.listdir(tmp_path)) == ["sentinel.conf", "sub"]
    assert not os.listdir(tmp_path / "sub")


# What has no effect ------------------------------------------------------------------------------


def attributes():
    """Every attribute that is read anywhere in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                yield node.attr


def test_what_is_said_to_have_no_effect_is_read_nowhere():
    """And what is read nowhere is said to have none: the list follows the code."""
    read = {name.replace("_", "-") for name in attributes()}
    assert set(DIRECTIVES) - read == set(UNUSED) & set(DIRECTIVES)
    assert set(UNUSED) - set(DIRECTIVES) - set(ACCEPTED) == {"loadmodule"}


# The report --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("requirepass hunter2", "requirepass ***"),
        ("SENTINEL Auth-Pass m hunter2", "SENTINEL Auth-Pass m ***"),
        ("sentinel auth-user m watcher", "sentinel auth-user m watcher"),
        ("sentinel sentinel-pass hunter2", "sentinel sentinel-pass ***"),
        ("sentinel raft-secret hunter2", "sentinel raft-secret ***"),
        ("sentinel http-token hunter2", "sentinel http-token ***"),
        ("sentinel http-user me hunter2", "sentinel http-user me ***"),
        ("sentinel webhook m https://x/?key=hunter2 hunter2", "sentinel webhook m ***"),
        ("user alice on >hunter2 +@all", "user alice ***"),
        ("masterauth hunter2", "masterauth ***"),
        ("tls-key-file-pass hunter2", "tls-key-file-pass ***"),
        ('requirepass "hunter2', "requirepass ***"),
        ("sentinel auth-pas m hunter2", "sentinel auth-pas m hunter2"),
        ("sentinel auth-passs m hunter2", "sentinel auth-passs m ***"),
        ("sentinel", "sentinel"),
        ("logfile \x1b[2J", 'logfile "\\x1b[2J"'),
    ],
)
def test_passwords_are_not_shown(line, text):
    """Nor is anything that would do something to the terminal."""
    assert shown(line) == text


def test_the_report_ends_with_what_was_understood(run):
    """Numbers, masters with what is known of them, and whose id it is."""
    status, said = run(
        WATCH,
        "sentinel known-replica m 10.0.0.2 6379",
        "sentinel config-epoch m 7",
        f"sentinel myid {ID}",
        "sentinel raft-peers 10.0.0.1:1",
        "save 900 1",
    )
    assert status == 0
    assert said.splitlines()[-4:] == [
        "5 taken over, 1 no effect, 0 refused.",
        "Watches m at 10.0.0.1:6379, quorum 2, epoch 7, known replicas: 1, other sentinels: 0.",
        "A member of the Raft cluster 10.0.0.1:1.",
        f"Has the id {ID}: end the sentinel that has it before you start this one.",
    ]


def test_a_refused_line_is_a_failure(run, tmp_path):
    """A sentinel would not start with it, so there is no new file either."""
    status, said = run(WATCH, "foo", into="new.conf")
    assert status == 1
    assert "    2  refused     foo  (Bad directive" in said
    assert not (tmp_path / "new.conf").exists()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("aclfile users.acl", "user a on"), "Configuring Redis with users defined in redis.conf"),
        (None, "missing.conf: No such file or directory"),
    ],
)
def test_what_no_line_can_be_blamed_for_is_one_line(write, lines, text):
    """On stderr, with status 1."""
    path = write(*lines) if lines else "missing.conf"
    result = CliRunner().invoke(main, [path])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert text in result.stderr


# The new file ------------------------------------------------------------------------------------


def understood(path):
    loaded = config.load(path)
    state = State(myid="")
    directives.apply(loaded.statements, state, now=0, resolve=lambda _: None)
    return loaded.settings.lines(), directives.render(state), [user.words for user in loaded.users]


def test_the_new_file_means_the_same(run, tmp_path):
    """Comments stay where they are, and what has no effect becomes one."""
    lines = ("# head", "port 1", "port 2 ", "", "save 900 1", WATCH, "user a on >x\udcff")
    status, said = run(*lines, into="new.conf")
    assert status == 0
    assert said.endswith("Written to new.conf. Start it:  sentinel-py new.conf\n")
    assert (tmp_path / "new.conf").read_text(errors="surrogateescape").splitlines() == [
        "# head",
        "# no effect (line 3 says it again): port 1",
        "port 2 ",
        "",
        "# no effect (a sentinel keeps no data, so it writes no RDB file): save 900 1",
        *lines[5:],
    ]
    assert understood("new.conf") == understood("sentinel.conf")


def test_the_new_file_is_as_secret_as_the_old_one(write, tmp_path):
    """Mode and owner are those of the file that the passwords were in."""
    old = tmp_path / write(WATCH)
    old.chmod(0o640)
    assert CliRunner().invoke(main, [str(old), "--into", "new.conf"]).exit_code == 0
    new = (tmp_path / "new.conf").stat()
    assert stat.S_IMODE(new.st_mode) == 0o640
    assert (new.st_uid, new.st_gid) == (old.stat().st_uid, old.stat().st_gid)


def test_no_file_is_overwritten(write, tmp_path):
    """Least of all the one that is read."""
    path = write(WATCH)
    before = (tmp_path / path).read_text()
    result = CliRunner().invoke(main, [path, "--into", path])
    assert (result.exit_code, result.stderr) == (1, "sentinel-py: sentinel.conf: File exists\n")
    assert (tmp_path / path).read_text() == before
