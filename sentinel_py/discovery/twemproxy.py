"""`sentinel-py twemproxy`: keeps the servers in Twemproxy's file the masters, and restarts it.

Twemproxy (nutcracker) reads its file at the start alone. A server's name there is the name of its
master: with a name, keys stay on their shard when the address changes. The rule guarded: nothing of
the file changes but the addresses of these servers, and the file is whole at every instant.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import click

from sentinel_py.discovery import command, steering
from sentinel_py.discovery.command import Source
from sentinel_py.discovery.place import Place
from sentinel_py.discovery.steering import TargetError

RESTART_WITHIN_S = 15.0
LOOK_EVERY_S = 0.05
PROGRAM = "nutcracker"

# ` - host:port:weight name`, maybe in quotes, maybe with a comment behind it.
_SERVER = re.compile(
    r"""(?P<head>[ \t]*-[ \t]+["']?)(?P<place>[^\s"'#]+)(?P<weight>:\d+[ \t]+)"""
    r"""(?P<name>[^\s"'#]+)(?P<tail>["']?[ \t]*(?:\#.*)?\r?\n?)"""
)


def rewrite(text: str, masters: Mapping[str, Place]) -> str:
    """The text of the file with the servers of these names at these places."""
    lines, missing = [], set(masters)
    for line in text.splitlines(keepends=True):
        found = _SERVER.fullmatch(line)
        if found and (master := masters.get(found["name"])):
            missing.discard(found["name"])
            # Twemproxy takes the port from the end and wants no brackets.
            place = f"{master.host}:{master.port}"
            lines.append(found.expand(rf"\g<head>{place}\g<weight>\g<name>\g<tail>"))
        else:
            lines.append(line)
    if missing:
        raise TargetError(
            f"no server is named {' or '.join(sorted(missing))}: "
            "a line of that master must read ' - host:port:weight name'"
        )
    return "".join(lines)


class Twemproxy:
    """One Twemproxy's file; ``restart`` makes it read that."""

    again_s = 5.0

    def __init__(self, path: Path, restart: Callable[[], Awaitable[None]]) -> None:
        self._path = path
        self._restart = restart
        self._owes_restart = False

    async def lead(self, masters: Mapping[str, Place | None]) -> str:
        known = {name: master for name, master in masters.items() if master}
        changed = self._write(known)
        if changed or self._owes_restart:
            self._owes_restart = True
            await self._restart()
            self._owes_restart = False
            places = ", ".join(f"{name} is {master}" for name, master in known.items())
            return f"{places}: in {self._path}, restarted"
        return ""

    async def end(self) -> None:
        """Leave it as it is: the masters may stay where they are for long."""

    def _write(self, masters: Mapping[str, Place]) -> bool:
        """Bring the file up to date; returns whether it was not."""
        try:
            with self._path.open(newline="", encoding="utf-8") as file:
                before = file.read()
            after = rewrite(before, masters)
            if after != before:
                _replace(self._path.resolve(), after)
        except (OSError, UnicodeError) as error:
            raise TargetError(f"{self._path}: {error}") from None
        except TargetError as error:
            raise TargetError(f"{self._path}: {error}") from None
        return after != before


def _replace(path: Path, text: str) -> None:
    """Put a file in the place of another in one instant, with the owner and the rights of that."""
    before = path.stat()
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", newline="", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(number, before.st_mode & 0o7777)
            if (os.geteuid(), os.getegid()) != (before.st_uid, before.st_gid):
                os.fchown(number, before.st_uid, before.st_gid)
            os.fsync(number)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def by_command(words: list[str]) -> Callable[[], Awaitable[None]]:
    """Restart by the operator's own command, for example ``systemctl restart nutcracker``."""
    line = shlex.join(words)

    async def restart() -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise TargetError(f"cannot run {line}: {error.strerror}") from None
        try:
            async with asyncio.timeout(RESTART_WITHIN_S):
                status = await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise TargetError(f"{line} did not end within {RESTART_WITHIN_S:g} s") from None
        if status:
            raise TargetError(f"{line} ended with status {status}")

    return restart


def by_pid_file(path: Path) -> Callable[[], Awaitable[None]]:
    """End the process that this file names; who supervises it starts it again."""

    async def restart() -> None:
        pid = _running(path)
        if pid is None:
            raise TargetError(f"{path} names no running {PROGRAM}")
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError as error:
            raise TargetError(f"cannot end {PROGRAM} {pid}: {error.strerror}") from None
        try:
            async with asyncio.timeout(RESTART_WITHIN_S):
                while _running(path) in (pid, None):
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise TargetError(
                f"{PROGRAM} {pid} was ended and nobody has started it again"
            ) from None

    return restart


def _running(path: Path) -> int | None:
    """The process in a pid file; an old file may name somebody else's, which is none."""
    try:
        pid = int(path.read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    return pid if name == PROGRAM else None


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="/etc/nutcracker/nutcracker.yml",
    show_default=True,
    help="Twemproxy's file; the name of a server there is the name of its master.",
)
@click.option("--restart", metavar="COMMAND", help="What restarts it; no shell is involved.")
@click.option(
    "--pid-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="In place of --restart: end that process, whose supervisor starts it again.",
)
@command.sources
def main(
    names: tuple[str, ...],
    path: Path,
    restart: str | None,
    pid_file: Path | None,
    source: Source,
) -> None:
    """Keep the servers of a Twemproxy the masters NAME..., in its file, and restart it.

    Exactly one of --restart and --pid-file says how.
    """
    target = Twemproxy(path, _restart(restart, pid_file))
    command.run("twemproxy", steering.steer(target, source, *dict.fromkeys(names)))


def _restart(line: str | None, pid_file: Path | None) -> Callable[[], Awaitable[None]]:
    if bool(line) == bool(pid_file):
        raise click.UsageError("exactly one of --restart and --pid-file is needed")
    if pid_file:
        return by_pid_file(pid_file)
    try:
        return by_command(shlex.split(line or ""))
    except ValueError as error:
        raise click.BadParameter(f"{error}: {line}", param_hint="'--restart'") from None
