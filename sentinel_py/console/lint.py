"""What ``doctor`` sees in a config file, before a sentinel is started on it. Changes nothing."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from sentinel_py.config import directives, state_file
from sentinel_py.config.config import Config, ConfigError, StartError, load
from sentinel_py.console.findings import Finding, Watched, error, group_findings, warning
from sentinel_py.console.running import files_findings
from sentinel_py.console.wire import Connection, Denied, Login, Place, Unreachable
from sentinel_py.core.model import Master, State
from sentinel_py.raft import addresses
from sentinel_py.raft.handshake import is_secret
from sentinel_py.storage import LocalDisk

SECRET_MIN_LENGTH = 16
"""A guess costs 50 ms and 16 MB; of fewer characters that people choose, too few are needed."""

_EXAMPLES = ("change-me",)
_SECRETS = ("auth-pass", "sentinel-pass", "raft-secret", "http-token", "http-user")


class _Untouched(LocalDisk):
    """A disk on which no log file is made by looking whether one could be written."""

    def check_appendable(self, path: str) -> None:
        target = path if os.path.exists(path) else os.path.dirname(path) or "."
        if not os.access(target, os.W_OK):
            raise PermissionError(13, os.strerror(13))


async def examine(path: str) -> tuple[list[Watched], list[Finding]]:
    """What the file has watched, and what is wrong with it."""
    try:
        config = load(path, disk=_Untouched())
        if config.state_dir and _state_path(config).exists():
            state_file.take_up(config)
        state = State(myid="")
        directives.apply(config.statements, state, now=0, resolve=_resolve)
    except ConfigError as wrong:
        where = f"{wrong.path or path}, line {wrong.line_no}" if wrong.line_no else path
        return [], [error(f"{wrong.reason} in: {wrong.line}", where, "correct the line")]
    except (StartError, OSError) as wrong:
        return [], [error(str(wrong), path, "the sentinel does not start without it")]
    watched = [_watched(config, state, master) for master in state.masters.values()]
    found = [
        *_file(config),
        *_masters(path, state),
        *_raft(path, state),
        *(finding for each in watched for finding in group_findings(each)),
        *await _sentinels(config, state),
        *_limits(path, state),
    ]
    return watched, found


def _state_path(config: Config) -> Path:
    settings = config.settings
    return Path(config.state_dir, f"sentinel-{settings.port or settings.tls_port}.conf")


def _resolve(name: str) -> str | None:
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None


def _watched(config: Config, state: State, master: Master) -> Watched:
    login = _login(config, master.options.auth_user, master.options.auth_pass)
    others = max(len(master.peers), len(state.settings.raft_peers) - 1)
    return Watched(
        name=master.name,
        master=Place(master.address.host, master.address.port, login),
        replicas=tuple(
            Place(it.address.host, it.address.port, login) for it in master.replicas.values()
        ),
        sentinels=1 + others if others else 0,
        quorum=master.options.quorum,
        renamed=master.options.renamed,
    )


def _login(config: Config, user: str | None, password: str | None) -> Login:
    settings = config.settings
    is_client = bool(settings.tls_client_cert_file)
    return Login(
        user=user if password else None,
        password=password,
        tls=settings.tls_replication,
        cacert=settings.tls_ca_cert_file or None,
        cert=settings.tls_client_cert_file or settings.tls_cert_file or None,
        key=settings.tls_client_key_file or settings.tls_key_file or None,
        key_password=(
            settings.tls_client_key_file_pass if is_client else settings.tls_key_file_pass
        )
        or None,
    )


# The file -----------------------------------------------------------------------------------------


def _file(config: Config) -> Iterator[Finding]:
    path = Path(config.path)
    words = [statement.words[1].lower() for statement in config.statements]
    if not config.state_dir:
        yield from _saved(path)
    elif (folder := Path(config.state_dir)).exists():
        yield from _writable(folder)
    rules = [rule for statement in config.users for rule in statement.words]
    has_secret = (
        bool(config.settings.requirepass)
        or not {*_SECRETS}.isdisjoint(words)
        or any(rule[:1] in (">", "#") for rule in rules)
    )
    if has_secret and path.stat().st_mode & stat.S_IROTH:
        text = "everybody on this host can read the passwords in it"
        yield warning(text, path, f"chmod o-r {path}")


def _writable(*places: Path) -> Iterator[Finding]:
    for place in places:
        if not os.access(place, os.W_OK):
            text = f"the user {os.getuid()} cannot write where a sentinel has to keep its state"
            way_out = "give it to the sentinel's user and run doctor as that one; or state-dir"
            yield error(text, place, way_out)


def _saved(path: Path) -> Iterator[Finding]:
    """Whether the file can be replaced, or at least be written."""
    yield from _writable(path)
    reason = ""
    if not os.access(path.parent, os.W_OK):
        reason = "its directory may not be written"
    elif os.path.realpath(path) in _mounts():
        reason = "it is mounted by itself"
    if reason:
        text = f"a sentinel has to write into it in place, for {reason}"
        yield warning(text, path, "mount or give it the directory; or sentinel state-dir")


def _mounts() -> set[str]:
    """Where something is mounted on this host, or in this container."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return set()
    places = (line.split(" ")[4] for line in lines)
    return {re.sub(r"\\([0-7]{3})", lambda it: chr(int(it[1], 8)), place) for place in places}


