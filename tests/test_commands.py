"""The command table and the COMMAND family."""

import pytest
from serving import command_table, pairs, serving, value_of

from sentinel_py.resp import RESP2, encode
from sentinel_py.server.commands import CommandTable
from sentinel_py.server.generic_commands import base_commands
from sentinel_py.server.notation import parse_notation

# Arity, flags and categories of the top-level commands, as COMMAND INFO of redis-sentinel tells.
TABLE = """
acl          -2 - @slow
auth         -2 noscript,loading,stale,fast,no_auth,allow_busy @fast,@connection
client       -2 - @slow
command      -1 loading,stale @slow,@connection
hello        -1 noscript,loading,stale,fast,no_auth,allow_busy @fast,@connection
info         -1 loading,stale @slow,@dangerous
ping         -1 fast @fast,@connection
psubscribe   -2 pubsub,noscript,loading,stale @pubsub,@slow
publish       3 pubsub,loading,stale,fast @pubsub,@fast
punsubscribe -1 pubsub,noscript,loading,stale @pubsub,@slow
role          1 noscript,loading,stale,fast @admin,@fast,@dangerous
sentinel     -2 admin @admin,@slow,@dangerous
shutdown     -1 admin,noscript,loading,stale,no_multi,allow_busy @admin,@slow,@dangerous
subscribe    -2 pubsub,noscript,loading,stale @pubsub,@slow
unsubscribe  -1 pubsub,noscript,loading,stale @pubsub,@slow
""".strip().splitlines()


async def test_the_fifteen_commands():
    """Each entry has ten elements; nothing has keys."""
    async with serving() as running, await running.connect() as client:
        entries = {entry[0]: entry for entry in await client.ask("COMMAND")}
        assert await client.ask("COMMAND", "COUNT") == len(entries) == len(TABLE) == 15
        for line in TABLE:
            name, arity, flags, categories = line.split()
            entry = entries[name]
            assert len(entry) == 10
            assert entry[1:7] == [
                int(arity),
                [] if flags == "-" else flags.split(","),
                0,
                0,
                0,
                categories.split(","),
            ]


async def test_every_subcommand_is_listed_by_its_full_name():
    """Base names and `container|subcommand`, filtered on demand."""
    async with serving() as running, await running.connect() as client:
        names = await client.ask("COMMAND", "LIST")
        assert {"ping", "client", "client|setinfo", "sentinel|wait", "acl|dryrun"} < set(names)
        assert "client|no-touch" not in names
        assert len(names) == len(set(names)) == 15 + 13 + 17 + 7 + 3

        async def filtered(*words):
            return await client.ask("COMMAND", "LIST", "FILTERBY", *words)

        assert set(await filtered("pattern", "P?NG")) == {"ping"}
        assert set(await filtered("PATTERN", "*|id")) == {"client|id"}
        assert "role" in await filtered("ACLCAT", "Admin")
        assert await filtered("ACLCAT", "none") == await filtered("MODULE", "x") == []
        assert await filtered("FOO", "x") == "ERR syntax error"
        assert await client.ask("COMMAND", "LIST", "FOO") == "ERR syntax error"


async def test_info_about_some():
    """In the order they are asked for; null for what does not exist."""
    async with serving() as running, await running.connect() as client:
        found = await client.ask(
            "COMMAND", "INFO", "PING", "get", "client|id", "ping|x", "client|x"
        )
        assert [it and it[0] for it in found] == ["ping", None, "client|id", None, None]
        assert found[2][6] == ["@slow", "@connection"]
        assert len(await client.ask("COMMAND", "INFO")) == 15


async def test_the_shapes_of_resp3():
    """Flags, categories, tips and key specs are sets; subcommands are an array, or an empty set."""
    async with serving() as running, await running.connect() as client:
        await client.ask("HELLO", "3")
        raw = await client.ask_raw("COMMAND", "INFO", "role")
        assert raw == (
            b"*1\r\n*10\r\n$4\r\nrole\r\n:1\r\n~4\r\n+noscript\r\n+loading\r\n+stale\r\n+fast\r\n"
            b":0\r\n:0\r\n:0\r\n~3\r\n+@admin\r\n+@fast\r\n+@dangerous\r\n~0\r\n~0\r\n~0\r\n"
        )
        raw = await client.ask_raw("COMMAND", "INFO", "sentinel")
        assert raw.endswith(b"~0\r\n~0\r\n~0\r\n")
        assert b"*3\r\n*10\r\n" in raw


