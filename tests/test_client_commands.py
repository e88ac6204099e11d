"""CLIENT, over real connections."""

import re

import pytest
from serving import eventually, pairs, serving, value_of

FIELDS = (
    "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem "
    "multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver"
)


def fields(line):
    return dict(field.split("=", 1) for field in line.rstrip("\n").split(" "))


async def test_the_line_of_a_client():
    """Field names and their order are those of redis-sentinel 7.2; cmd is the full name."""
    async with serving() as running, await running.connect() as client:
        await client.ask("CLIENT", "SETNAME", "me")
        await client.ask("CLIENT", "SETINFO", "LIB-NAME", "redis-py")
        await client.ask("CLIENT", "SETINFO", "lib-ver", "5.0")
        line = await client.ask("CLIENT", "INFO")
        found = fields(line)
        assert line.endswith("\n")
        assert " ".join(found) == FIELDS
        assert found["addr"].startswith("127.0.0.1:")
        assert found["laddr"] == f"127.0.0.1:{running.port}"
        assert (
            found
            | {
                "name": "me",
                "flags": "N",
                "multi": "-1",
                "cmd": "client|info",
                "user": "default",
                "redir": "-1",
                "resp": "2",
                "lib-name": "redis-py",
                "lib-ver": "5.0",
            }
            == found
        )


async def test_the_line_is_verbatim_text_in_resp3():
    """RESP2 has a bulk string instead."""
    async with serving() as running, await running.connect() as client:
        assert (await client.ask_raw("CLIENT", "LIST"))[:1] == b"$"
        await client.ask("HELLO", "3")
        assert re.match(rb"=\d+\r\ntxt:id=", await client.ask_raw("CLIENT", "INFO"))


async def test_a_connection_that_said_nothing_has_no_command():
    """Its cmd is NULL, as nothing was looked up for it yet."""
    async with serving() as running, await running.connect() as client, await running.connect():
        await eventually(lambda: len(running.server.clients) == 2)
        lines = (await client.ask("CLIENT", "LIST")).splitlines()
    assert [fields(line)["cmd"] for line in lines] == ["client|list", "NULL"]


