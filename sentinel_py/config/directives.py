"""The sentinel directives: statements become a State, and a State becomes lines.

Which statements there are is said by `config`, where the lines go by `rewrite`. The rule it guards:
what `render` writes, `apply` reads back to the same state, and so does redis-sentinel.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from sentinel_py.config import learned, webhooks
from sentinel_py.config.config import Origin, Statement
from sentinel_py.config.lines import DirectiveError, Line, key_of
from sentinel_py.config.loading import Loading, Rule, atoi, epoch_of, port_of
from sentinel_py.config.words import directive, host_and_port, word_of
from sentinel_py.core import checks, members, overrides, own_scripts, repeats, roster
from sentinel_py.core.model import (
    Address,
    OptionValue,
    Settings,
    State,
)
from sentinel_py.raft import addresses
from sentinel_py.raft.questions import MEMBERS_MAX
from sentinel_py.storage import is_executable

_MYID_LENGTH = 40

ELECTION_TIMEOUT_RANGE_MS = 300, 10_000


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
    loading = Loading(state, now, resolve)
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


def _rule(name: str, count: int) -> Rule:
    rule = _RULES.get((name, count)) or _LISTS.get(name)
    if rule is None:
        raise DirectiveError("Unrecognized sentinel configuration statement.")
    return rule


def _turn(statement: Statement) -> int:
    """Globals first, then masters, then what is about masters; otherwise in the order of lines."""
    name = statement.words[1].lower()
    if name in _GLOBALS or name in _LISTS:
        return 0
    if name == "monitor":
        # The file's own lines know where a master went; other files and options may be older.
        return 1 if statement.origin is Origin.FILE else 2
    # What is shared comes before what this sentinel has otherwise.
    return _LATER.get(name, 3)


# Each is about what another line says.
_LATER = {"known-script": 4, "known-slave": 5, "local-override": 5, "known-member": 6}


def _setting(attribute: str, read: Callable[[str], object]) -> Rule:
    def rule(loading: Loading, args: Sequence[str]) -> None:
        setattr(loading.state.settings, attribute, read(args[0]))

    return rule


def _yes_no(noun: str) -> Callable[[str], bool]:
    def read(word: str) -> bool:
        if word.lower() not in ("yes", "no"):
            raise DirectiveError(f"Please specify yes or no for the {noun}.")
        return word.lower() == "yes"

    return read


def _myid(loading: Loading, args: Sequence[str]) -> None:
    if len(args[0]) != _MYID_LENGTH:
        raise DirectiveError("Malformed Sentinel id in myid option.")
    loading.state.myid = args[0]


def _raft_peers(loading: Loading, args: Sequence[str]) -> None:
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


def _election_timeout(word: str) -> int:
    """Shorter ones end with every stall of a machine; longer ones are no failover any more."""
    least, most = ELECTION_TIMEOUT_RANGE_MS
    if not word.isascii() or not word.isdecimal() or not least <= int(word[:9]) <= most:
        raise DirectiveError(f"raft-election-timeout takes {least} to {most} milliseconds.")
    return int(word)


def _http_bind(loading: Loading, args: Sequence[str]) -> None:
    if not args:
        raise DirectiveError("http-bind takes addresses.")
    loading.state.settings.http_bind = list(args)


def _http_host(loading: Loading, args: Sequence[str]) -> None:
    if not args:
        raise DirectiveError("http-host takes names.")
    loading.state.settings.http_hosts = list(args)


def _http_user(loading: Loading, args: Sequence[str]) -> None:
    name, password = args
    if not name or ":" in name or not password:
        raise DirectiveError("http-user takes a name without a colon, and a password.")
    loading.state.settings.http_users[name] = password


def _webhook(loading: Loading, args: Sequence[str]) -> None:
    settings = loading.state.settings
    settings.webhooks = webhooks.added(settings.webhooks, args)


def _current_epoch(loading: Loading, args: Sequence[str]) -> None:
    loading.state.current_epoch = max(loading.state.current_epoch, epoch_of(args[0]))


def _raft_applied(loading: Loading, args: Sequence[str]) -> None:
    """The index of the Raft log that this file stands for; earlier entries are in it."""
    loading.state.raft_applied = epoch_of(args[0])


def _raft_orders(loading: Loading, args: Sequence[str]) -> None:
    """The latest orders that the log has carried out: one of them may come a second time."""
    try:
        loading.state.recent_orders = repeats.read(args[0].split(","))
    except ValueError as error:
        raise DirectiveError(f"{error}.") from None


def _monitor(loading: Loading, args: Sequence[str]) -> None:
    state = loading.state
    name, host, port, quorum_text = args
    quorum = _quorum(quorum_text)
    try:
        checks.check_name(name)
    except checks.InvalidError as error:
        raise DirectiveError(f"{error}.") from None
    address = loading.address(host, port)
    if name in state.masters:
        if loading.origin is Origin.FILE or name not in loading.in_file:
            raise DirectiveError("Duplicate master name.")
        return
    roster.add_master(state, loading.now, name, address, roster.default_options(state, quorum))
    if loading.origin is Origin.FILE:
        loading.in_file.add(name)


def _rename_command(loading: Loading, args: Sequence[str]) -> None:
    renamed = loading.master(args[0]).options.renamed
    if args[1].lower() in renamed:
        loading.refuse_twice("Same command renamed multiple times with rename-command.")
    else:
        renamed[args[1].lower()] = args[2]


def _option(attribute: str, read: Callable[[str], object]) -> Rule:
    def rule(loading: Loading, args: Sequence[str]) -> None:
        setattr(loading.master(args[0]).options, attribute, read(args[1]))

    return rule


def _own_script(attribute: str, read: Callable[[str], OptionValue]) -> Rule:
    """What this sentinel's own file names; what the members have in common may be another one."""

    def rule(loading: Loading, args: Sequence[str]) -> None:
        master, path = loading.master(args[0]), str(read(args[1]))
        setattr(master.options, attribute, path)
        master.own_scripts[attribute] = path

    return rule


