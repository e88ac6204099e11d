"""The composition root: a command line and a config file in, a running sentinel out.

Parts are made and joined here, in the order of redis-sentinel's start; what they do is theirs. What
the operator got wrong becomes one clear text and exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel_py import __version__, faults, process, saving, tls
from sentinel_py.acl.acl import Acl, AclError, AclStore
from sentinel_py.config import config, directives, rewrite
from sentinel_py.config.settings import ServerSettings
from sentinel_py.core import roster, views
from sentinel_py.core.messages import (
    AskConsent,
    Consent,
    GiveLead,
    Input,
    Level,
    Notice,
    Propose,
    Tell,
)
from sentinel_py.core.model import Settings, State
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.history import Chronicler
from sentinel_py.links import LinkOptions, Links
from sentinel_py.logs import LogFile, LogOptions, bridge_logging
from sentinel_py.node import Node
from sentinel_py.notify import Notifier
from sentinel_py.raft import report
from sentinel_py.raft.files import RaftError
from sentinel_py.raft.member import Member
from sentinel_py.raft.storage import LocalStorage
from sentinel_py.resolver import Resolver, resolve_now
from sentinel_py.scripts import Scripts
from sentinel_py.server import event_commands, raft_commands, reserve
from sentinel_py.server.commands import CommandTable
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.listeners import ListenError
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.sentinel_commands import build
from sentinel_py.server.server import Server
from sentinel_py.storage import LOCAL, SaveError
from sentinel_py.version import REDIS_VERSION

if TYPE_CHECKING:
    from sentinel_py.config.state_file import StateFile
    from sentinel_py.hooks import Webhooks
    from sentinel_py.web.server import WebServer

START_ERRORS = (
    *(ListenError, AclError, tls.TlsError, RaftError),
    *(config.ConfigError, config.StartError),
)
"""What keeps a sentinel from starting; each has one clear text."""

_BUG = (
    "This is a bug in sentinel_py: please report it with the lines above. The process ends with "
    f"status {faults.EXIT}, for its supervisor to start it again."
)

CRASH_EXIT = 99
"""The exit code of a simulated failure, as redis-sentinel's."""


def run(words: Sequence[str]) -> int:
    """Run a node until it is told to end; returns the exit code."""
    try:
        loaded = _load(words)
        state, kept = prepare(loaded)
    except config.ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - where redis-sentinel puts it
        return 1
    except config.StartError as error:
        LogFile(LogOptions()).write(Level.WARNING, str(error))
        return 1
    supervised = process.is_supervised(loaded.settings)
    if loaded.settings.daemonize and not supervised:
        process.go_to_background()
    with _runner() as runner:
        return runner.run(Daemon(loaded, state, kept, supervised=supervised).run())


def _load(words: Sequence[str]) -> config.Config:
    reads_stdin = "-" in (*words[:1], *words[-1:])
    stdin = sys.stdin.buffer.read().decode(errors="surrogateescape") if reads_stdin else None
    named = [word for word in words[:1] if word != "-" and not word.startswith("--")]
    options = words[1:] if named or words[:1] == ["-"] else words
    return config.load(named[0] if named else "", options, stdin)


def prepare(loaded: config.Config) -> tuple[State, StateFile | None]:
    """What a Daemon needs beside what was read; ConfigError or StartError if it cannot be."""
    kept = _take_up(loaded)
    state = _restore(loaded)
    if kept:
        kept.prepare()
    else:
        config.check_writable(loaded.path)
    return state, kept


def _take_up(loaded: config.Config) -> StateFile | None:
    """What was kept elsewhere than in the config file, if it is kept elsewhere."""
    if not loaded.state_dir:
        return None
    from sentinel_py.config import state_file  # noqa: PLC0415 - few sentinels have one

    return state_file.take_up(loaded)


def _restore(loaded: config.Config) -> State:
    """The core's state as the config file describes it."""
    settings = loaded.settings
    state = State(myid="")
    state.settings = Settings(
        port=settings.tls_port if settings.tls_replication and settings.tls_port else settings.port,
        own_pass=settings.requirepass,
        loglevel=settings.loglevel,
        bound_ip=_bound_ip(settings.bind),
    )
    directives.apply(loaded.statements, state, now=_now(), resolve=resolve_now)
    return state


