"""Scripts, real ones: queue, retries, limits, and what operators are told."""

import asyncio
import errno
import os
import signal

import pytest
import uvloop

from sentinel_py import scripts as scripts_module
from sentinel_py.core.messages import Level, Notice
from sentinel_py.core.model import Constants
from sentinel_py.local import as_async, eventually_async
from sentinel_py.scripts import MAX_ATTEMPTS, MAX_QUEUE, MAX_RUNNING, Scripts


class Bench:
    """A queue of scripts that write what the test wants to see into a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.notices = []
        self.constants = Constants(script_retry_delay=1)
        self.scripts = Scripts(self.constants, self.notices.append)
        self.written = 0

    def script(self, body):
        """An executable shell script with this body."""
        self.written += 1
        path = self.folder / f"script{self.written}"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def run(self, body, *args):
        path = self.script(body)
        self.scripts.run((path, *args))
        return path

    def read(self, name):
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def warnings(self):
        return [(n.name, n.text) for n in self.notices if n.level is Level.WARNING]

    async def holds(self, condition):
        await eventually_async(as_async(condition), 10_000, "such state")

    async def done(self):
        await self.holds(lambda: self.scripts.queued == 0)

    def pids(self):
        return [script.pid for script in self.scripts.pending() if script.is_running]


@pytest.fixture
async def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path)
    yield bench
    running = bench.pids()
    bench.scripts.close()
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def test_runs_with_its_arguments(bench):
    """A script gets its arguments as they are, and starts at once."""
    path = bench.run('printf "%s|" "$0" "$@" > out', "+sdown", "master a b", "$(x) é\udcff")
    (job,) = bench.scripts.pending()
    assert job.is_running
    assert job.attempt == 1
    await bench.done()
    out = (bench.folder / "out").read_bytes()
    assert out == path.encode() + b"|+sdown|master a b|$(x) \xc3\xa9\xff|"
    assert bench.notices == [
        Notice(Level.DEBUG, "+script-child", f"{job.pid}"),
        Notice(Level.DEBUG, "-script-child", f"{job.pid} 0 0"),
    ]


async def test_inherits_the_environment(bench, monkeypatch):
    """Environment and directory are the sentinel's; signals are as a shell expects them."""
    monkeypatch.setenv("OF_THE_SENTINEL", "yes")
    bench.run("exec > out; echo $OF_THE_SENTINEL; pwd; grep SigIgn /proc/$$/status")
    await bench.done()
    word, folder, ignored = bench.read("out").splitlines()
    assert word == "yes"
    assert folder == str(bench.folder)
    mask = int(ignored.split()[1], 16)
    assert not mask & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


async def test_does_not_hold_up_the_loop(bench):
    """While a script runs, and even when it does not end, the loop goes on."""
    bench.run("exec sleep 60")
    async with asyncio.timeout(1):
        for _ in range(100):
            await asyncio.sleep(0)
    (job,) = bench.scripts.pending()
    assert job.is_running
    assert job.time_ms < 1000


async def test_exit_1_is_run_again(bench):
    """Exit code 1 asks for another attempt, after a delay that doubles."""
    bench.constants.script_retry_delay = 20
    bench.run('echo x >> out; [ "$(wc -l < out)" -ge 4 ] || exit 1')
    delays = set()

    def collect():
        delays.update(job.time_ms for job in bench.scripts.pending() if not job.is_running)
        return bench.scripts.queued == 0

    await bench.holds(collect)
    assert bench.read("out") == "x\n" * 4
    assert max(delays, default=0) <= 80
    assert bench.warnings() == []


async def test_delay_is_read_when_it_is_needed(bench):
    """The delay may change at run time; a waiting job shows how long it has still to wait."""
    bench.constants.script_retry_delay = 30_000
    bench.run("exit 1")
    await bench.holds(lambda: not bench.pids())
    (job,) = bench.scripts.pending()
    assert 29_000 < job.time_ms <= 30_000
    assert (job.pid, job.attempt, job.is_running) == (0, 1, False)


async def test_second_delay_is_twice_the_first(bench, monkeypatch):
    """The delay before attempt n+1 is the configured one times 2^(n-1)."""
    delays = []
    after = scripts_module._after
    monkeypatch.setattr(
        scripts_module, "_after", lambda ms, *rest: delays.append(ms) or after(ms, *rest)
    )
    bench.constants.script_max_runtime = 50_000
    bench.run("exit 1")
    await bench.done()
    assert [ms for ms in delays if ms != 50_000] == [2**n for n in range(MAX_ATTEMPTS - 1)]


async def test_attempts_are_bounded(bench):
    """After ten attempts the job is given up, and the operator told."""
    path = bench.run("echo x >> out; exit 1")
    await bench.done()
    assert bench.read("out") == "x\n" * MAX_ATTEMPTS
    assert bench.warnings() == [("-script-error", f"{path} 0 1")]


