"""What becomes of Twemproxy's file, and how it is restarted."""

import asyncio
import os
import stat

import pytest

from sentinel_py.discovery import twemproxy
from sentinel_py.discovery.place import Place
from sentinel_py.discovery.steering import TargetError
from sentinel_py.discovery.twemproxy import Twemproxy, by_command, by_pid_file, rewrite

NEW = {"one": Place("redis-2", 7002)}

LINES = {
    " - 127.0.0.1:6379:1 one\n": " - redis-2:7002:1 one\n",
    "    -   h:1:10  one  # the first\n": "    -   redis-2:7002:10  one  # the first\n",
    "- '[::1]:6379:1 one'\r\n": "- 'redis-2:7002:1 one'\r\n",
    '\t- "/run/redis.sock:3 one"': '\t- "redis-2:7002:3 one"',
}


@pytest.mark.parametrize(("before", "after"), LINES.items())
def test_only_the_address_of_a_server_changes(before, after):
    """Weight, name, quotes, comments and the end of the line are the operator's."""
    around = "one:\n  # - h:1:1 one\n  servers:\n{}   - h:1:1 one-more\n - h:1:1\r\n"
    before = before if before.endswith("\n") else before + "\n"
    after = after if after.endswith("\n") else after + "\n"
    assert rewrite(around.format(before), NEW) == around.format(after)


def test_a_file_that_ends_without_a_line_break_goes_on_to():
    """It is not ours to add one."""
    assert rewrite(" - h:1:1 one", NEW) == " - redis-2:7002:1 one"


@pytest.mark.parametrize("text", ["", " - h:1:1\n", " - h:1 one-more\n", "servers: [h:1:1 one]\n"])
def test_a_server_without_its_name_is_an_error(text):
    """Giving it one would move keys to other shards."""
    with pytest.raises(TargetError, match="no server is named one: a line"):
        rewrite(text, NEW)


class Restarts:
    """Counts them, and fails when told to."""

    def __init__(self):
        self.count = 0
        self.error = None

    async def __call__(self):
        self.count += 1
        if self.error:
            raise TargetError(self.error)


async def test_it_is_restarted_when_the_file_has_changed(tmp_path):
    """And again when that failed, although the file is right by then."""
    path, restarts = tmp_path / "yml", Restarts()
    path.write_bytes(b"# caf\xc3\xa9\r\n - h:1:1 one\r\n")
    path.chmod(0o640)
    target = Twemproxy(path, restarts)
    assert await target.lead({"one": None}) == ""
    assert restarts.count == 0
    restarts.error = "no"
    with pytest.raises(TargetError, match="no"):
        await target.lead(NEW)
    assert path.read_bytes() == b"# caf\xc3\xa9\r\n - redis-2:7002:1 one\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    restarts.error = None
    assert "one is redis-2:7002" in await target.lead(NEW)
    assert await target.lead(NEW) == ""
    assert restarts.count == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["yml"]


async def test_a_link_to_the_file_stays_one(tmp_path):
    """What it leads to is replaced."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text(" - h:1:1 one\n")
    link.symlink_to(real)
    await Twemproxy(link, Restarts()).lead(NEW)
    assert link.is_symlink()
    assert "redis-2" in real.read_text()


async def test_a_file_that_is_gone_is_an_error(tmp_path):
    """Nobody is restarted."""
    restarts = Restarts()
    with pytest.raises(TargetError, match="No such file"):
        await Twemproxy(tmp_path / "x", restarts).lead(NEW)
    assert restarts.count == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["false"], "false ended with status 1"),
        (["/no/such"], "cannot run /no/such: No such file or directory"),
        (["sleep", "1000"], "sleep 1000 did not end within 0.1 s"),
    ],
)
async def test_a_command_that_fails_is_named(monkeypatch, words, text):
    """One that hangs is ended."""
    monkeypatch.setattr(twemproxy, "RESTART_WITHIN_S", 0.1)
    with pytest.raises(TargetError, match=text):
        await by_command(words)()


async def test_somebody_elses_process_is_never_ended(tmp_path):
    """An old pid file may name anybody; here it is a process that is not Twemproxy."""
    other = await asyncio.create_subprocess_exec("sleep", "1000")
    path = tmp_path / "pid"
    for text in (f"{other.pid}\n", "", "x", "-1", "0", f"{os.getpid()}"):
        path.write_text(text)
        with pytest.raises(TargetError, match="names no running nutcracker"):
            await by_pid_file(path)()
    assert other.returncode is None
    other.kill()
    await other.wait()
