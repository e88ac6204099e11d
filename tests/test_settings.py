"""Generic directives: their values, what is refused, and how they are written."""

import pytest
import redis
from hypothesis import assume, given
from hypothesis import strategies as st

from sentinel_py.config.lines import DirectiveError, split
from sentinel_py.config.settings import ACCEPTED, DIRECTIVES, ServerSettings
from sentinel_py.local import wait_ready
from sentinel_py.server.options import OutputLimit


def read(name, *words):
    settings = ServerSettings()
    DIRECTIVES[name].read(settings, words)
    return getattr(settings, name.replace("-", "_"))


def written(name, *words):
    """Lines of a directive and whether each must be written, after it was read, if at all."""
    settings = ServerSettings()
    if words:
        DIRECTIVES[name].read(settings, words)
    return [(line.text, line.required) for line in DIRECTIVES[name].lines(settings)]


def test_defaults_are_a_sentinels():
    """Without any line the settings are those of redis-sentinel."""
    settings = ServerSettings()
    assert (settings.port, settings.protected_mode, settings.bind) == (26379, False, ("*", "-::*"))
    assert (settings.loglevel, settings.logfile, settings.requirepass) == ("notice", "", "")
    assert settings.client_output_buffer_limit["pubsub"] == OutputLimit(2**25, 2**23, 60)


def test_attributes_can_be_set():
    """A value that changes while running is the one that is written."""
    settings = ServerSettings()
    before = [line.text for line in settings.lines() if line.key == "loglevel"]
    settings.loglevel = "debug"
    after = [line.text for line in settings.lines() if line.key == "loglevel"]
    assert (before, after) == (["loglevel notice"], ["loglevel debug"])


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("daemonize", ["YES"], True),
        ("port", ["0"], 0),
        ("maxclients", ["4294967295"], 2**32 - 1),
        ("unixsocketperm", ["700"], 0o700),
        ("proto-max-bulk-len", ["2mb"], 2 * 2**20),
        ("proto-max-bulk-len", ["2M"], 2_000_000),
        ("client-query-buffer-limit", ["1048576b"], 2**20),
        ("maxmemory-clients", ["5%"], -5),
        ("maxmemory-clients", ["1gb"], 2**30),
        ("loglevel", ["WARNING"], "warning"),
        ("loglevel", ["nothing"], "nothing"),
        ("bind", ["127.0.0.1", "-::1"], ("127.0.0.1", "-::1")),
        ("bind", ["127.0.0.1 -::1"], ("127.0.0.1", "-::1")),
        ("bind", [""], ()),
        ("bind", [], ()),
        ("shutdown-on-sigint", ["nosave", "NOW"], ("nosave", "now")),
        ("proc-title-template", ["{{x} {title} {port}"], "{{x} {title} {port}"),
        ("pidfile", [""], ""),
    ],
)
def test_values(name, words, value):
    """Words become values as in redis-sentinel."""
    assert read(name, *words) == value


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("daemonize", ["1"], "argument must be 'yes' or 'no'"),
        ("port", ["65536"], "argument must be between 0 and 65535 inclusive"),
        ("port", ["abc"], "argument couldn't be parsed into an integer"),
        ("timeout", ["007"], "argument couldn't be parsed into an integer"),
        ("timeout", ["+1"], "argument couldn't be parsed into an integer"),
        ("acllog-max-len", ["9" * 19], "argument couldn't be parsed into an integer"),
        ("timeout", ["1" * 5000], "argument couldn't be parsed into an integer"),
        ("timeout", ["٣"], "argument couldn't be parsed into an integer"),
        ("maxclients", ["-1"], "argument must be between 1 and 4294967295 inclusive"),
        ("unixsocketperm", ["9"], "argument couldn't be parsed as an octal number"),
        ("unixsocketperm", ["1777"], "argument must be between 0 and 777 inclusive"),
        ("proto-max-bulk-len", ["1x"], "argument must be a memory value"),
        (
            "proto-max-bulk-len",
            ["1"],
            f"argument must be between 1048576 and {2**63 - 1} inclusive",
        ),
        ("maxmemory-clients", ["x"], "argument must be a memory or percent value"),
        ("maxmemory-clients", ["101%"], "percentage argument must be less or equal to 100"),
        (
            "loglevel",
            ["loud"],
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        (
            "shutdown-on-sigterm",
            ["now", "later"],
            "argument(s) must be one of the following: default, save, nosave, now, force",
        ),
        (
            "supervised",
            ["x"],
            "argument(s) must be one of the following: upstart, systemd, auto, no",
        ),
        ("bind", ["::1"] * 17, "Too many bind addresses specified."),
        ("port", ["1", "2"], "wrong number of arguments"),
        (
            "client-output-buffer-limit",
            ["master", "0", "0", "0"],
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            ["normal", "0", "0"],
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            ["normal", "0", "x", "0"],
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        (
            "proc-title-template",
            ["{nope}"],
            "template format is invalid or contains unknown variables",
        ),
        ("proc-title-template", [""], "template format is invalid or contains unknown variables"),
    ],
)
def test_refused_values(name, words, reason):
    """What is no value of the directive's kind is refused in redis-sentinel's words."""
    with pytest.raises(DirectiveError) as caught:
        read(name, *words)
    assert str(caught.value) == reason