async def test_killed_by_a_signal_is_run_again(bench):
    """A script that a signal ended is tried again, as often as one that exits with 1."""
    path = bench.run("echo x >> out; kill -TERM $$")
    await bench.done()
    assert bench.read("out") == "x\n" * MAX_ATTEMPTS
    assert bench.warnings() == [("-script-error", f"{path} 15 0")]


async def test_other_exit_codes_are_final(bench):
    """Any other code is an error that another attempt would not heal."""
    path = bench.run("exit 3")
    await bench.done()
    assert bench.warnings() == [("-script-error", f"{path} 0 3")]


async def test_what_cannot_be_executed(bench):
    """No such file, no permission, no program: as if the script had exited with 2."""
    plain = bench.script("")
    os.chmod(plain, 0o644)
    garbage = bench.folder / "garbage"
    garbage.write_text("echo no interpreter line")
    garbage.chmod(0o755)
    commands = [("/no/such",), (plain,), (str(garbage),), ("/bin/true", "a\0b")]
    for argv in commands:
        bench.scripts.run(argv)
    await bench.done()
    assert bench.warnings() == [("-script-error", f"{argv[0]} 0 2") for argv in commands]


async def test_overdue_script_is_killed(bench):
    """A script that runs too long is killed, reported, and tried again like a killed one."""
    bench.constants.script_max_runtime = 50
    path = bench.run("[ -e out ] && exit 0; echo $$ > out; exec sleep 60")
    await bench.done()
    pid = bench.read("out").strip()
    assert bench.warnings() == [("-script-timeout", f"{path} {pid}")]
    assert ("-script-child", f"{pid} 0 9") in [(n.name, n.text) for n in bench.notices]


async def test_number_at_once_is_bounded(bench):
    """Sixteen run; the next starts, oldest first, as soon as one of them ends."""
    path = bench.script("mkfifo go.$1; read line < go.$1; echo $1 >> out")
    for number in range(MAX_RUNNING + 2):
        bench.scripts.run((path, str(number)))
    assert bench.scripts.running == MAX_RUNNING
    assert bench.scripts.queued == MAX_RUNNING + 2
    await bench.holds((bench.folder / "go.3").exists)
    await asyncio.to_thread((bench.folder / "go.3").write_text, "\n")
    await bench.holds((bench.folder / "go.16").exists)
    assert bench.read("out") == "3\n"
    assert bench.scripts.running == MAX_RUNNING
    assert bench.scripts.pending()[-1].argv[1:] == ("17",)
    assert not bench.scripts.pending()[-1].is_running


async def test_queue_is_bounded(bench):
    """A job too many pushes out the oldest that does not run."""
    path = bench.script("exec sleep 60")
    for number in range(MAX_QUEUE + 3):
        bench.scripts.run((path, str(number)))
    kept = [int(job.argv[1]) for job in bench.scripts.pending()]
    assert kept == [*range(MAX_RUNNING), *range(MAX_RUNNING + 3, MAX_QUEUE + 3)]


async def test_no_process_to_be_had(bench, monkeypatch):
    """While the system can start no process the job waits, and the operator hears of it."""
    spawn, failures = os.posix_spawn, 2

    def fail_twice(*args, **options):
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError(errno.EAGAIN, "no process")
        return spawn(*args, **options)

    monkeypatch.setattr(os, "posix_spawn", fail_twice)
    path = bench.run("echo x >> out")
    bench.run("echo y >> out")
    await bench.done()
    assert sorted(bench.read("out").split()) == ["x", "y"]
    assert bench.warnings() == [("-script-error", f"{path} 99 0")] * 2


async def test_no_descriptor_to_be_had(bench, monkeypatch):
    """Without a descriptor to watch it by, a script's end is still noticed."""

    def fail(_pid):
        raise OSError(errno.EMFILE, "too many files")

    monkeypatch.setattr(os, "pidfd_open", fail)
    path = bench.run("sleep 0.15; exit 3")
    await bench.done()
    assert bench.warnings() == [("-script-error", f"{path} 0 3")]


async def test_close_leaves_scripts_running(bench):
    """When the sentinel ends, its scripts do not."""
    bench.run("mkfifo go; read line < go; echo survived > out")
    (pid,) = bench.pids()
    bench.scripts.close()
    await bench.holds((bench.folder / "go").exists)
    await asyncio.to_thread((bench.folder / "go").write_text, "\n")
    assert os.waitpid(pid, 0) == (pid, 0)
    assert bench.read("out") == "survived\n"


def test_on_uvloop(tmp_path):
    """The same on the other event loop: started, watched, and no descriptor left behind."""

    async def main():
        bench = Bench(tmp_path)
        bench.run("exit 0")
        await bench.done()
        before = len(os.listdir("/proc/self/fd"))
        path = bench.run("exit 3")
        await bench.done()
        assert bench.warnings() == [("-script-error", f"{path} 0 3")]
        assert len(os.listdir("/proc/self/fd")) == before

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
