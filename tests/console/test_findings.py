"""What doctor says without asking anybody: numbers, rights, config files."""

import os

import pytest

from sentinel_py.console import lint
from sentinel_py.console.findings import Severity, Watched, group_findings
from sentinel_py.console.nodes import clock_findings
from sentinel_py.console.rights import RIGHTS, way_to
from sentinel_py.console.running import files_findings
from sentinel_py.console.wire import Place

MONITOR = "sentinel monitor mymaster 127.0.0.1 {port} 2\n"


def group(sentinels, quorum):
    return group_findings(Watched("m", Place("192.0.2.1", 6379), (), sentinels, quorum))


@pytest.mark.parametrize(
    ("sentinels", "quorum", "severity", "text"),
    [
        (3, 4, Severity.ERROR, "quorum 4 of 3 sentinels can never be met"),
        (1, 1, Severity.WARNING, "with one sentinel"),
        (2, 2, Severity.WARNING, "with two sentinels"),
        (4, 3, Severity.WARNING, "4 sentinels survive the loss of no more than 3 would"),
        (3, 3, Severity.WARNING, "one sentinel that is away prevents every failover"),
    ],
)
def test_numbers_that_do_not_work(sentinels, quorum, severity, text):
    """A quorum that cannot be met is an error, an even number a warning."""
    (found,) = group(sentinels, quorum)
    assert found.severity is severity
    assert text in found.what
    assert found.way_out


@pytest.mark.parametrize(("sentinels", "quorum"), [(3, 2), (5, 3), (5, 1), (0, 2)])
def test_numbers_that_work(sentinels, quorum):
    """Nothing is said of them, nor of a group that nobody has met yet."""
    assert not group(sentinels, quorum)


def test_open_files():
    """A thousand are left for clients."""
    assert not list(files_findings("here", 1016, nodes=6, peers=2))
    (found,) = files_findings("here", 1015, nodes=6, peers=2)
    assert found.what == "at most 1015 open files; with 6 Redis servers 1016 are wanted"
    assert not list(files_findings("here", None, nodes=600, peers=2))


@pytest.mark.parametrize("apart_s", [-1.2, -0.9, 0, 0.9, 1.2])
def test_clocks(apart_s):
    """More than a second apart is told; the way of the question is no difference."""
    at_ms, took_ms = 1_700_000_000_000, 100
    seconds, micros = divmod(round((at_ms + took_ms / 2 + apart_s * 1000) * 1000), 1_000_000)
    answer = [str(seconds), str(micros)]
    found = list(clock_findings(Place("192.0.2.1", 6379), answer, at_ms, took_ms))
    assert [it.what for it in found] == ["its clock is 1.2 s from the one of this host"] * (
        abs(apart_s) > 1
    )


def test_rights_have_the_names_of_acl_rules():
    """Those that the Sentinel documentation lists; what a promotion can do without is no error."""
    names = {right.name: right.lack.severity for right in RIGHTS}
    errors = {name for name, severity in names.items() if severity is Severity.ERROR}
    assert errors == {"ping", "info", "publish", "subscribe", "slaveof"}
    assert {"multi", "exec", "config|rewrite", "client|kill"} <= {*names} - errors


@pytest.mark.parametrize(
    ("texts", "way_out"),
    [
        (
            {"slaveof": "no permissions", "client|kill": "no permissions"},
            "there: ACL SETUSER bob +slaveof +client|kill",
        ),
        (
            {"publish": "to access one of the channels", "subscribe": "'x' channel"},
            "there: ACL SETUSER bob &__sentinel__:hello",
        ),
    ],
)
def test_the_way_to_a_right(texts, way_out):
    """The very line to type."""
    refused = {right: texts[right.name] for right in RIGHTS if right.name in texts}
    assert way_to("bob", refused) == way_out


# Config files ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _same_directory(monkeypatch, tmp_path):
    """A config file may send the process to another directory."""
    monkeypatch.chdir(tmp_path)


async def lint_of(tmp_path, text, port=1):
    path = tmp_path / "sentinel.conf"
    path.write_text(text.format(port=port))
    path.chmod(0o600)
    watched, found = await lint.examine(str(path))
    return watched, {it.what: it for it in found}


async def test_a_good_file(tmp_path):
    """What it watches, with the login for the servers, and nothing to say."""
    text = MONITOR + "sentinel auth-user mymaster bob\nsentinel auth-pass mymaster secret\n"
    watched, found = await lint_of(tmp_path, text)
    assert not found
    (master,) = watched
    assert (master.name, str(master.master), master.quorum) == ("mymaster", "127.0.0.1:1", 2)
    assert (master.master.login.user, master.master.login.password) == ("bob", "secret")
    assert "secret" not in repr(watched)


