"""Subscriptions and events, over real connections."""

from serving import serving, value_of

from sentinel_py.server import pubsub


async def values(client, count):
    return [value_of(await client.raw()) for _ in range(count)]


async def test_confirmations_count_channels_and_patterns():
    """One reply per name; a name that is there already is confirmed, and not counted again."""
    async with serving() as running, await running.connect() as client:
        client.send(b"SUBSCRIBE a b a\r\nPSUBSCRIBE x*\r\nUNSUBSCRIBE q b\r\n")
        assert await values(client, 6) == [
            ["subscribe", "a", 1],
            ["subscribe", "b", 2],
            ["subscribe", "a", 2],
            ["psubscribe", "x*", 3],
            ["unsubscribe", "q", 3],
            ["unsubscribe", "b", 2],
        ]
        client.send(b"UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nPING\r\n")
        assert await values(client, 5) == [
            ["unsubscribe", "a", 1],
            ["punsubscribe", "x*", 0],
            ["unsubscribe", None, 0],
            ["punsubscribe", None, 0],
            "PONG",
        ]


async def test_a_message_comes_once_per_subscription():
    """To the channel first, then to each pattern that matches."""
    async with serving() as running, await running.connect() as client:
        client.send(b"PSUBSCRIBE +s* *\r\nSUBSCRIBE +sdown\r\n")
        await values(client, 3)
        assert running.server.publish("+sdown", "master m") == 3
        assert running.server.publish("-sdown", "master m") == 1
        assert await values(client, 4) == [
            ["message", "+sdown", "master m"],
            ["pmessage", "+s*", "+sdown", "master m"],
            ["pmessage", "*", "+sdown", "master m"],
            ["pmessage", "*", "-sdown", "master m"],
        ]


async def test_each_subscriber_gets_its_protocol():
    """Push messages in RESP3, arrays in RESP2."""
    async with (
        serving() as running,
        await running.connect() as old,
        await running.connect() as new,
    ):
        await new.ask("HELLO", "3")
        assert await old.ask_raw("SUBSCRIBE", "a") == b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        assert await new.ask_raw("SUBSCRIBE", "a") == b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        assert running.server.publish("a", "x") == 2
        assert await old.raw() == b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"
        assert await new.raw() == b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"


async def test_a_resp2_subscriber_is_held_to_a_few_commands():
    """Until it has left its last channel; what does not exist is still unknown."""
    async with serving() as running, await running.connect() as client:
        await client.ask("SUBSCRIBE", "a")
        assert await client.ask("PING") == ["pong", ""]
        assert await client.ask("PING", "x") == ["pong", "x"]
        assert await client.ask("CLIENT", "ID") == (
            "ERR Can't execute 'client|id': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
            "RESET are allowed in this context"
        )
        assert (await client.ask("GET", "a")).startswith("ERR unknown command 'GET'")
        await client.ask("UNSUBSCRIBE")
        assert await client.ask("PING") == "PONG"
        assert isinstance(await client.ask("CLIENT", "ID"), int)


async def test_a_resp3_subscriber_may_do_everything():
    """Messages cannot be taken for replies there."""
    async with serving() as running, await running.connect() as client:
        await client.ask("HELLO", "3")
        await client.ask_raw("SUBSCRIBE", "a")
        assert await client.ask("PING") == "PONG"
        assert await client.ask("PUBLISH", "__sentinel__:hello", "x") == 1


async def test_clients_publish_hello_messages_only():
    """They are delivered to the node, any payload, and to no subscriber."""
    async with (
        serving() as running,
        await running.connect() as client,
        await running.connect() as subscriber,
    ):
        await subscriber.ask("SUBSCRIBE", "__sentinel__:hello")
        assert await client.ask("PUBLISH", "__sentinel__:hello", b"junk\xff") == 1
        assert running.node.hellos == ["junk\udcff"]
        assert await client.ask("PUBLISH", "a", "x") == (
            "ERR Only HELLO messages are accepted by Sentinel instances."
        )
        assert await subscriber.ask("PING") == ["pong", ""]


async def test_an_event_stands_behind_the_reply_to_what_caused_it():
    """And ahead of the replies to what follows in the pipeline."""
    async with serving() as running, await running.connect() as client:
        await client.ask("HELLO", "3")
        await client.ask_raw("SUBSCRIBE", "hello")
        running.node.receive_hello = lambda payload: running.server.publish("hello", payload)
        client.send(b"PING\r\nPUBLISH __sentinel__:hello x\r\nPING\r\n")
        assert [(await client.raw())[:5] for _ in range(4)] == [
            b"+PONG",
            b":1\r\n",
            b">3\r\n$",
            b"+PONG",
        ]


async def test_subscriptions_are_limited(monkeypatch):
    """Names that nobody needs do not fill the memory."""
    monkeypatch.setattr(pubsub, "MAX_SUBSCRIPTIONS_PER_CLIENT", 2)
    async with serving() as running, await running.connect() as client:
        client.send(b"SUBSCRIBE a b c\r\nPSUBSCRIBE d\r\nSUBSCRIBE a\r\nPING\r\n")
        assert await values(client, 6) == [
            ["subscribe", "a", 1],
            ["subscribe", "b", 2],
            "ERR too many subscriptions",
            "ERR too many subscriptions",
            ["subscribe", "a", 2],
            ["pong", ""],
        ]