def _bound_ip(bind: Sequence[str]) -> str:
    """The one address that we listen on, so that others are told to come there; empty if none."""
    (address, *others) = [it.removeprefix("-") for it in bind] or [""]
    ip = roster.numeric_ip(address)
    return ip if ip and not others and not ip_address(ip).is_unspecified else ""


def _lacks_extra(directive: str, error: ImportError) -> config.StartError:
    return config.StartError(
        f"sentinel {directive} needs what is not installed ({error.name}): "
        "pip install 'sentinel-py[http]'"
    )


def _runner() -> asyncio.Runner:
    try:
        import uvloop  # noqa: PLC0415 - asyncio's own loop does where there is no uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


class Daemon:
    """The parts of one sentinel; also ``World`` of its node, ``Host`` of its server and member."""

    def __init__(
        self,
        loaded: config.Config,
        state: State,
        kept: StateFile | None,
        *,
        supervised: bool,
    ) -> None:
        settings = loaded.settings
        self.run_id = secrets.token_hex(20)
        self.config_file = loaded.path
        self._config = loaded
        self._kept = kept
        file = kept or rewrite.ConfigFile(loaded.path, loaded)
        self._supervised = supervised
        state.myid = state.myid or secrets.token_hex(20)
        self._log = LogFile(_log_options(settings))
        self._saving = saving.Saving(file, self.log, self.now)
        self._pidfile = process.PidFile(settings)
        self._has_failed = False
        self._is_assembled = False
        self._web: WebServer | None = None
        self._webhooks: Webhooks | None = None
        self._core = Sentinel(state, random.Random(), _is_executable)

    async def run(self) -> int:
        """Start everything, serve until told to end, and end in order."""
        bridge_logging(self._log)
        faults.watch(asyncio.get_running_loop(), self.fail, self._warn)
        try:
            return await self._run()
        except Exception as error:
            self.fail(error)
            raise

    async def _run(self) -> int:
        try:
            await self.open()
        except START_ERRORS as error:
            self._warn(str(error))
            if isinstance(error, tls.TlsError):
                self._warn("Failed to configure TLS. Check logs for more info.")
            return 1
        # What is here now stays: to look through it takes each full collection 11 ms and more.
        gc.freeze()
        self._take_process()
        return await self.serve()

    async def open(self) -> None:
        """Make all parts, and listen; or raise one of START_ERRORS."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._assemble()
        self._announce_start()
        await self._server.start()
        if self.state.settings.http_port:
            await self._start_web(self.state.settings.http_port)
        if self.state.settings.webhooks:
            self._start_webhooks()

    async def serve(self) -> int:
        """Watch the masters until told to end; returns the exit code."""
        self._begin()
        exit_code = await self._ended
        await self.close()
        return int(exit_code)

    async def close(self) -> None:
        """End what `open` has made."""
        if self._web is not None:
            await self._web.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
        await self._member.stop()
        self._end()

    def _assemble(self) -> None:
        settings = self._config.settings
        self._node = Node(self._core, self, self._loop)
        self.links = Links(
            self._node.feed,
            LinkOptions(tls.client_context(settings), settings.bind_source_addr or None),
        )
        self._resolver = Resolver(self._node.feed)
        self._scripts = Scripts(self.state.constants, self.notice)
        port = settings.port or settings.tls_port
        self._member: Member = Member(
            self,
            LocalStorage(os.path.join(self._config.state_dir or settings.dir, f"raft-{port}")),
            self.links.options,
            random.Random(),
        )
        raft = raft_commands.build(self._member)
        events = event_commands.build(self._node)
        table = CommandTable([*base_commands(), build(self._node, self._scripts, raft, events)])
        for renamed in self._config.renamed:
            _rename(table, renamed)
        self._acl = _users(self._config, table)
        self._server: Server = Server(
            _server_options(settings, self._warn, self._own_files()),
            table,
            self._acl,
            self,
            tls.server_context(settings),
        )
        self._server.reserve.known = self._known_sentinels
        self._node.on_step = self._server.ready.enable()
        self._node.before_step = self._check_lease
        self.publisher = Notifier(self._log, self._server.publish, self._scripts)
        self._chronicler = Chronicler(self.state, self._node.feed)
        self.publisher.listeners.append(self._chronicler.notice)
        self._is_assembled = True

    def _own_files(self) -> int:
        """How many files are not for clients: sentinels' places, and connections of our own."""
        links = sum(2 * len(list(it.instances())) for it in self.state.masters.values())
        return process.RESERVED_FILES + reserve.PLACES + links

    def _known_sentinels(self) -> set[bytes]:
        """The beginnings of the ids of all peers and members."""
        peers = (run_id for it in self.state.masters.values() for run_id in it.peers)
        members = self.state.raft.members if self.state.raft else ()
        return {run_id[:8].encode() for run_id in (*peers, *members) if run_id != self.myid}

    def _start_webhooks(self) -> None:
        try:
            from sentinel_py import hooks  # noqa: PLC0415 - aiohttp takes 200 ms to load
        except ImportError as error:
            raise _lacks_extra("webhook", error) from None
        self._webhooks = hooks.Webhooks(self)
        self._chronicler.listen(self._webhooks)
        self._webhooks.start()

    async def _start_web(self, port: int) -> None:
        try:
            from sentinel_py.web import server as web  # noqa: PLC0415 - loaded if asked for
            from sentinel_py.web.metrics import Sources  # noqa: PLC0415
        except ImportError as error:
            raise _lacks_extra("http-port", error) from None
        settings = self.state.settings
        context = tls.http_context(self._config.settings) if settings.http_tls else None
        sources = Sources(self._node, self._member, self._scripts, self._server.stats)
        self._web = web.WebServer(settings, sources, context)
        await self._web.start()
        self.publisher.listeners.append(self._web.notice)
        self._log.write(Level.NOTICE, f"{'HTTPS' if context else 'HTTP'} on port {port}")
        if warning := web.exposure(settings):
            self._warn(warning)

    def _announce_start(self) -> None:
        port = self._config.settings.port
        for text in (
            "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
            f"sentinel_py version={__version__}, Redis version={REDIS_VERSION}, pid={os.getpid()}",
            "Configuration loaded",
            f"Running mode=sentinel, port={port}.",
        ):
            self._log.write(Level.NOTICE, text)
        for subject in self._kept.overruled if self._kept else ():
            self._warn(
                f"The config file has a new '{subject}', which does not count: the Raft cluster "
                "keeps what its members have in common. Order the change of any of them."
            )

    def _take_process(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled, number)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._pidfile.write(self._warn)

    def _begin(self) -> None:
        # Whether that works is known now, and not when the first vote hangs on it.
        self._node.save()
        self._log.write(Level.NOTICE, f"Sentinel ID is {self.state.myid}")
        self._node.start()
        self._member.start()
        if self._supervised:
            process.tell_systemd("STATUS=Ready to accept connections\nREADY=1\n")

    def _end(self) -> None:
        self._log.write(Level.WARNING, "Sentinel is now ready to exit, bye bye...")
        self._node.stop()
        self._chronicler.close()
        self._server.close()
        self.links.close_all()
        self._scripts.close()
        self._saving.close()
        self._pidfile.remove()

    def _check_lease(self) -> None:
        if driver := self._member.driver:
            driver.check_lease()

    def _signalled(self, number: signal.Signals) -> None:
        self._log.write(Level.WARNING, f"Received {number.name} scheduling shutdown...")
        self.shutdown()

    def _warn(self, text: str) -> None:
        self._log.write(Level.WARNING, text)

    # World: what the node has carried out ---------------------------------------------------------

    def now(self) -> int:
        return _now()

    def save(self, state: State) -> None:
        self._saving.save(self._lines(state))

    def save_aside(self, state: State, done: Callable[[SaveError | None], None]) -> None:
        self._saving.save_aside(self._lines(state), done)

    def _lines(self, state: State) -> saving.Lines:
        """Return what the state is in the config file."""
        loglevel = state.settings.loglevel
        if loglevel != self._config.settings.loglevel:
            self._config.settings.loglevel = loglevel
            self._log.set_level(loglevel)
        users = [] if self._config.settings.aclfile else self._acl.describe_users()
        return directives.render(state), users

    def resolve(self, host: str) -> None:
        self._resolver.resolve(host)

    def propose(self, effect: Propose) -> None:
        self._member.propose(effect)

    def tell(self, effect: Tell) -> None:
        self._member.tell(effect)

    def give_lead(self, effect: GiveLead) -> None:
        self._member.give_lead(effect)

    def ask_consent(self, effect: AskConsent) -> None:
        self._loop.call_soon(self.feed, Consent(effect.master, is_given=True))

    def fail(self, error: BaseException, *, is_sound: bool = True) -> None:
        """End the process for a bug: whatever supervises it starts another one.

        The state is saved if it is sound: what was not told yet may be told after the restart. What
        a member has promised is in its journal. Nothing else is waited for.
        """
        self._tell_bug(error)
        if is_sound and not self._has_failed:
            self._has_failed = True  # to save may be what fails
            with contextlib.suppress(Exception):
                self.save(self.state)
        self._pidfile.remove()
        os._exit(faults.EXIT)

    def _tell_bug(self, error: BaseException) -> None:
        for line in faults.trace_of(error):
            self._warn(line)
        self._warn(_BUG)
        if self._is_assembled:
            self._member.note_fault(error)

    def crash(self) -> None:
        self._warn("Exiting for SENTINEL SIMULATE-FAILURE")
        os._exit(CRASH_EXIT)

    # Host of the member ---------------------------------------------------------------------------

    def feed(self, event: Input) -> None:
        self._node.feed(event)
        self._chronicler.look()

    def held_up(self, ms: int) -> None:
        self._core.held_up(ms)

    def save_state(self) -> bool:
        return self._node.save()

    def notice(self, notice: Notice) -> None:
        self.publisher.notice(notice)

    def log(self, level: Level, text: str) -> None:
        self._log.write(level, text)

    # Host: what clients' commands ask of the node ------------------------------------------------

    @property
    def state(self) -> State:
        return self._core.state

    @property
    def myid(self) -> str:
        return self.state.myid

    @property
    def cluster(self) -> str:
        return self._member.cluster

    def master_names(self) -> list[str]:
        return list(self.state.masters)

    def receive_hello(self, payload: str) -> None:
        self._node.hello(payload)

    def info_sections(self) -> list[tuple[str, list[tuple[str, object]]]]:
        state, scripts = self._node.settled(), self._scripts
        pairs = views.sentinel_info(state, self.now(), scripts.running, scripts.queued)
        raft = report.info(self._member)
        sections = [("Sentinel", pairs), *([("Raft", raft)] if raft else [])]
        if self._webhooks is not None:
            sections.append(("Webhooks", self._webhooks.info()))
        return sections

    def shutdown(self) -> None:
        if not self._ended.done():
            self._ended.set_result(0)


