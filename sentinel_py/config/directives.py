"""The sentinel directives: statements become a State, and a State becomes lines.

Which statements there are is said by `config`, where the lines go by `rewrite`. The rule it guards:
what `render` writes, `apply` reads back to the same state, and so does redis-sentinel.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from sentinel_py.config import webhooks
from sentinel_py.config.config import Origin, Statement
from sentinel_py.config.lines import CACHED_LINES, DirectiveError, Line, commented, join, key_of
from sentinel_py.core import identity, lineage, members, overrides, roster
from sentinel_py.core.model import (
    MAX_EPOCH,
    Address,
    Lineage,
    Mandate,
    Master,
    OptionValue,
    Settings,
    State,
)
from sentinel_py.raft import addresses
from sentinel_py.raft.questions import MEMBERS_MAX
from sentinel_py.storage import is_executable

_MYID_LENGTH = 40
_PORT_MAX = 65535
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{0,20})", re.ASCII)


def apply(
    statements: Sequence[Statement],
    state: State,
    *,
    now: int,
    resolve: Callable[[str], str | None],
) -> None:
    """Build masters with their replicas and peers in the state, or raise ConfigError.

    `resolve` finds the ip of a host name; it is asked only if `resolve-hostnames` allows names.
    """
    loading = _Loading(state, now, resolve)
    for statement in sorted(statements, key=_turn):
        name, *args = statement.words[1:]
        loading.origin = statement.origin
        try:
            _rule(name.lower(), len(args))(loading, args)
        except DirectiveError as error:
            raise statement.error(str(error)) from None
    roster.drop_what_is_no_peer(state)


def render(state: State) -> list[Line]:
    """What the file should say about the state, in the order that redis-sentinel writes it."""
    return [*_head(state), *_masters(state), *_tail(state)]


class _Loading:
    """A state while statements are applied to it, and where the present one came from."""

    def __init__(self, state: State, now: int, resolve: Callable[[str], str | None]) -> None:
        self.state = state
        self.now = now
        self.origin = Origin.FILE
        self.in_file: set[str] = set()  # names of the masters that the config file itself has
        self._resolve = resolve

    def master(self, name: str) -> Master:
        try:
            return self.state.masters[name]
        except KeyError:
            raise DirectiveError("No such master with specified name.") from None

    def address(self, host: str, port_text: str) -> Address:
        port = _port(port_text)
        ip = roster.numeric_ip(host)
        if ip is None and not self.state.settings.resolve_hostnames:
            raise DirectiveError("Can't resolve instance hostname.")
        return Address(host, port, self._look_up(host) if ip is None else ip)

    def _look_up(self, host: str) -> str:
        """The name's ip; empty if it has none now, which is tried again later."""
        ip = self._resolve(host)
        if ip:
            self.state.names[host] = ip
        return ip or ""

    def refuse_twice(self, reason: str) -> None:
        """Refuse what was said before, unless the file may have learnt it from the same place.

        What the command line says is written into the file, and at the next start is said twice.
        """
        if self.origin is Origin.FILE:
            raise DirectiveError(reason)


_Rule = Callable[[_Loading, Sequence[str]], None]


def _rule(name: str, count: int) -> _Rule:
    rule = _RULES.get((name, count)) or _LISTS.get(name)
    if rule is None:
        raise DirectiveError("Unrecognized sentinel configuration statement.")
    return rule


def _turn(statement: Statement) -> int:
    """Globals first, then masters, then what is about masters; otherwise in the order of lines."""
    name = statement.words[1].lower()
    if name in _GLOBALS:
        return 0
    if name == "monitor":
        # The file's own lines know where a master went; other files and options may be older.
        return 1 if statement.origin is Origin.FILE else 2
    # What is shared comes before what this sentinel has otherwise.
    return 4 if name in ("known-slave", "local-override") else 3


def _setting(attribute: str, read: Callable[[str], object]) -> _Rule:
    def rule(loading: _Loading, args: Sequence[str]) -> None:
        setattr(loading.state.settings, attribute, read(args[0]))

    return rule


def _yes_no(noun: str) -> Callable[[str], bool]:
    def read(word: str) -> bool:
        if word.lower() not in ("yes", "no"):
            raise DirectiveError(f"Please specify yes or no for the {noun}.")
        return word.lower() == "yes"

    return read


def _myid(loading: _Loading, args: Sequence[str]) -> None:
    if len(args[0]) != _MYID_LENGTH:
        raise DirectiveError("Malformed Sentinel id in myid option.")
    loading.state.myid = args[0]