def _local_override(loading: Loading, args: Sequence[str]) -> None:
    """What SENTINEL SET LOCAL has set; an empty text says that the option is not set here."""
    master, name, word = loading.master(args[0]), args[1].lower(), args[2]
    if name not in overrides.FIELDS:
        raise DirectiveError(f"{args[1]} is no option that a local-override can be about.")
    field = overrides.FIELDS[name]
    is_unset = not word and getattr(_DEFAULT_OPTIONS, field) is None
    master.overrides[field] = None if is_unset else _READERS[field](word)
    master.options = overrides.in_effect(master)


def _quorum(text: str) -> int:
    if (number := atoi(text)) <= 0:
        raise DirectiveError("Quorum must be 1 or greater.")
    return number


def _positive(text: str) -> int:
    if (number := atoi(text)) <= 0:
        raise DirectiveError("negative or zero time parameter.")
    return number


def _not_negative(text: str) -> int:
    if (number := atoi(text)) < 0:
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


class _Option(NamedTuple):
    """A master's option of one word: its name in the file and in `Options`."""

    name: str
    attribute: str
    read: Callable[[str], OptionValue]


# In the order of writing.
_OPTIONS = (
    _Option("down-after-milliseconds", "down_after_ms", _positive),
    _Option("failover-timeout", "failover_timeout_ms", _positive),
    _Option("parallel-syncs", "parallel_syncs", atoi),
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
_SCRIPTS = [option for option in _OPTIONS if option.name in own_scripts.FIELDS]
_READERS: dict[str, Callable[[str], OptionValue]] = {
    "quorum": _quorum,
    **{option.attribute: option.read for option in _OPTIONS},
}
_FLAGS = (
    *("deny-scripts-reconfig", "resolve-hostnames", "announce-hostnames"),
    *("replicate-config", "minority-reads", "webhook-per-node", "raft-count-outsiders"),
)
_GLOBALS: dict[str, Rule] = {
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
    "announce-port": _setting("announce_port", atoi),
    "sentinel-user": _setting("sentinel_user", str),
    "sentinel-pass": _setting("sentinel_pass", str),
    "raft-self": _setting("raft_self", _raft_address),
    "raft-secret": _setting("raft_secret", str),
    "raft-applied": _raft_applied,
    "raft-orders": _raft_orders,
    "raft-election-timeout": _setting("raft_election_timeout_ms", _election_timeout),
    "event-history": _setting("event_history", webhooks.history_limit),
    "webhook-per-node": _setting("webhook_per_node", _yes_no("webhook-per-node option")),
    "http-port": _setting("http_port", port_of),
    "http-tls": _setting("http_tls", _yes_no("http-tls option")),
    "http-token": _setting("http_token", str),
    "replicate-config": _setting("replicate_config", _yes_no("replicate-config option")),
    "minority-reads": _setting("minority_reads", _yes_no("minority-reads option")),
}
# By name and number of arguments.
_RULES: dict[tuple[str, int], Rule] = {
    **{(name, 1): rule for name, rule in _GLOBALS.items()},
    ("monitor", 4): _monitor,
    **{(option.name, 2): _option(option.attribute, option.read) for option in _OPTIONS},
    **{(option.name, 2): _own_script(option.attribute, option.read) for option in _SCRIPTS},
    ("primary-reboot-down-after-period", 2): _option("reboot_down_after_ms", _not_negative),
    ("primary-loading-down-after-period", 2): _option("loading_down_after_ms", _not_negative),
    ("local-override", 3): _local_override,
    **learned.RULES,
    ("rename-command", 3): _rename_command,
    ("http-user", 2): _http_user,
    ("webhook", 2): _webhook,
    ("webhook", 3): _webhook,
}
# With any number of arguments.
_LISTS: dict[str, Rule] = {
    "raft-peers": _raft_peers,
    "http-bind": _http_bind,
    "http-host": _http_host,
}
KEYS = frozenset(key_of(("sentinel", name)) for name in (*_LISTS, *(name for name, _ in _RULES)))
"""What the lines of `render` replace in an old file."""
PER_MASTER = frozenset(key_of(("sentinel", name)) for name, _ in _RULES if name not in _GLOBALS)
SHARED = frozenset(
    f"sentinel {name}"
    for name in ("monitor", "rename-command", *(it.name for it in _OPTIONS))
    if name not in own_scripts.FIELDS
)
"""What the members of a Raft cluster have in common. Of scripts, each file says what may run."""

# What need not be written. SENTINEL DEBUG changes defaults for this run, and not for the next one.
_DEFAULT_SETTINGS = Settings()
_DEFAULT_OPTIONS = roster.default_options(State(myid=""), quorum=1)
_option_values = attrgetter(*(option.attribute for option in _OPTIONS))
_DEFAULTS = _option_values(_DEFAULT_OPTIONS)


def _head(state: State) -> Iterator[Line]:
    yield directive("myid", state.myid)
    for name in _FLAGS:
        attribute = name.replace("-", "_")
        value = getattr(state.settings, attribute)
        is_default = value == getattr(_DEFAULT_SETTINGS, attribute)
        yield directive(name, "yes" if value else "no", required=not is_default)


def _masters(state: State) -> Iterator[Line]:
    for master in state.masters.values():
        name, options = master.name, master.shared
        host = _monitored_host(state, master.address)
        yield directive("monitor", name, host, master.address.port, options.quorum)
        values = _option_values(own_scripts.as_named(master))
        for option, value, default in zip(_OPTIONS, values, _DEFAULTS, strict=True):
            if value != default:
                yield directive(option.name, name, word_of(value))
        yield from learned.history(state, master)
        for overridden, value in overrides.overridden(master).items():
            yield directive("local-override", name, overridden, "" if value is None else value)
        yield from learned.instances(state, master)
        for command, renamed in options.renamed.items():
            yield directive("rename-command", name, command, renamed)


def _tail(state: State) -> Iterator[Line]:
    settings = state.settings
    yield directive("current-epoch", state.current_epoch)
    if settings.announce_ip:
        yield directive("announce-ip", settings.announce_ip)
    if settings.announce_port:
        yield directive("announce-port", settings.announce_port)
    if settings.sentinel_user:
        yield directive("sentinel-user", settings.sentinel_user)
    if settings.sentinel_pass:
        yield directive("sentinel-pass", settings.sentinel_pass)
    if settings.raft_peers:
        yield directive("raft-peers", *settings.raft_peers)
    if settings.raft_self:
        yield directive("raft-self", settings.raft_self)
    if settings.raft_secret:
        yield directive("raft-secret", settings.raft_secret)
    if settings.raft_election_timeout_ms != _DEFAULT_SETTINGS.raft_election_timeout_ms:
        yield directive("raft-election-timeout", settings.raft_election_timeout_ms)
    yield from _http(settings)
    yield from _events(settings)
    if state.raft is not None:
        # While it catches up, the file stands for what it stood for: masters move at the end.
        is_settled = members.is_in_cluster(state)
        yield directive("raft-applied", state.raft.applied if is_settled else state.raft_applied)
        if state.recent_orders:
            yield directive("raft-orders", ",".join(map(repeats.shown, state.recent_orders)))


def _http(settings: Settings) -> Iterator[Line]:
    if settings.http_port:
        yield directive("http-port", settings.http_port)
    if settings.http_bind != _DEFAULT_SETTINGS.http_bind:
        yield directive("http-bind", *settings.http_bind)
    if settings.http_hosts:
        yield directive("http-host", *settings.http_hosts)
    if settings.http_tls:
        yield directive("http-tls", "yes")
    if settings.http_token:
        yield directive("http-token", settings.http_token)
    for name, password in settings.http_users.items():
        yield directive("http-user", name, password)


def _events(settings: Settings) -> Iterator[Line]:
    if settings.event_history != _DEFAULT_SETTINGS.event_history:
        yield directive("event-history", settings.event_history)
    for words in webhooks.rows(settings):
        yield directive("webhook", *words)


def _monitored_host(state: State, address: Address) -> str:
    """The host as it was given: a name in the file has to outlive the address it has today."""
    if state.settings.resolve_hostnames:
        return address.host
    return host_and_port(state, address)[0]
