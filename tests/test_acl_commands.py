"""ACL, AUTH and permissions, over real connections."""

import hashlib
import re

import pytest
from serving import eventually, pairs, serving, value_of

from sentinel_py.acl.acl import AclStore
from sentinel_py.server.commands import CATEGORIES

HASH = hashlib.sha256(b"pw").hexdigest()
NO_FILE = (
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users "
    "via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "
    "configuration file set) in order to store users in the Redis configuration."
)


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("WHOAMI", "default"),
        ("USERS", ["default"]),
        ("LIST", ["user default on nopass sanitize-payload ~* &* +@all"]),
        ("GETUSER nobody", None),
        ("DELUSER default", "ERR The 'default' user cannot be removed"),
        ("DELUSER nobody", 0),
        ("CAT", list(CATEGORIES)),
        ("CAT foo", "ERR Unknown category 'foo'"),
        ("CAT keyspace", []),
        (
            "CAT a b",
            "ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.",
        ),
        ("SETUSER u +get", "ERR Error in ACL SETUSER modifier '+get': Unknown command or category "
         "name in ACL"),
        ("SETUSER u what", "ERR Error in ACL SETUSER modifier 'what': Syntax error"),
        ("SETUSER u (+ping", "ERR Unmatched parenthesis in acl selector starting at '(+ping'."),
        ("SETUSER u\tv", "ERR Usernames can't contain spaces or null characters"),
        ("SETUSER u +@read", "OK"),
        ("GENPASS 0", "ERR ACL GENPASS argument must be the number of bits for the output "
         "password, a positive number up to 4096"),
        ("GENPASS 4097", "ERR ACL GENPASS argument must be the number of bits for the output "
         "password, a positive number up to 4096"),
        ("GENPASS x", "ERR value is not an integer or out of range"),
        ("SAVE", NO_FILE),
        ("LOAD", NO_FILE),
        ("LOG x", "ERR value is not an integer or out of range"),
        ("LOG -1", []),
        ("LOG RESET", "OK"),
        ("DRYRUN nobody ping", "ERR User 'nobody' not found"),
        ("DRYRUN default foo", "ERR Command 'foo' not found"),
        ("DRYRUN default role x", "ERR wrong number of arguments for 'role' command"),
        ("DRYRUN default client kill x", "OK"),
    ],
)  # fmt: skip
async def test_replies(words, reply):
    """What can be asked, and what is wrong with what cannot."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask("ACL", *words.split(" ")) == reply


async def test_a_category_lists_commands_with_their_full_names():
    """Subcommands are commands of their own there."""
    async with serving() as running, await running.connect() as client:
        pubsub = {"subscribe", "unsubscribe", "psubscribe", "punsubscribe", "publish"}
        assert set(await client.ask("ACL", "CAT", "pubsub")) == pubsub
        assert {"client|id", "ping"} < set(await client.ask("ACL", "CAT", "Connection"))


@pytest.mark.parametrize(
    ("bits", "length"), [((), 64), (("1",), 1), (("5",), 2), (("4096",), 1024)]
)
async def test_passwords_are_made(bits, length):
    """As many hex digits as the bits need, and other ones each time."""
    async with serving() as running, await running.connect() as client:
        made = await client.ask("ACL", "GENPASS", *bits)
        assert re.fullmatch(f"[0-9a-f]{{{length}}}", made)
        assert length < 10 or made != await client.ask("ACL", "GENPASS", *bits)


async def test_a_user_is_shown_with_its_selectors():
    """GETUSER is a map of six, flags are a set, selectors maps of three."""
    async with serving() as running, await running.connect() as client:
        await client.ask("ACL", "SETUSER", "u", "on", ">pw", "~k", "%R~r", "(+ping", "&x)")
        shown = pairs(await client.ask("ACL", "GETUSER", "u"))
        assert list(shown) == ["flags", "passwords", "commands", "keys", "channels", "selectors"]
        assert shown["flags"] == ["on", "sanitize-payload"]
        assert shown["passwords"] == [HASH]
        assert (shown["commands"], shown["keys"], shown["channels"]) == ("-@all", "~k %R~r", "")
        assert [pairs(it) for it in shown["selectors"]] == [
            {"commands": "-@all +ping", "keys": "", "channels": "&x"}
        ]
        await client.ask("HELLO", "3")
        raw = await client.ask_raw("ACL", "GETUSER", "u")
        assert raw.startswith(b"%6\r\n$5\r\nflags\r\n~2\r\n")


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("AUTH x", "ERR AUTH <password> called without any password configured for the default "
         "user. Are you sure your configuration is correct?"),
        ("AUTH default x", "OK"),
        ("AUTH u pw", "OK"),
        ("AUTH u wrong", "WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH nobody pw", "WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH disabled pw", "WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH a b c", "ERR syntax error"),
        ("HELLO 2 AUTH u wrong", "WRONGPASS invalid username-password pair or user is disabled."),
    ],
)  # fmt: skip
async def test_logging_in(words, reply):
    """Who may come in, and what the others are told."""
    users = [["u", "on", ">pw"], ["disabled", "off", ">pw"]]
    async with serving(acl={"user_lines": users}) as running, await running.connect() as client:
        assert await client.ask(*words.split()) == reply


async def test_a_password_for_default_shuts_strangers_out():
    """Connections of before stay; new ones have to log in, by AUTH or HELLO."""
    async with serving() as running, await running.connect() as early:
        await early.ask("ACL", "SETUSER", "default", ">pw")
        assert await early.ask("PING") == "PONG"
        async with await running.connect() as late:
            assert await late.ask("PING") == "NOAUTH Authentication required."
            assert (await late.ask("HELLO", "3")).startswith("NOAUTH HELLO must be called with the")
            assert await late.ask("AUTH", "pw") == "OK"
            assert await late.ask("PING") == "PONG"
        async with await running.connect() as late:
            assert (await late.ask("HELLO", "3", "AUTH", "default", "pw"))["proto"] == 3
            await early.ask("ACL", "SETUSER", "default", "nopass")
        async with await running.connect() as later:
            assert await later.ask("PING") == "PONG"


async def test_strangers_get_little_room_until_they_are_known():
    """The tight limits end with the AUTH, in the same chunk already."""
    async with serving(acl={"requirepass": "pw"}) as running:
        eleven = b"*11\r\n" + b"$4\r\nPING\r\n" * 11
        async with await running.connect() as client:
            client.send(b"AUTH pw\r\n" + eleven)
            assert await client.raw() == b"+OK\r\n"
            assert (await client.raw()).startswith(b"-ERR wrong number")
        async with await running.connect() as client:
            client.send(eleven)
            assert await client.rest() == (
                b"-ERR Protocol error: unauthenticated multibulk length\r\n"
            )


async def test_what_a_user_may_not_do():
    """Commands and channels are refused in the words of 7.2; a change holds at once."""
    users = [["u", "on", "nopass", "+@all", "-role", "resetchannels", "&a*"]]
    async with (
        serving(acl={"user_lines": users}) as running,
        await running.connect() as client,
        await running.connect() as admin,
    ):
        await client.ask("AUTH", "u", "")
        assert await client.ask("ACL", "WHOAMI") == "u"
        assert await client.ask("ROLE") == (
            "NOPERM User u has no permissions to run the 'role' command"
        )
        no_channel = "NOPERM No permissions to access a channel"
        assert await client.ask("SUBSCRIBE", "ab", "b") == no_channel
        assert await client.ask("PSUBSCRIBE", "ab") == no_channel
        assert await client.ask("PUBLISH", "b", "x") == no_channel
        await admin.ask("ACL", "SETUSER", "u", "+role", "-client|id")
        assert await client.ask("ROLE") == ["sentinel", ["mymaster"]]
        assert (await client.ask("CLIENT", "ID")).startswith("NOPERM User u has")
        assert isinstance(await client.ask("CLIENT", "INFO"), str)


async def test_a_dry_run_tells_what_would_be_refused():
    """The reason is a text, not an error."""
    async with serving() as running, await running.connect() as client:
        await client.ask("ACL", "SETUSER", "u", "+subscribe", "&a")
        no = "User u has no permissions to"
        run = ("ACL", "DRYRUN", "u")
        assert await client.ask_raw(*run, "SUBSCRIBE", "a") == b"+OK\r\n"
        assert await client.ask(*run, "SUBSCRIBE", "a", "b") == f"{no} access the 'b' channel"
        assert await client.ask(*run, "CLIENT", "ID") == f"{no} run the 'client|id' command"


async def test_a_deleted_user_is_disconnected():
    """With all its connections; who deletes itself gets the reply."""
    async with (
        serving(acl={"user_lines": [["u", "on", "nopass", "+@all"]]}) as running,
        await running.connect() as one,
        await running.connect() as two,
    ):
        await one.ask("AUTH", "u", "")
        await two.ask("AUTH", "u", "")
        one.request("ACL", "DELUSER", "u", "nobody")
        assert await one.rest() == b":1\r\n"
        assert await two.is_closed()


async def test_a_disabled_user_stays_connected():
    """It cannot log in again; CLIENT KILL USER puts it out."""
    async with serving() as running:
        async with await running.connect() as admin, await running.connect() as client:
            await admin.ask("ACL", "SETUSER", "admin", "on", "nopass", "+@all")
            await admin.ask("AUTH", "admin", "")
            await admin.ask("ACL", "SETUSER", "default", "off")
            assert await client.ask("PING") == "PONG"
            assert await admin.ask("CLIENT", "KILL", "USER", "default", "SKIPME", "no") == 1
            assert await client.is_closed()
        async with await running.connect() as client:
            assert await client.ask("PING") == "NOAUTH Authentication required."


async def test_a_subscriber_that_lost_its_channel_is_disconnected():
    """Others of the user stay, and so does who may keep what it has."""
    async with (
        serving(acl={"user_lines": [["u", "on", "nopass", "+@all", "&*"]]}) as running,
        await running.connect() as loser,
        await running.connect() as keeper,
        await running.connect() as quiet,
        await running.connect() as admin,
    ):
        for client in (loser, keeper, quiet):
            await client.ask("AUTH", "u", "")
        await loser.ask("SUBSCRIBE", "b")
        await keeper.ask("SUBSCRIBE", "a")
        assert await admin.ask("ACL", "SETUSER", "u", "resetchannels", "&a") == "OK"
        assert await loser.is_closed()
        running.server.publish("a", "x")
        assert value_of(await keeper.raw()) == ["message", "a", "x"]
        assert await quiet.ask("PING") == "PONG"


async def test_refusals_are_logged():
    """With reason, object, user and the client's line; ids go up; the newest is first."""
    users = [["u", "on", "nopass", "+@all", "-client|id", "resetchannels"]]
    async with serving(acl={"user_lines": users}) as running, await running.connect() as client:
        await client.ask("AUTH", "nobody", "x")
        await client.ask("AUTH", "u", "")
        await client.ask("CLIENT", "ID")
        await client.ask("CLIENT", "ID")
        await client.ask("SUBSCRIBE", "c")
        entries = [pairs(it) for it in await client.ask("ACL", "LOG")]
        told = [
            [it[k] for k in ("reason", "object", "username", "count", "entry-id")] for it in entries
        ]
        assert told == [
            ["channel", "c", "u", 1, 2],
            ["command", "client|id", "u", 2, 1],
            ["auth", "AUTH", "nobody", 1, 0],
        ]
        assert entries[0]["context"] == "toplevel"
        assert 0 <= float(entries[0]["age-seconds"]) < 60
        assert re.match(
            r"id=\d+ addr=127\.0\.0\.1:\d+ .*cmd=subscribe user=u ", entries[0]["client-info"]
        )
        assert entries[1]["timestamp-created"] <= entries[1]["timestamp-last-updated"]
        assert len(await client.ask("ACL", "LOG", "1")) == 1
        info = await client.ask("INFO", "stats")
        for what in ("auth:1", "cmd:2", "channel:1"):
            assert f"acl_access_denied_{what}\r\n" in info
        assert await client.ask("ACL", "LOG", "reset") == "OK"
        assert await client.ask("ACL", "LOG") == []