def _raft_peers(loading: _Loading, args: Sequence[str]) -> None:
    if not 1 <= len(args) <= MEMBERS_MAX:
        raise DirectiveError(f"raft-peers takes 1 to {MEMBERS_MAX} addresses.")
    for word in args:
        _raft_address(word)
    if twice := next((word for word in args if args.count(word) > 1), None):
        raise DirectiveError(f"raft-peers names {twice} twice.")
    loading.state.settings.raft_peers = list(args)


def _raft_address(word: str) -> str:
    try:
        addresses.split(word)
    except ValueError as error:
        raise DirectiveError(f"{error}.") from None
    return word


def _http_bind(loading: _Loading, args: Sequence[str]) -> None:
    if not args:
        raise DirectiveError("http-bind takes addresses.")
    loading.state.settings.http_bind = list(args)


def _http_user(loading: _Loading, args: Sequence[str]) -> None:
    name, password = args
    if not name or ":" in name or not password:
        raise DirectiveError("http-user takes a name without a colon, and a password.")
    loading.state.settings.http_users[name] = password


def _webhook(loading: _Loading, args: Sequence[str]) -> None:
    settings = loading.state.settings
    settings.webhooks = webhooks.added(settings.webhooks, args)


def _current_epoch(loading: _Loading, args: Sequence[str]) -> None:
    loading.state.current_epoch = max(loading.state.current_epoch, _epoch(args[0]))


def _monitor(loading: _Loading, args: Sequence[str]) -> None:
    state = loading.state
    name, host, port, quorum_text = args
    quorum = _quorum(quorum_text)
    address = loading.address(host, port)
    if name in state.masters:
        if loading.origin is Origin.FILE or name not in loading.in_file:
            raise DirectiveError("Duplicate master name.")
        return
    roster.add_master(state, loading.now, name, address, roster.default_options(state, quorum))
    if loading.origin is Origin.FILE:
        loading.in_file.add(name)


def _known_replica(loading: _Loading, args: Sequence[str]) -> None:
    master = loading.master(args[0])
    address = loading.address(*args[1:])
    if master.replica_at(address):
        loading.refuse_twice("Duplicate hostname and port for replica.")
    elif not master.address.same_as(address):
        # Lines that Redis 7.0 left behind may name what has become the master since.
        roster.add_replica(loading.state, loading.now, master, address)


def _known_slave(loading: _Loading, args: Sequence[str]) -> None:
    """The old name, applied last: Redis 7.0 leaves such lines beside the new ones it writes."""
    address = loading.address(*args[1:])
    if not loading.master(args[0]).replica_at(address):
        _known_replica(loading, args)


def _known_sentinel(loading: _Loading, args: Sequence[str]) -> None:
    master = loading.master(args[0])
    address = loading.address(*args[1:3])
    if args[3] in master.peers:
        loading.refuse_twice("Duplicate runid for sentinel.")
    else:
        roster.add_peer(loading.state, loading.now, master, args[3], address)


def _known_sentinel_without_id(loading: _Loading, args: Sequence[str]) -> None:
    """A form of the first versions; the peer will be found again."""


def _rename_command(loading: _Loading, args: Sequence[str]) -> None:
    renamed = loading.master(args[0]).options.renamed
    if args[1].lower() in renamed:
        loading.refuse_twice("Same command renamed multiple times with rename-command.")
    else:
        renamed[args[1].lower()] = args[2]


def _config_epoch(loading: _Loading, args: Sequence[str]) -> None:
    master = loading.master(args[0])
    master.config_epoch = _epoch(args[1])
    loading.state.current_epoch = max(loading.state.current_epoch, master.config_epoch)


def _known_lineage(loading: _Loading, args: Sequence[str]) -> None:
    """What the master has had: run id, both replication ids, offset and number of keys."""
    name, run_id, replid, replid2, offset, keys = args
    known = Lineage(run_id, replid, replid2, _number(offset), _number(keys))
    loading.master(name).lineage = known


def _known_ancestors(loading: _Loading, args: Sequence[str]) -> None:
    """The replication ids that the group has had, oldest first."""
    identity.remember_ids(loading.master(args[0]), *args[1].split(","))


def _raft_admitted(loading: _Loading, args: Sequence[str]) -> None:
    """A foreign instance that an operator has let in: ip, port and run id."""
    name, host, port, run_id = args
    loading.master(name).admitted[identity.admission_key(loading.address(host, port))] = run_id


def _raft_applied(loading: _Loading, args: Sequence[str]) -> None:
    """The index of the Raft log that this file stands for; earlier entries are in it."""
    loading.state.raft_applied = _epoch(args[0])