async def test_docs():
    """A map by name, with groups and arguments; unknown names are left out."""
    async with serving() as running, await running.connect() as client:
        await client.ask("HELLO", "3")
        everything = await client.ask("COMMAND", "DOCS")
        assert len(everything) == 15
        assert "client|kill" in everything["client"]["subcommands"]
        assert everything["subscribe"]["group"] == "pubsub"
        assert await client.ask("COMMAND", "DOCS", "get") == {}
        docs = await client.ask("COMMAND", "DOCS", "Ping", "client|reply")
        assert list(docs) == ["ping", "client|reply"]
        assert docs["ping"]["since"] == "1.0.0"
        (choice,) = docs["client|reply"]["arguments"]
        assert (choice["name"], choice["type"]) == ("on-off-skip", "oneof")
        assert choice["arguments"][0] == {
            "name": "on", "type": "pure-token", "display_text": "on", "token": "ON"
        }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("GETKEYS foo a", "ERR Invalid command specified"),
        ("GETKEYS ping a", "ERR The command has no key arguments"),
        ("GETKEYSANDFLAGS ping a", "ERR The command has no key arguments"),
        ("GETKEYS ping", "ERR wrong number of arguments for 'command|getkeys' command"),
        ("FOO", "ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
    ],
)
async def test_keys_are_asked_for_in_vain(words, reply):
    """There are none on a Sentinel."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask("COMMAND", *words.split()) == reply


def test_every_command_is_documented_and_can_be_run():
    """No entry of the table is unfinished."""
    for command in CommandTable(base_commands()).every():
        assert command.docs.summary.endswith(".")
        assert parse_notation(command.docs.arguments) or not command.docs.arguments
        assert command.handler or command.subcommands


def test_renamed_commands():
    """The old word is unknown, the new one runs; ACL rules and COMMAND keep the true name."""
    table = command_table()
    table.rename("PING", "Pong")
    table.rename("role", "")
    assert table.find([b"PONG"]).name == "ping"
    assert table.find([b"ping"]) is table.find([b"role"]) is None
    assert len(table.by_word) == 14
    assert {"ping", "role"} < set(table.by_name)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("get", "x"), "No such command in rename-command"),
        (("ping", "role"), "Target command name already exists"),
    ],
)
def test_bad_renames(words, text):
    """The text is that of a bad `rename-command` line."""
    with pytest.raises(ValueError, match=text):
        command_table().rename(*words)


async def test_a_renamed_command_over_the_wire():
    """Errors name the command by its true name."""
    async with serving() as running, await running.connect() as client:
        running.server.table.rename("client", "klient")
        assert (await client.ask("CLIENT", "ID")).startswith("ERR unknown command 'CLIENT'")
        assert isinstance(await client.ask("KLIENT", "ID"), int)
        assert await client.ask("KLIENT", "ID", "x") == (
            "ERR wrong number of arguments for 'client|id' command"
        )
        assert await client.ask("KLIENT", "X") == "ERR unknown subcommand 'X'. Try KLIENT HELP."


@pytest.mark.parametrize(
    ("notation", "arguments"),
    [
        ("", []),
        ("name", [{"name": "name", "type": "string"}]),
        ("[n:integer]", [{"name": "n", "type": "integer", "flags": ["optional"]}]),
        ("a ...", [{"name": "a", "type": "string", "flags": ["multiple"]}]),
        ("[a ...]", [{"name": "a", "type": "string", "flags": ["optional", "multiple"]}]),
        ("NOW", [{"name": "now", "type": "pure-token", "token": "NOW"}]),
        ("ID id", [{"name": "id", "type": "string", "token": "ID"}]),
        ("A [b]", [
            {"name": "a", "type": "pure-token", "token": "A"},
            {"name": "b", "type": "string", "flags": ["optional"]},
        ]),
        ("T <x y>", [{"name": "x-y", "type": "block", "token": "T", "arguments": [
            {"name": "x", "type": "string"}, {"name": "y", "type": "string"},
        ]}]),
        ("[A|b c]", [{"name": "a-b-c", "type": "oneof", "flags": ["optional"], "arguments": [
            {"name": "a", "type": "pure-token", "token": "A"},
            {"name": "b-c", "type": "block", "arguments": [
                {"name": "b", "type": "string"}, {"name": "c", "type": "string"},
            ]},
        ]}]),
    ],
)  # fmt: skip
def test_the_notation_of_arguments(notation, arguments):
    """Brackets, angles, bars, dots, tokens and types."""

    def plain(raw):
        told = pairs(raw)
        told.pop("display_text", None)
        if "arguments" in told:
            told["arguments"] = [plain(it) for it in told["arguments"]]
        return told

    replies = [it.reply() for it in parse_notation(notation)]
    assert [plain(it) for it in value_of(encode(replies, RESP2))] == arguments