def _now() -> int:
    return time.monotonic_ns() // 1_000_000


# Out of the settings -----------------------------------------------------------------------------


def _log_options(settings: ServerSettings) -> LogOptions:
    return LogOptions(
        path=settings.logfile,
        level=settings.loglevel,
        syslog_enabled=settings.syslog_enabled,
        syslog_ident=settings.syslog_ident,
        syslog_facility=settings.syslog_facility,
    )


def _server_options(
    settings: ServerSettings, warn: Callable[[str], None], own_files: int
) -> ServerOptions:
    limits = settings.client_output_buffer_limit
    return ServerOptions(
        bind=tuple(settings.bind),
        port=settings.port,
        tls_port=settings.tls_port,
        unixsocket=settings.unixsocket or None,
        unixsocketperm=settings.unixsocketperm,
        tcp_backlog=settings.tcp_backlog,
        timeout_s=settings.timeout,
        tcp_keepalive_s=settings.tcp_keepalive,
        maxclients=process.allow_clients(settings.maxclients, warn, own_files),
        protected_mode=settings.protected_mode,
        normal_output_limit=limits["normal"],
        pubsub_output_limit=limits["pubsub"],
        client_query_buffer_limit=settings.client_query_buffer_limit,
        proto_max_bulk_len=settings.proto_max_bulk_len,
        acllog_max_len=settings.acllog_max_len,
        acl_pubsub_default_all=settings.acl_pubsub_default == "allchannels",
    )


def _users(loaded: config.Config, table: CommandTable) -> Acl:
    settings = loaded.settings
    return Acl.from_config(
        table,
        requirepass=settings.requirepass,
        user_lines=[statement.words[1:] for statement in loaded.users],
        pubsub_default_all=settings.acl_pubsub_default == "allchannels",
        log_max_len=settings.acllog_max_len,
        store=_acl_store(settings.aclfile) if settings.aclfile else None,
    )


def _acl_store(path: str) -> AclStore:
    return AclStore(
        path,
        read=lambda: LOCAL.read_text(path),
        write=lambda text: LOCAL.write_atomically(path, text),
    )


def _rename(table: CommandTable, statement: config.Statement) -> None:
    try:
        table.rename(*statement.words[1:3])
    except ValueError as error:
        raise statement.error(str(error)) from None


def _is_executable(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.X_OK)