def _raft_master(loading: _Loading, args: Sequence[str]) -> None:
    loading.master(args[0]).is_replicated = True


def _raft_failover(loading: _Loading, args: Sequence[str]) -> None:
    """A failover that the log has begun: epoch, leader, forced, switched, and any choice."""
    master = loading.master(args[0])
    epoch, leader, forced, switched = _epoch(args[1]), args[2], args[3] == "yes", args[4] == "yes"
    chosen = loading.address(args[5], args[6]) if args[5:] else None
    master.mandate = Mandate(epoch, leader, forced, chosen, switched)


def _leader_epoch(loading: _Loading, args: Sequence[str]) -> None:
    loading.master(args[0]).leader_epoch = _epoch(args[1])


def _option(attribute: str, read: Callable[[str], object]) -> _Rule:
    def rule(loading: _Loading, args: Sequence[str]) -> None:
        setattr(loading.master(args[0]).options, attribute, read(args[1]))

    return rule


def _local_override(loading: _Loading, args: Sequence[str]) -> None:
    """What SENTINEL SET LOCAL has set; an empty text says that the option is not set here."""
    master, name, word = loading.master(args[0]), args[1].lower(), args[2]
    if name not in overrides.FIELDS:
        raise DirectiveError(f"{args[1]} is no option that a local-override can be about.")
    field = overrides.FIELDS[name]
    is_unset = not word and getattr(_DEFAULT_OPTIONS, field) is None
    master.overrides[field] = None if is_unset else _READERS[field](word)
    master.options = overrides.in_effect(master)


def _quorum(text: str) -> int:
    if (number := _atoi(text)) <= 0:
        raise DirectiveError("Quorum must be 1 or greater.")
    return number


def _positive(text: str) -> int:
    if (number := _atoi(text)) <= 0:
        raise DirectiveError("negative or zero time parameter.")
    return number


def _port(text: str) -> int:
    port = _atoi(text)
    if not 0 <= port <= _PORT_MAX:
        raise DirectiveError("Invalid port number.")
    return port


def _not_negative(text: str) -> int:
    if (number := _atoi(text)) < 0:
        raise DirectiveError("negative time parameter.")
    return number


def _script(noun: str) -> Callable[[str], str]:
    def read(path: str) -> str:
        if not is_executable(path):
            raise DirectiveError(f"{noun} seems non existing or non executable.")
        return path

    return read


def _text(word: str) -> str | None:
    return word or None


def _number(text: str) -> int:
    """A number at the beginning of the text, whatever follows; 0 if there is none."""
    match = _NUMBER.match(text)
    assert match is not None, "the pattern matches the empty text"
    return int(f"{match[1]}{match[2] or '0'}")


def _atoi(text: str) -> int:
    """An int of 32 bits; longer ones lose their high bits, as in C."""
    number = max(-(2**63), min(_number(text), 2**63 - 1))
    return (number + 2**31) % 2**32 - 2**31


def _epoch(text: str) -> int:
    epoch = _number(text)
    if not 0 <= epoch <= MAX_EPOCH:
        raise DirectiveError(f"Epoch out of range, the largest one possible is {MAX_EPOCH}.")
    return epoch


class _Option(NamedTuple):
    """A master's option of one word: its name in the file and in `Options`."""

    name: str
    attribute: str
    read: Callable[[str], OptionValue]