async def test_lists_by_type_and_id():
    """Only clients that are asked for; unknown ids are left out."""
    async with (
        serving() as running,
        await running.connect() as one,
        await running.connect() as two,
    ):
        await two.ask_raw("SUBSCRIBE", "a")
        first = str(await one.ask("CLIENT", "ID"))

        async def ids(*words):
            lines = (await one.ask("CLIENT", "LIST", *words)).splitlines()
            return [fields(line)["id"] for line in lines]

        assert await ids("TYPE", "NORMAL") == [first]
        assert len(await ids("type", "pubsub")) == 1
        assert await ids("TYPE", "master") == await ids("TYPE", "replica") == []
        assert await ids("TYPE", "slave") == []
        assert await ids("ID", first, "99999", first) == [first, first]


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("LIST FOO", "ERR syntax error"),
        ("LIST TYPE", "ERR syntax error"),
        ("LIST TYPE normal x", "ERR syntax error"),
        ("LIST TYPE foo", "ERR Unknown client type 'foo'"),
        ("LIST ID", "ERR syntax error"),
        ("LIST ID 1 x", "ERR Invalid client ID"),
        ("GETNAME", None),
        ("SETNAME a\x7f", "ERR Client names cannot contain spaces, newlines or special "
         "characters."),
        ("SETINFO lib-foo x", "ERR Unrecognized option 'lib-foo'"),
        (
            "SETINFO LIB-name a\x01",
            "ERR LIB-name cannot contain spaces, newlines or special characters.",
        ),
        ("NO-EVICT on", "OK"),
        ("NO-EVICT x", "ERR syntax error"),
        ("NO-TOUCH on", "ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP."),
        ("PAUSE 100", "OK"),
        ("PAUSE 100 write", "OK"),
        ("PAUSE x", "ERR timeout is not an integer or out of range"),
        ("PAUSE -1", "ERR timeout is negative"),
        ("PAUSE 1 foo", "ERR CLIENT PAUSE mode must be WRITE or ALL"),
        (
            "PAUSE 1 all x",
            "ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.",
        ),
        ("UNPAUSE", "OK"),
        ("UNBLOCK 1", 0),
        ("UNBLOCK 1 ERROR", 0),
        ("UNBLOCK 1 foo", "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ("UNBLOCK x", "ERR value is not an integer or out of range"),
        ("REPLY foo", "ERR syntax error"),
        ("KILL 1.2.3.4:5", "ERR No such client"),
        ("KILL ID 0", "ERR client-id should be greater than 0"),
        ("KILL ID abc", "ERR client-id should be greater than 0"),
        ("KILL ID 99999", 0),
        ("KILL FOO BAR", "ERR syntax error"),
        ("KILL ID 1 TYPE", "ERR syntax error"),
        ("KILL ID x TYPE", "ERR client-id should be greater than 0"),
        ("KILL TYPE foo", "ERR Unknown client type 'foo'"),
        ("KILL TYPE replica", 0),
        ("KILL USER nobody", "ERR No such user 'nobody'"),
        ("KILL SKIPME x", "ERR syntax error"),
        ("KILL MAXAGE x", "ERR maxage is not an integer or out of range"),
        ("KILL MAXAGE 0", "ERR maxage should be greater than 0"),
        ("KILL MAXAGE 1000", 0),
        ("KILL SKIPME yes", 0),
        ("GETREDIR", -1),
        ("CACHING yes", "ERR CLIENT CACHING can be called only when the client is in tracking mode "
         "with OPTIN or OPTOUT mode enabled"),
        ("TRACKING on PREFIX a", "ERR PREFIX option requires BCAST mode to be enabled"),
        ("TRACKING on REDIRECT 99", "ERR The client ID you want redirect to does not exist"),
        ("TRACKING on REDIRECT x", "ERR value is not an integer or out of range"),
        ("TRACKING on BCAST OPTIN", "ERR OPTIN and OPTOUT are not compatible with BCAST"),
        ("TRACKING on OPTIN OPTOUT", "ERR You can't specify both OPTIN mode and OPTOUT mode"),
        ("TRACKING on FOO", "ERR syntax error"),
        ("TRACKING foo", "ERR syntax error"),
        ("TRACKING on PREFIX", "ERR syntax error"),
    ],
)  # fmt: skip
async def test_replies_of_a_fresh_connection(words, reply):
    """What can be asked, and what is wrong with what cannot."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask("CLIENT", *words.split(" ")) == reply


async def test_a_name_is_removed_by_an_empty_one():
    """Without a name GETNAME is null, in the words of each protocol."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask("CLIENT", "SETNAME", "me") == "OK"
        assert await client.ask("CLIENT", "GETNAME") == "me"
        assert await client.ask("CLIENT", "SETNAME", "") == "OK"
        assert await client.ask_raw("CLIENT", "GETNAME") == b"$-1\r\n"
        await client.ask("HELLO", "3")
        assert await client.ask_raw("CLIENT", "GETNAME") == b"_\r\n"


@pytest.mark.parametrize(
    "choose",
    [
        lambda it: [it["addr"]],
        lambda it: ["ID", it["id"]],
        lambda it: ["ADDR", it["addr"]],
        lambda it: ["LADDR", it["laddr"], "ID", it["id"]],
        lambda it: ["TYPE", "normal"],
        lambda it: ["USER", "default", "TYPE", "NORMAL"],
        lambda it: ["SKIPME", "yes"],
    ],
)
async def test_kill_closes_those_who_are_chosen(choose):
    """Others stay, and the caller with them unless it asked otherwise."""
    async with (
        serving() as running,
        await running.connect() as caller,
        await running.connect() as victim,
    ):
        chosen = fields(await victim.ask("CLIENT", "INFO"))
        reply = await caller.ask("CLIENT", "KILL", *choose(chosen))
        assert reply == ("OK" if len(choose(chosen)) == 1 else 1)
        assert await victim.is_closed()
        assert await caller.ask("PING") == "PONG"


async def test_a_later_filter_of_a_kind_replaces_the_earlier():
    """As options are read one after the other."""
    async with (
        serving() as running,
        await running.connect() as caller,
        await running.connect() as victim,
    ):
        number = str(await victim.ask("CLIENT", "ID"))
        assert await caller.ask("CLIENT", "KILL", "ID", "99999", "ID", number) == 1
        assert await victim.is_closed()


async def test_who_kills_itself_gets_the_reply():
    """The connection is closed behind it, and nothing more is carried out."""
    async with serving() as running, await running.connect() as client:
        client.send(b"PING 1\r\nCLIENT KILL TYPE normal SKIPME no\r\nPING 2\r\n")
        assert await client.rest() == b"$1\r\n1\r\n:1\r\n"


