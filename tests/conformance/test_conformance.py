"""What `scripts/conformance` makes of the suite's output, and that nothing outlives a run."""

import io
import signal
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from sentinel_py.local import eventually

from .source import UnavailableError, as_source_packages, unpack
from .suite import HOST, Suite, prepare, require_free, units

OUTPUT = """\
Starting sentinel #0 at port 20000
\x1b[0;33;49mTesting unit: 00-base.tcl\x1b[0m
10:00:00> (init) Restart killed instances: redis/3 sentinel/1 \x1b[0;32;49mOK\x1b[0m
10:00:01> New master 127.0.0.1:30002 role matches: \x1b[0;32;49mOK\x1b[0m
10:00:02> It says something first: something
more
OK
10:00:03> Basic failover works: \x1b[0;31;49mFAILED: Expected '1' to be '2'\x1b[0m
\x1b[0;31;49m(Jumping to next unit after error)\x1b[0m
FAILED: caught an error in the test
Testing unit: 01-conf-update.tcl
10:00:04> It never ends:\x20
Testing unit: 02-slaves-reconf.tcl
FAILED: caught an error in the test invalid command name
Testing unit: 04-slave-selection.tcl
10:00:05> It breaks: FAILED: caught an error in the test I/O error
WARNING: Aborting the test.
"""


def test_verdicts():
    """Each test counts once, wherever its verdict stands; trouble outside of tests counts too."""
    ended = {unit.name: (unit.passed, unit.failures) for unit in units(io.StringIO(OUTPUT))}
    assert ended == {
        "00-base.tcl": (3, ["Basic failover works: FAILED: Expected '1' to be '2'"]),
        "01-conf-update.tcl": (0, ["It never ends: FAILED: no verdict"]),
        "02-slaves-reconf.tcl": (0, ["FAILED: caught an error in the test invalid command name"]),
        "04-slave-selection.tcl": (
            *(0, ["It breaks: FAILED: caught an error in the test I/O error"]),
        ),
    }


def test_a_suite_that_does_not_start_has_failed():
    """No unit is no success."""
    [unit] = units(["Starting sentinel #0\n", "WARNING: Aborting the test.\n"])
    assert (unit.name, unit.failures) == ("start", ["WARNING: Aborting the test."])


@pytest.mark.parametrize(
    ("suffix", "before", "after"),
    [
        (
            ".list",
            "# main\ndeb [arch=amd64] http://x/debian bookworm main\ndebug\n",
            "# main\ndeb-src [arch=amd64] http://x/debian bookworm main\ndebug\n",
        ),
        (".list", "deb http://x y z\ndeb-src http://x y z\n", "deb-src http://x y z\n"),
        (
            ".sources",
            "Types: deb\nURIs: http://x\n\nTypes: deb deb-src\nURIs: http://y\n",
            "Types: deb-src\nURIs: http://x\n\nTypes: deb-src\nURIs: http://y\n",
        ),
    ],
)
def test_package_sources_become_sources_of_source_packages(suffix, before, after):
    """Both formats of apt."""
    assert as_source_packages(before, suffix) == after


def test_only_what_the_suite_needs_is_unpacked(tmp_path):
    """Nothing of the C source, and nothing outside of the folder."""
    wanted = {"runtest-sentinel", "tests/instances.tcl", "tests/sentinel/run.tcl"}
    unwanted = {"src/sentinel.c", "tests/unit/acl.tcl", "tests/support/../../../escaped"}
    with tarfile.open(tmp_path / "redis.tar", "w") as archive:
        for name in wanted | unwanted:
            archive.addfile(tarfile.TarInfo(f"redis-7.0.15/{name}"))
    folder = unpack(tmp_path / "redis.tar", tmp_path / "unpacked")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == wanted
    assert not list(tmp_path.glob("**/escaped"))


@pytest.fixture
def suite_folder(tmp_path):
    """A suite that starts its sentinel, tells its process id, and leaves it behind."""
    source = tmp_path / "source"
    (source / "tests/sentinel").mkdir(parents=True)
    (source / "runtest-sentinel").write_text("src/redis-sentinel 1000 & echo $!; $1 1000\n")
    folder = tmp_path / "work"
    prepare(source, folder, ["sleep"])
    return folder


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("then", "status"), [("sleep", -signal.SIGKILL), ("true", 0)])
def test_nothing_outlives_the_run(suite_folder, then, status):
    """What the suite has started ends with it, whether it was left early or ended itself."""
    with Suite(suite_folder, [then]) as suite:
        lines = suite.lines()
        sentinel = int(next(lines))
        if then == "sleep":
            assert is_running(sentinel)
        else:
            assert list(lines) == []  # the end, though the sentinel held its output open
    eventually(lambda: not is_running(sentinel), what="end of the sentinel")
    assert suite.status() == status


def test_options_come_behind_the_file(tmp_path):
    """What the suite starts gets them word for word, each time."""
    (tmp_path / "source/tests/sentinel").mkdir(parents=True)
    prepare(tmp_path / "source", tmp_path / "work", ["printf", "<%s>"], ["--a b", "c"])
    start = tmp_path / "work/src/redis-sentinel"
    done = subprocess.run([start, "x.conf"], capture_output=True, text=True, check=True)
    assert done.stdout == "<x.conf><--a b><c>"


def test_members_need_the_ports_that_name_them():
    """A port in use is told before the suite starts."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"^port {port} is needed: Address already in"):
            require_free([port])