# In the order of writing.
_OPTIONS = (
    _Option("down-after-milliseconds", "down_after_ms", _positive),
    _Option("failover-timeout", "failover_timeout_ms", _positive),
    _Option("parallel-syncs", "parallel_syncs", _atoi),
    _Option("notification-script", "notification_script", _script("Notification script")),
    _Option(
        "client-reconfig-script",
        "client_reconfig_script",
        _script("Client reconfiguration script"),
    ),
    _Option("auth-pass", "auth_pass", _text),
    _Option("auth-user", "auth_user", _text),
    _Option("master-reboot-down-after-period", "reboot_down_after_ms", _not_negative),
    _Option("master-loading-down-after-period", "loading_down_after_ms", _not_negative),
    _Option("fence-isolated-master", "fence_isolated_master", _yes_no("fence-isolated-master")),
    _Option("protect-empty-restart", "protect_empty_restart", _yes_no("protect-empty-restart")),
    _Option("check-lineage", "check_lineage", _yes_no("check-lineage")),
    _Option("max-promotion-lag", "max_promotion_lag", _not_negative),
    _Option("trust-addresses", "trust_addresses", _yes_no("trust-addresses")),
)
_READERS: dict[str, Callable[[str], OptionValue]] = {
    "quorum": _quorum,
    **{option.attribute: option.read for option in _OPTIONS},
}
_FLAGS = (
    *("deny-scripts-reconfig", "resolve-hostnames", "announce-hostnames"),
    *("replicate-config", "minority-reads", "webhook-per-node", "raft-count-outsiders"),
)
_GLOBALS: dict[str, _Rule] = {
    "myid": _myid,
    "deny-scripts-reconfig": _setting(
        "deny_scripts_reconfig", _yes_no("deny-scripts-reconfig options")
    ),
    "raft-count-outsiders": _setting(
        "raft_count_outsiders", _yes_no("raft-count-outsiders option")
    ),
    "resolve-hostnames": _setting("resolve_hostnames", _yes_no("resolve-hostnames option")),
    "announce-hostnames": _setting("announce_hostnames", _yes_no("announce-hostnames option")),
    "current-epoch": _current_epoch,
    "announce-ip": _setting("announce_ip", str),
    "announce-port": _setting("announce_port", _atoi),
    "sentinel-user": _setting("sentinel_user", str),
    "sentinel-pass": _setting("sentinel_pass", str),
    "raft-self": _setting("raft_self", _raft_address),
    "raft-secret": _setting("raft_secret", str),
    "raft-applied": _raft_applied,
    "event-history": _setting("event_history", webhooks.history_limit),
    "webhook-per-node": _setting("webhook_per_node", _yes_no("webhook-per-node option")),
    "http-port": _setting("http_port", _port),
    "http-tls": _setting("http_tls", _yes_no("http-tls option")),
    "http-token": _setting("http_token", str),
    "replicate-config": _setting("replicate_config", _yes_no("replicate-config option")),
    "minority-reads": _setting("minority_reads", _yes_no("minority-reads option")),
}
# By name and number of arguments.
_RULES: dict[tuple[str, int], _Rule] = {
    **{(name, 1): rule for name, rule in _GLOBALS.items()},
    ("monitor", 4): _monitor,
    **{(option.name, 2): _option(option.attribute, option.read) for option in _OPTIONS},
    ("primary-reboot-down-after-period", 2): _option("reboot_down_after_ms", _not_negative),
    ("primary-loading-down-after-period", 2): _option("loading_down_after_ms", _not_negative),
    ("local-override", 3): _local_override,
    ("config-epoch", 2): _config_epoch,
    ("known-lineage", 6): _known_lineage,
    ("known-ancestors", 2): _known_ancestors,
    ("raft-admitted", 4): _raft_admitted,
    ("raft-master", 1): _raft_master,
    ("raft-failover", 5): _raft_failover,
    ("raft-failover", 7): _raft_failover,
    ("leader-epoch", 2): _leader_epoch,
    ("known-replica", 3): _known_replica,
    ("known-slave", 3): _known_slave,
    ("known-sentinel", 3): _known_sentinel_without_id,
    ("known-sentinel", 4): _known_sentinel,
    ("rename-command", 3): _rename_command,
    ("http-user", 2): _http_user,
    ("webhook", 2): _webhook,
    ("webhook", 3): _webhook,
}
# With any number of arguments.
_LISTS: dict[str, _Rule] = {"raft-peers": _raft_peers, "http-bind": _http_bind}
KEYS = frozenset(key_of(("sentinel", name)) for name in (*_LISTS, *(name for name, _ in _RULES)))
"""What the lines of `render` replace in an old file."""
PER_MASTER = frozenset(key_of(("sentinel", name)) for name, _ in _RULES if name not in _GLOBALS)
SHARED = frozenset(
    f"sentinel {name}" for name in ("monitor", "rename-command", *(it.name for it in _OPTIONS))
)
"""What the members of a Raft cluster have in common."""
LEARNED = frozenset(
    f"sentinel {name}"
    for name in (
        *("myid", "current-epoch", "config-epoch", "leader-epoch"),
        *("known-replica", "known-sentinel", "known-lineage", "known-ancestors"),
        *("raft-applied", "raft-master", "raft-failover", "raft-admitted"),
    )
)
"""What a sentinel finds out by itself, and then knows better than its operator."""

# What need not be written. SENTINEL DEBUG changes defaults for this run, and not for the next one.
_DEFAULT_SETTINGS = Settings()
_DEFAULT_OPTIONS = roster.default_options(State(myid=""), quorum=1)
_option_values = attrgetter(*(option.attribute for option in _OPTIONS))
_DEFAULTS = _option_values(_DEFAULT_OPTIONS)