def test_output_limits_add_up_over_lines():
    """A line names one class or several and leaves the others as they are."""
    settings = ServerSettings()
    directive = DIRECTIVES["client-output-buffer-limit"]
    directive.read(settings, ["slave", "1mb", "2", "3"])
    directive.read(settings, ["normal", "4", "5", "6", "pubsub", "7", "8", "9"])
    assert settings.client_output_buffer_limit == {
        "normal": OutputLimit(4, 5, 6),
        "replica": OutputLimit(2**20, 2, 3),
        "pubsub": OutputLimit(7, 8, 9),
    }


@pytest.mark.parametrize(
    ("name", "words", "lines"),
    [
        ("port", [], [("port 26379", True)]),
        ("port", ["6379"], [("port 6379", False)]),
        ("protected-mode", [], [("protected-mode no", True)]),
        ("timeout", [], [("timeout 0", False)]),
        ("timeout", ["5"], [("timeout 5", True)]),
        ("logfile", [], [('logfile ""', False)]),
        ("requirepass", [], []),
        ("requirepass", ['a "b'], [('requirepass "a \\"b"', True)]),
        ("bind", [], [("bind * -::*", False)]),
        ("bind", [""], [('bind ""', True)]),
        ("unixsocketperm", ["700"], [("unixsocketperm 700", True)]),
        ("client-query-buffer-limit", ["1048577"], [("client-query-buffer-limit 1048577", True)]),
        ("client-query-buffer-limit", ["2048kb"], [("client-query-buffer-limit 2mb", True)]),
        ("maxmemory-clients", ["5%"], [("maxmemory-clients 5%", True)]),
        ("shutdown-on-sigint", ["nosave now"], [("shutdown-on-sigint nosave now", True)]),
        (
            "client-output-buffer-limit",
            ["normal", "0", "1mb", "5"],
            [
                ("client-output-buffer-limit normal 0 1mb 5", True),
                ("client-output-buffer-limit replica 256mb 64mb 60", False),
                ("client-output-buffer-limit pubsub 32mb 8mb 60", False),
            ],
        ),
    ],
)
def test_written_lines(name, words, lines):
    """What differs from a data node's default must be written, all else may be."""
    assert written(name, *words) == lines


@given(st.binary(min_size=1))
def test_any_text_is_read_back(data):
    """Whatever a password is, its line means the same password."""
    assume(b"\0" not in data)
    text = data.decode(errors="surrogateescape")
    (line,) = written("requirepass", text)
    assert split(line[0]) == ["requirepass", text]


def test_accepted_directives_are_checked():
    """Even a directive without meaning here must have a value of its kind."""
    ACCEPTED["appendonly"](["yes"])
    ACCEPTED["slave-priority"](["100"])
    with pytest.raises(DirectiveError, match="'yes' or 'no'"):
        ACCEPTED["appendonly"](["maybe"])
    with pytest.raises(DirectiveError, match="wrong number"):
        ACCEPTED["replicaof"](["host"])


def test_no_directive_is_declared_twice():
    """A directive either has a meaning here or has none."""
    assert not DIRECTIVES.keys() & ACCEPTED.keys()


def test_every_option_of_a_data_node_is_known(sandbox):
    """All that a real redis-server has is accepted, with the value that it shows."""
    server = sandbox.redis()
    wait_ready([server])
    with redis.Redis(port=server.port, decode_responses=True) as client:
        shown = client.config_get("*")
    assert len(shown) > 150
    for name, value in shown.items():
        if directive := DIRECTIVES.get(name):
            directive.read(ServerSettings(), [value])
        elif value or name not in ("replicaof", "slaveof"):
            ACCEPTED[name]([value])