async def test_the_acl_file_is_saved_and_loaded():
    """Users that the file no longer has are disconnected; a failure is told without details."""
    content = {"text": "user default on nopass +@all\nuser u on nopass +@all\n"}

    def write(text):
        if content.get("full"):
            raise OSError(28, "No space left on device")
        content["text"] = text

    store = AclStore("/x/users.acl", lambda: content["text"], write)
    async with (
        serving(acl={"store": store}) as running,
        await running.connect() as client,
        await running.connect() as admin,
    ):
        await client.ask("AUTH", "u", "")
        assert await admin.ask("ACL", "SAVE") == "OK"
        assert content["text"].splitlines() == await admin.ask("ACL", "LIST")
        content["text"] = "user default on nopass +@all\nuser v what\n"
        assert await admin.ask("ACL", "LOAD") == (
            "ERR /x/users.acl:2: Syntax error. WARNING: ACL errors detected, "
            "no change to the previously active ACL rules was performed"
        )
        assert await client.ask("PING") == "PONG"
        content["text"] = "user default on nopass +@all\n"
        assert await admin.ask("ACL", "LOAD") == "OK"
        assert await client.is_closed()
        await eventually(lambda: len(running.server.clients) == 1)
        content["full"] = True
        assert await admin.ask("ACL", "SAVE") == (
            "ERR There was an error trying to save the ACLs. Please check the server logs for "
            "more information"
        )


async def test_help_names_every_subcommand():
    """Nothing that exists is kept secret."""
    async with serving() as running, await running.connect() as client:
        lines = await client.ask("ACL", "HELP")
        topics = {line.split()[0] for line in lines[1:] if not line.startswith(" ")}
        subcommands = running.server.table.by_word[b"acl"].subcommands
        assert topics == {word.decode().upper() for word in subcommands}