@lru_cache(CACHED_LINES)
def _line(name: str, *args: str | int, required: bool = True) -> Line:
    key = f"sentinel {name}"
    return Line(key, f"{key} {join(map(str, args))}", required)


def _head(state: State) -> Iterator[Line]:
    yield _line("myid", state.myid)
    for name in _FLAGS:
        attribute = name.replace("-", "_")
        value = getattr(state.settings, attribute)
        is_default = value == getattr(_DEFAULT_SETTINGS, attribute)
        yield _line(name, "yes" if value else "no", required=not is_default)


def _masters(state: State) -> Iterator[Line]:
    for master in state.masters.values():
        name, options = master.name, master.shared
        host = _monitored_host(state, master.address)
        yield _line("monitor", name, host, master.address.port, options.quorum)
        for option, value, default in zip(
            _OPTIONS, _option_values(options), _DEFAULTS, strict=True
        ):
            if value != default:
                yield _line(option.name, name, _word(value))
        yield _line("config-epoch", name, master.config_epoch)
        yield _line("leader-epoch", name, master.leader_epoch)
        yield from _replicated(state, master)
        if master.lineage and lineage.is_kept(state, master):
            yield _line("known-lineage", name, *astuple(master.lineage))
        if master.ancestors:
            line = _line("known-ancestors", name, ",".join(master.ancestors))
            yield commented(line) if state.raft is None else line
        for overridden, value in overrides.overridden(master).items():
            yield _line("local-override", name, overridden, "" if value is None else value)
        for replica in master.replicas.values():
            yield _line("known-replica", name, *_host_and_port(state, replica.address))
        for peer in master.peers.values():
            yield _line("known-sentinel", name, *_host_and_port(state, peer.address), peer.run_id)
        for command, renamed in options.renamed.items():
            yield _line("rename-command", name, command, renamed)


def _word(value: OptionValue) -> str | int:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value


def _replicated(state: State, master: Master) -> Iterator[Line]:
    """What of a master only the Raft log has: the file stands for the log up to raft-applied."""
    if state.raft is None:
        return
    if master.is_replicated:
        yield _line("raft-master", master.name)
    if mandate := master.mandate:
        flags = ("yes" if flag else "no" for flag in (mandate.forced, mandate.switched))
        chosen = _host_and_port(state, mandate.chosen) if mandate.chosen else ()
        yield _line("raft-failover", master.name, mandate.epoch, mandate.leader, *flags, *chosen)
    for place, run_id in master.admitted.items():
        host, _, port = place.rpartition(":")
        yield _line("raft-admitted", master.name, host, port, run_id)


def _tail(state: State) -> Iterator[Line]:
    settings = state.settings
    yield _line("current-epoch", state.current_epoch)
    if settings.announce_ip:
        yield _line("announce-ip", settings.announce_ip)
    if settings.announce_port:
        yield _line("announce-port", settings.announce_port)
    if settings.sentinel_user:
        yield _line("sentinel-user", settings.sentinel_user)
    if settings.sentinel_pass:
        yield _line("sentinel-pass", settings.sentinel_pass)
    if settings.raft_peers:
        yield _line("raft-peers", *settings.raft_peers)
    if settings.raft_self:
        yield _line("raft-self", settings.raft_self)
    if settings.raft_secret:
        yield _line("raft-secret", settings.raft_secret)
    yield from _http(settings)
    yield from _events(settings)
    if state.raft is not None:
        # While it catches up, the file stands for what it stood for: masters move at the end.
        is_settled = members.is_in_cluster(state)
        yield _line("raft-applied", state.raft.applied if is_settled else state.raft_applied)


def _http(settings: Settings) -> Iterator[Line]:
    if settings.http_port:
        yield _line("http-port", settings.http_port)
    if settings.http_bind != _DEFAULT_SETTINGS.http_bind:
        yield _line("http-bind", *settings.http_bind)
    if settings.http_tls:
        yield _line("http-tls", "yes")
    if settings.http_token:
        yield _line("http-token", settings.http_token)
    for name, password in settings.http_users.items():
        yield _line("http-user", name, password)


def _events(settings: Settings) -> Iterator[Line]:
    if settings.event_history != _DEFAULT_SETTINGS.event_history:
        yield _line("event-history", settings.event_history)
    for words in webhooks.rows(settings):
        yield _line("webhook", *words)


def _monitored_host(state: State, address: Address) -> str:
    """The host as it was given: a name in the file has to outlive the address it has today."""
    if state.settings.resolve_hostnames:
        return address.host
    return _host_and_port(state, address)[0]


def _host_and_port(state: State, address: Address) -> tuple[str, int]:
    return state.shown(address) or address.host, address.port