@pytest.mark.parametrize(
    ("text", "severity", "what"),
    [
        ("sentinel monitor\n", Severity.ERROR, "Unrecognized sentinel configuration statement"),
        ("port 26379\n", Severity.ERROR, "it watches nothing"),
        (
            MONITOR + "sentinel monitor other 127.0.0.1 {port} 2\n",
            Severity.ERROR,
            "other and mymaster are the same server",
        ),
        (
            MONITOR + "sentinel down-after-milliseconds mymaster 200000\n",
            Severity.WARNING,
            "failover-timeout is less than down-after-milliseconds",
        ),
        (
            MONITOR + "sentinel fence-isolated-master mymaster yes\n",
            Severity.WARNING,
            "fence-isolated-master has no effect",
        ),
        (
            MONITOR + "sentinel raft-peers db.invalid:1\n",
            Severity.ERROR,
            "means another server on each host",
        ),
        (
            MONITOR + "sentinel raft-peers 127.0.0.1:1 127.0.0.1:2\n",
            Severity.WARNING,
            "2 Raft members survive the loss of no more than 1",
        ),
        (
            MONITOR + "sentinel raft-peers db.invalid:1\n",
            Severity.ERROR,
            "db.invalid:1 is another host, and there is no raft-secret",
        ),
        (
            MONITOR + "sentinel raft-peers db.invalid:1\nsentinel raft-secret none\n",
            Severity.WARNING,
            "whoever speaks from a member's address is believed",
        ),
        (
            MONITOR + "sentinel raft-secret change-me\n",
            Severity.ERROR,
            "raft-secret is the one of the example",
        ),
        (
            MONITOR + "sentinel raft-secret s3cret\n",
            Severity.WARNING,
            "raft-secret has fewer than 16 characters",
        ),
        (
            MONITOR + "sentinel raft-peers 127.0.0.1:1\n",
            Severity.WARNING,
            "a sentinel that the file names: cannot talk to 127.0.0.1:1",
        ),
    ],
)
async def test_a_file_with_a_fault(tmp_path, text, severity, what):
    """Each is found, and has a way out."""
    _, found = await lint_of(tmp_path, text)
    (it,) = [finding for text, finding in found.items() if what in text]
    assert it.severity is severity
    assert it.way_out


async def test_a_wrong_line_is_named(tmp_path):
    """With its number."""
    _, found = await lint_of(tmp_path, f"port 26379\nnonsense\n{MONITOR}")
    (it,) = found.values()
    assert it.where.endswith("sentinel.conf, line 2")


async def test_no_log_file_is_made(tmp_path):
    """Looking must not leave a file of another owner in the sentinel's way."""
    _, found = await lint_of(tmp_path, f"logfile {tmp_path}/sentinel.log\n{MONITOR}")
    assert not found
    assert not (tmp_path / "sentinel.log").exists()


async def test_a_file_that_everybody_can_read(tmp_path):
    """Only a secret in it makes that worth a word."""
    path = tmp_path / "sentinel.conf"
    for secret in ("", "requirepass x\n", "user bob on >x\n", "sentinel sentinel-pass x\n"):
        path.write_text(MONITOR.format(port=1) + secret)
        path.chmod(0o644)
        _, found = await lint.examine(str(path))
        assert [it.severity for it in found] == [Severity.WARNING] * bool(secret)


async def test_a_state_directory(tmp_path):
    """What the sentinel has learnt counts; the directory may still be missing."""
    text = f"sentinel state-dir {tmp_path}/state\n{MONITOR}"
    watched, found = await lint_of(tmp_path, text)
    assert not found
    assert not (tmp_path / "state").exists()
    assert watched[0].sentinels == 0
    (tmp_path / "state").mkdir()
    kept = f"{MONITOR}sentinel known-sentinel mymaster 127.0.0.1 1 {'a' * 40}\n"
    said = f"#: sentinel monitor mymaster 127.0.0.1 1 2\n#: sentinel state-dir {tmp_path}/state\n"
    (tmp_path / "state" / "sentinel-26379.conf").write_text(kept.format(port=1) + said)
    watched, _ = await lint_of(tmp_path, text)
    assert watched[0].sentinels == 2


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
async def test_a_file_that_cannot_be_written(tmp_path):
    """A sentinel keeps its state there."""
    (tmp_path / "closed").mkdir()
    path = tmp_path / "closed" / "sentinel.conf"
    path.write_text(MONITOR.format(port=1))
    path.parent.chmod(0o500)
    _, found = await lint.examine(str(path))
    path.parent.chmod(0o700)
    assert [it.severity for it in found] == [Severity.ERROR]
