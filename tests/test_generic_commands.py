"""PING, HELLO, INFO, ROLE and SHUTDOWN, over real connections."""

import pytest
from serving import pairs, serving

import sentinel_py
from sentinel_py.server.info import Stats
from sentinel_py.version import REDIS_VERSION

SECTIONS = ["Server", "Clients", "Stats", "CPU", "Sentinel"]


async def test_ping():
    """With an argument it is an echo."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask_raw("PING") == b"+PONG\r\n"
        assert await client.ask_raw("ping", "\u00e9") == b"$2\r\n\xc3\xa9\r\n"


async def test_role_names_the_masters():
    """It is how clients tell a Sentinel from a data node."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask("ROLE") == ["sentinel", ["mymaster"]]


async def test_hello_has_six_pairs_in_both_protocols():
    """The protocol changes with the reply already; without a version it stays."""
    async with serving() as running, await running.connect() as client:
        plain = await client.ask("HELLO")
        assert pairs(plain) == {
            "server": "redis",
            "version": REDIS_VERSION,
            "proto": 2,
            "id": await client.ask("CLIENT", "ID"),
            "mode": "sentinel",
            "modules": [],
        }
        assert (await client.ask_raw("HELLO", "3")).startswith(b"%6\r\n$6\r\nserver\r\n")
        assert (await client.ask("HELLO"))["proto"] == 3
        assert (await client.ask_raw("HELLO", "2")).startswith(b"*12\r\n")


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("4", "NOPROTO unsupported protocol version"),
        ("1", "NOPROTO unsupported protocol version"),
        ("abc", "ERR Protocol version is not an integer or out of range"),
        ("3 FOO", "ERR Syntax error in HELLO option 'FOO'"),
        ("3 SETNAME", "ERR Syntax error in HELLO option 'SETNAME'"),
        ("3 AUTH a", "ERR Syntax error in HELLO option 'AUTH'"),
        ("3 SETNAME x AUTH nobody y", "WRONGPASS invalid username-password pair or user is "
         "disabled."),
        ("3 AUTH default x SETNAME a\x01", "ERR Client names cannot contain spaces, newlines or "
         "special characters."),
    ],
)  # fmt: skip
async def test_a_hello_that_fails_changes_nothing(words, reply):
    """Neither the protocol nor the name."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask("HELLO", *words.split(" ")) == reply
        assert await client.ask_raw("CLIENT", "GETNAME") == b"$-1\r\n"


async def test_hello_takes_options_in_any_order():
    """Name and user are set together."""
    users = [["u", "on", ">pw", "+@all"]]
    async with serving(acl={"user_lines": users}) as running, await running.connect() as client:
        reply = await client.ask("HELLO", "3", "setname", "me", "auth", "u", "pw")
        assert reply["proto"] == 3
        line = await client.ask("CLIENT", "INFO")
        assert " name=me " in line
        assert " user=u " in line


@pytest.mark.parametrize(
    ("words", "sections"),
    [
        ("", SECTIONS),
        ("all", SECTIONS),
        ("DEFAULT", SECTIONS),
        ("foo everything", SECTIONS),
        ("sentinel SERVER", ["Server", "Sentinel"]),
        ("cpu", ["CPU"]),
        ("memory replication", []),
    ],
)
async def test_sections_of_info(words, sections):
    """Always in the same order, an empty line between; what a Sentinel lacks gives nothing."""
    async with serving() as running, await running.connect() as client:
        text = await client.ask("INFO", *words.split())
        titles = [line[2:] for line in text.split("\r\n") if line.startswith("#")]
        assert titles == sections
        assert text.count("\r\n\r\n") == max(len(sections) - 1, 0)
        assert text == "" or text.endswith("\r\n")


async def test_info_is_a_bulk_string_in_resp3_too():
    """A data node sends verbatim text; a Sentinel does not."""
    async with serving() as running, await running.connect() as client:
        await client.ask("HELLO", "3")
        assert (await client.ask_raw("INFO"))[:1] == b"$"


async def test_info_tells_what_we_are():
    """Clients branch on redis_version and redis_mode; the rest is said beside it."""
    async with serving() as running, await running.connect() as client:
        text = await client.ask("INFO")
        fields = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
        assert fields["redis_version"] == REDIS_VERSION
        assert fields["redis_mode"] == "sentinel"
        assert fields["server_name"] == "sentinel_py"
        assert fields["sentinel_py_version"] == sentinel_py.__version__
        assert fields["run_id"] == running.node.run_id
        assert fields["tcp_port"] == str(running.port)
        assert fields["listener0"] == f"name=tcp,bind=127.0.0.1,port={running.port}"
        assert fields["config_file"] == running.node.config_file
        assert fields["maxclients"] == "10000"
        assert float(fields["used_cpu_user"]) >= 0
        absent = {"used_memory", "rdb_last_bgsave_status", "master_repl_offset", "cluster_enabled"}
        assert not absent & set(fields)


async def test_info_says_what_does_not_change_as_it_is():
    """A percent sign in a path is no gap to be filled."""
    async with serving() as running, await running.connect() as client:
        running.node.config_file = "/etc/100%s.conf"
        for _ in range(2):
            assert "\r\nconfig_file:/etc/100%s.conf\r\n" in await client.ask("INFO", "server")


async def test_info_counts():
    """Connections, commands, errors, bytes and subscriptions."""
    async with (
        serving() as running,
        await running.connect() as client,
        await running.connect() as subscriber,
    ):
        await subscriber.ask("SUBSCRIBE", "a")
        await subscriber.ask("PSUBSCRIBE", "b*")
        client.send(b"FOO\r\nPING\r\n")
        await client.raw()
        await client.raw()
        text = await client.ask("INFO", "stats", "clients")
        for line in (
            "connected_clients:2",
            "pubsub_clients:1",
            "total_connections_received:2",
            "total_commands_processed:4",
            "total_error_replies:1",
            "pubsub_channels:1",
            "pubsub_patterns:1",
        ):
            assert f"{line}\r\n" in text
        stats = running.server.stats
        assert stats.input_bytes > 0 < stats.output_bytes


def test_rates_are_measured_between_samples():
    """Per second, whatever the time between two samples was."""
    stats = Stats()
    stats.sample(1000)
    stats.commands += 50
    stats.input_bytes += 1000
    stats.sample(1500)
    assert (stats.commands_rate, stats.input_rate, stats.output_rate) == (100, 2000, 0)
    stats.sample(2500)
    assert stats.commands_rate == 0


@pytest.mark.parametrize("words", [[], ["NOSAVE"], ["save", "NOW", "force"]])
async def test_shutdown_ends_the_node_without_a_reply(words):
    """SAVE is accepted and has nothing to save."""
    async with serving() as running, await running.connect() as client:
        client.request("SHUTDOWN", *words)
        assert await client.ask("PING") == "PONG"
        assert running.node.is_shut_down


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("FOO", "ERR syntax error"),
        ("SAVE NOSAVE", "ERR syntax error"),
        ("NOSAVE ABORT", "ERR syntax error"),
        ("ABORT", "ERR No shutdown in progress."),
    ],
)
async def test_a_shutdown_that_is_refused(words, reply):
    """Bad words and combinations shut nothing down."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask("SHUTDOWN", *words.split()) == reply
        assert not running.node.is_shut_down


async def test_info_writes_rates_and_seconds_with_their_digits():
    """Two behind the point for rates, six for CPU time, as redis-sentinel writes them."""
    async with serving() as running, await running.connect() as client:
        lines = (await client.ask("INFO", "stats", "cpu")).split()
        fields = dict(line.split(":") for line in lines if ":" in line)
        digits = {name: len(value.partition(".")[2]) for name, value in fields.items()}
        assert digits["instantaneous_input_kbps"] == digits["instantaneous_output_kbps"] == 2
        cpu = [count for name, count in digits.items() if name.startswith("used_cpu")]
        assert cpu == [6] * 6