@pytest.mark.parametrize(
    ("requests", "replies"),
    [
        ("CLIENT REPLY ON|PING", "+OK +PONG"),
        ("CLIENT REPLY OFF|PING|FOO|CLIENT REPLY ON|PING", "+OK +PONG"),
        ("CLIENT REPLY SKIP|PING|PING 1", "$1 1"),
        ("CLIENT REPLY SKIP|FOO|PING 1", "$1 1"),
        ("CLIENT REPLY SKIP|CLIENT REPLY SKIP|PING|PING 1", "$1 1"),
        ("CLIENT REPLY SKIP|CLIENT REPLY ON|PING 1", "+OK $1 1"),
        ("CLIENT REPLY OFF|CLIENT REPLY SKIP|PING|PING|CLIENT REPLY ON", "+OK"),
    ],
)
async def test_replies_can_be_switched_off(requests, replies):
    """SKIP leaves out the next reply, OFF all, ON is answered itself."""
    async with serving() as running, await running.connect() as client:
        client.send("".join(f"{line}\r\n" for line in requests.split("|")).encode())
        client.request("CLIENT", "KILL", "SKIPME", "no", "TYPE", "normal")
        assert await client.rest() == f"{replies} :1 ".replace(" ", "\r\n").encode()


async def test_events_come_through_where_replies_are_off():
    """They are no replies."""
    async with serving() as running, await running.connect() as client:
        client.send(b"CLIENT REPLY OFF\r\nSUBSCRIBE a\r\nPING\r\n")
        assert value_of(await client.raw()) == ["subscribe", "a", 1]
        running.server.publish("a", "x")
        assert value_of(await client.raw()) == ["message", "a", "x"]


async def test_tracking_is_remembered_without_effect():
    """TRACKINGINFO and the line show what was switched on; options keep their rules."""
    async with serving() as running, await running.connect() as client:

        async def told():
            return pairs(await client.ask("CLIENT", "TRACKINGINFO"))

        off = {"flags": ["off"], "redirect": -1, "prefixes": []}
        assert await told() == off
        assert await client.ask("CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP") == "OK"
        assert await client.ask("CLIENT", "CACHING", "yes") == "OK"
        assert (await told())["flags"] == ["on", "optin", "caching-yes", "noloop"]
        assert await client.ask("CLIENT", "CACHING", "no") == (
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."
        )
        assert "switch OPTIN/OPTOUT" in await client.ask("CLIENT", "TRACKING", "on", "OPTOUT")
        assert "switch BCAST" in await client.ask("CLIENT", "TRACKING", "on", "BCAST")
        assert " flags=t " in await client.ask("CLIENT", "INFO")
        assert await client.ask("CLIENT", "TRACKING", "off") == "OK"
        assert await told() == off


async def test_tracking_prefixes_do_not_overlap():
    """Neither among themselves nor with those of before; their number is limited."""
    async with serving() as running, await running.connect() as client:
        on = ("CLIENT", "TRACKING", "on", "BCAST")
        assert "another provided prefix 'ab'" in await client.ask(
            *on, "PREFIX", "a", "PREFIX", "ab"
        )
        assert await client.ask(*on, "PREFIX", "foo", "PREFIX", "bar") == "OK"
        assert "existing prefix 'foo'" in await client.ask(*on, "PREFIX", "foobar")
        many = [word for i in range(200) for word in ("PREFIX", f"{i:03}")]
        assert await client.ask(*on, *many) == "ERR too many prefixes"
        assert pairs(await client.ask("CLIENT", "TRACKINGINFO"))["prefixes"] == ["bar", "foo"]
        assert " redir=0 " in await client.ask("CLIENT", "INFO")


async def test_help_names_every_subcommand():
    """The text has the shape of all HELP texts, in simple strings."""
    async with serving() as running, await running.connect() as client:
        raw = await client.ask_raw("CLIENT", "help")
        lines = value_of(raw)
        assert raw.count(b"\r\n+") == len(lines)
        assert lines[0] == ("CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
        assert lines[-2:] == ["HELP", "    Print this help."]
        topics = {line.split()[0] for line in lines[1:] if not line.startswith(" ")}
        subcommands = running.server.table.by_word[b"client"].subcommands
        assert topics == {word.decode().upper() for word in subcommands}