def _masters(path: str, state: State) -> Iterator[Finding]:
    settings = state.settings
    if not state.masters and not settings.raft_peers:
        yield error("it watches nothing", path, "sentinel monitor <name> <ip> <port> <quorum>")
    seen: dict[str, str] = {}
    for master in state.masters.values():
        options, where = master.options, f"{master.name} in {path}"
        address = f"{master.address.host}:{master.address.port}"
        if address in seen:
            text = f"{master.name} and {seen[address]} are the same server, {address}"
            yield error(text, path, "one name for each master")
        seen[address] = master.name
        if options.failover_timeout_ms < options.down_after_ms:
            text = "failover-timeout is less than down-after-milliseconds"
            yield warning(text, where, "a failover must be able to outlast a silence")
        if options.fence_isolated_master and not settings.raft_peers:
            text = "fence-isolated-master has no effect without raft-peers"
            yield warning(text, where, "sentinel raft-peers, or take it out")
        if _is_loopback(master.address.ip) and not all(map(_is_loopback, _others(state, master))):
            text = f"{address} means another server on each host of a sentinel"
            yield error(text, where, "the address by which all hosts reach the master")


def _others(state: State, master: Master) -> list[str]:
    members = [addresses.split(word)[0] for word in state.settings.raft_peers]
    return [*members, *(peer.address.ip for peer in master.peers.values())]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# The group ----------------------------------------------------------------------------------------


def _raft(path: str, state: State) -> Iterator[Finding]:
    members = state.settings.raft_peers
    if members and len(members) % 2 == 0:
        text = f"{len(members)} Raft members survive the loss of no more than {len(members) - 1}"
        yield warning(text, path, "an odd number of raft-peers")
    yield from _secret(path, state)


def _secret(path: str, state: State) -> Iterator[Finding]:
    """Whether it is known who speaks for a Raft member."""
    secret = state.settings.raft_secret
    way_out = "sentinel raft-secret <text>, the same on all members"
    outside = [it for it in state.settings.raft_peers if not addresses.is_loopback(it)]
    if secret in _EXAMPLES:
        yield error("raft-secret is the one of the example, which everybody knows", path, way_out)
    elif is_secret(secret) and len(secret) < SECRET_MIN_LENGTH:
        text = f"raft-secret has fewer than {SECRET_MIN_LENGTH} characters, and can be guessed"
        yield warning(text, path, way_out)
    elif outside and not secret:
        text = f"{outside[0]} is another host, and there is no raft-secret: the start is refused"
        yield error(text, path, way_out)
    elif outside and not is_secret(secret):
        text = "whoever speaks from a member's address is believed, as raft-secret is none"
        yield warning(text, path, way_out)


async def _sentinels(config: Config, state: State) -> list[Finding]:
    """Whether the sentinels that the file names answer where it says they are."""
    settings = config.settings
    password = state.settings.sentinel_pass or None
    login = _login(config, state.settings.sentinel_user or None, password)
    named = {addresses.split(word) for word in state.settings.raft_peers}
    for master in state.masters.values():
        named |= {(peer.address.host, peer.address.port) for peer in master.peers.values()}
    own_ports = (settings.port, settings.tls_port, state.settings.announce_port)
    places = [
        Place(host, port, login)
        for host, port in sorted(named)
        if not (port in own_ports and _is_here(host))
    ]
    checks = await asyncio.gather(*map(_answers, places))
    return [finding for finding in checks if finding]


async def _answers(place: Place) -> Finding | None:
    try:
        async with Connection(place) as connection:
            await connection.ask("PING")
    except Denied:
        return None
    except Unreachable as silent:
        way_out = "start it; see sentinel announce-ip and announce-port, bind, firewalls"
        return warning(f"a sentinel that the file names: {silent}", place, way_out)
    return None


def _is_here(host: str) -> bool:
    """Whether this is an address of this host."""
    try:
        with socket.create_server((host, 0)):
            return True
    except OSError:
        return False


def _limits(path: str, state: State) -> Iterator[Finding]:
    nodes = sum(1 + len(master.replicas) for master in state.masters.values())
    peers = max((len(master.peers) for master in state.masters.values()), default=0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = None if hard == resource.RLIM_INFINITY else hard
    yield from files_findings(path, limit, nodes, peers)
