"""The server over real sockets: listening, admission, order of replies, limits, ending."""

import asyncio
import os
import socket
import ssl
import stat
import struct
import subprocess

import pytest
import uvloop
from serving import Client, eventually, free_port, pairs, serving

from sentinel_py.resp import encode_command
from sentinel_py.server import server as server_module
from sentinel_py.server.listeners import ListenError
from sentinel_py.server.options import OutputLimit
from sentinel_py.server.session import OUTPUT_HIGH_MARK_BYTES

PONG = b"+PONG\r\n"


# Requests and replies


async def test_replies_have_the_order_of_requests():
    """Inline requests and arrays may be mixed in one pipeline."""
    async with serving() as running, await running.connect() as client:
        client.send(b"PING 1\r\n" + encode_command(["PING", "2"]) + b'"pi\\x6eg" "3 4"\r\n')
        assert [await client.raw() for _ in range(3)] == [
            b"$1\r\n1\r\n",
            b"$1\r\n2\r\n",
            b"$3\r\n3 4\r\n",
        ]


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (["FOO"], "ERR unknown command 'FOO', with args beginning with: "),
        (
            ["foo", "a\r\nb", "c"],
            "ERR unknown command 'foo', with args beginning with: 'a  b' 'c' ",
        ),
        (["x" * 200], f"ERR unknown command '{'x' * 128}', with args beginning with: "),
        (
            ["x", "a" * 120, "b" * 120, "c"],
            f"ERR unknown command 'x', with args beginning with: '{'a' * 120}' 'bbbbb' ",
        ),
        (["QUIT"], "ERR unknown command 'QUIT', with args beginning with: "),
        (["CLIENT", "foo"], "ERR unknown subcommand 'foo'. Try CLIENT HELP."),
        (["client", "f" * 200], f"ERR unknown subcommand '{'f' * 128}'. Try CLIENT HELP."),
        (["ROLE", "x"], "ERR wrong number of arguments for 'role' command"),
        (["PING", "a", "b"], "ERR wrong number of arguments for 'ping' command"),
        (["CLIENT"], "ERR wrong number of arguments for 'client' command"),
        (["CLIENT", "ID", "x"], "ERR wrong number of arguments for 'client|id' command"),
        (["Sentinel"], "ERR wrong number of arguments for 'sentinel' command"),
    ],
)
async def test_what_cannot_be_dispatched(words, reply):
    """The error texts are those of redis-sentinel, to the byte."""
    async with serving() as running, await running.connect() as client:
        assert await client.ask(*words) == reply


async def test_existence_and_arity_are_checked_before_authentication():
    """A stranger learns which commands there are, and nothing else."""
    async with serving(acl={"requirepass": "x"}) as running, await running.connect() as client:
        assert await client.ask("CLIENT", "ID") == "NOAUTH Authentication required."
        assert await client.ask("PING") == "NOAUTH Authentication required."
        assert (await client.ask("FOO")).startswith("ERR unknown command")
        assert (await client.ask("CLIENT", "FOO")).startswith("ERR unknown subcommand")
        assert (await client.ask("CLIENT", "ID", "1")).startswith("ERR wrong number")


async def test_after_a_protocol_error_nothing_more_is_done():
    """What stood before it is answered, then the error is sent and the connection closed."""
    async with serving() as running, await running.connect() as client:
        client.send(b"PING\r\n*1\r\n:1\r\nPING\r\nSHUTDOWN\r\n")
        assert await client.rest() == PONG + b"-ERR Protocol error: expected '$', got ':'\r\n"
        await eventually(lambda: not running.server.clients)
        assert not running.node.is_shut_down


@pytest.mark.parametrize("request_line", [b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_browser_is_cut_off(request_line):
    """No line that a page makes a browser send is carried out."""
    async with serving() as running, await running.connect() as client:
        client.send(request_line + b"SHUTDOWN\r\n")
        await client.is_closed()
        await eventually(lambda: not running.server.clients)
        assert not running.node.is_shut_down


async def test_attacks_are_logged_once_a_minute(caplog):
    """The log cannot be flooded with them."""
    async with serving() as running:
        for _ in range(3):
            async with await running.connect() as client:
                client.send(b"POST / HTTP/1.1\r\n")
                await client.is_closed()
    assert caplog.text.count("SECURITY ATTACK") == 1


async def test_a_request_that_grows_too_large_ends_the_connection(caplog):
    """client-query-buffer-limit closes without a word to the client."""
    async with (
        serving(client_query_buffer_limit=10_000) as running,
        await running.connect() as client,
    ):
        client.send(b"*2\r\n$100000\r\n" + b"x" * 20_000)
        assert await client.is_closed()
    assert "its request is too large" in caplog.text


# Answers that come later


async def test_a_later_answer_keeps_its_place():
    """What follows in the pipeline, in the same chunk or in later ones, waits for it."""
    async with serving() as running, await running.connect() as client:
        client.send(b"PING\r\nSENTINEL WAIT\r\nPING 1\r\nSENTINEL WAIT\r\nPING 2\r\n")
        assert await client.raw() == PONG
        client.send(b"PING 3\r\n")
        await eventually(lambda: len(running.answers) == 1)
        async with await running.connect() as other:
            assert await other.ask_raw("PING") == PONG
        running.answers[0].set_result(["now"])
        assert [await client.raw() for _ in range(2)] == [b"*1\r\n$3\r\nnow\r\n", b"$1\r\n1\r\n"]
        await eventually(lambda: len(running.answers) == 2)
        running.answers[1].set_result(7)
        assert [await client.raw() for _ in range(3)] == [b":7\r\n", b"$1\r\n2\r\n", b"$1\r\n3\r\n"]


async def test_votes_are_waited_for_together():
    """Votes of one chunk are all begun at once, and told in their order."""
    async with serving() as running, await running.connect() as client:
        client.send(b"SENTINEL VOTE\r\nPING\r\nSENTINEL VOTE\r\nSENTINEL WAIT\r\nPING 1\r\n")
        await eventually(lambda: len(running.answers) == 2)
        running.answers[1].set_result(2)
        async with await running.connect() as other:
            assert await other.ask_raw("PING") == PONG
        running.answers[0].set_result(1)
        assert [await client.raw() for _ in range(3)] == [b":1\r\n", PONG, b":2\r\n"]
        await eventually(lambda: len(running.answers) == 3)
        running.answers[2].set_result(3)
        assert [await client.raw() for _ in range(2)] == [b":3\r\n", b"$1\r\n1\r\n"]


async def test_nonsense_behind_votes():
    """What makes no sense is answered last, and ends the connection."""
    async with serving() as running, await running.connect() as client:
        client.send(b"SENTINEL VOTE\r\nSENTINEL VOTE\r\n*1\r\n+PING\r\n")
        await eventually(lambda: len(running.answers) == 2)
        running.answers[0].set_result(1)
        running.answers[1].set_result(2)
        assert [await client.raw() for _ in range(2)] == [b":1\r\n", b":2\r\n"]
        assert (await client.raw()).startswith(b"-ERR Protocol error")
        assert await client.is_closed()


@pytest.mark.parametrize(
    "arrive",
    [
        lambda answer: answer.set_result("late"),
        lambda answer: answer.set_exception(OSError("failed")),
        lambda answer: answer.cancel(),
    ],
)
async def test_a_client_that_left_drops_its_answer(arrive):
    """An answer, or a failure, for nobody does no harm."""
    async with serving() as running:
        async with await running.connect() as client:
            client.request("SENTINEL", "WAIT")
            await eventually(lambda: running.answers)
        # Reading is paused, so that only a write or a kill shows that the client has gone.
        for session in running.server.clients.values():
            session.kill()
        await eventually(lambda: not running.server.clients)
        arrive(running.answers[0])
        async with await running.connect() as client:
            assert await client.ask_raw("PING") == PONG


async def test_an_event_stands_behind_a_later_answer_too():
    """What a request causes is told behind its reply, whenever that comes."""
    async with serving() as running, await running.connect() as client:
        await client.ask("HELLO", "3")
        await client.ask_raw("SUBSCRIBE", "waiting")
        client.request("SENTINEL", "WAIT")
        await eventually(lambda: running.answers)
        running.answers[0].set_result(1)
        assert await client.raw() == b":1\r\n"
        assert (await client.raw()).startswith(b">3\r\n$7\r\nmessage\r\n$7\r\nwaiting\r\n")


async def test_an_answer_that_is_called_off_ends_the_connection():
    """There is nothing that could be said in its place."""
    async with serving() as running, await running.connect() as client:
        client.request("SENTINEL", "WAIT")
        await eventually(lambda: running.answers)
        running.answers[0].cancel()
        assert await client.is_closed()


# Limits


async def test_a_client_that_does_not_read_is_not_read_from():
    """A pipeline of requests with long replies is carried out as fast as the replies are taken."""
    async with serving() as running, await running.connect() as client:
        count = 20_000
        client.stop_reading()
        client.send(encode_command(["PING", "x" * 1000]) * count)
        (session,) = running.server.clients.values()
        await eventually(lambda: session.output_bytes > OUTPUT_HIGH_MARK_BYTES)
        done = running.server.stats.commands
        async with await running.connect() as other:
            assert await other.ask_raw("PING") == PONG
        assert session.output_bytes < 2 * OUTPUT_HIGH_MARK_BYTES
        assert done < count
        client.go_on_reading()
        for _ in range(count):
            assert len(await client.raw()) == 1009


async def test_short_requests_with_long_replies_do_not_fill_the_memory():
    """One chunk of requests is left off in the middle when its replies are not taken."""
    async with serving() as running, await running.connect() as client:
        count = 10_000
        client.stop_reading()
        client.send(b"COMMAND DOCS\r\n" * count)
        (session,) = running.server.clients.values()
        await eventually(lambda: session.output_bytes > OUTPUT_HIGH_MARK_BYTES)
        assert session.output_bytes < 2 * OUTPUT_HIGH_MARK_BYTES
        assert running.server.stats.commands < count / 2


async def test_a_slow_subscriber_is_cut_and_the_others_lose_nothing():
    """The hard limit of client-output-buffer-limit pubsub closes at once."""
    limit = OutputLimit(hard_bytes=200_000)
    async with (
        serving(pubsub_output_limit=limit) as running,
        await running.connect() as slow,
        await running.connect() as quick,
    ):
        await slow.ask_raw("SUBSCRIBE", "c")
        await quick.ask_raw("SUBSCRIBE", "c")
        slow.stop_reading()
        sent = 0
        while len(running.server.clients) == 2:
            assert sent < 100_000
            running.server.publish("c", f"{sent} " + "x" * 10_000)
            assert (await quick.raw()).startswith(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n")
            sent += 1
        assert await quick.ask_raw("PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"


async def test_the_soft_limit_closes_after_its_time(monkeypatch):
    """As long as the buffer stays above it; nothing has to be sent for that."""
    monkeypatch.setattr(server_module, "HOUSEKEEPING_S", 0.01)
    limit = OutputLimit(soft_bytes=10_000, soft_seconds=0)
    async with serving(pubsub_output_limit=limit) as running, await running.connect() as slow:
        await slow.ask_raw("SUBSCRIBE", "c")
        slow.stop_reading()
        running.server.publish("c", "x" * 10_000_000)
        assert running.server.clients
        await eventually(lambda: not running.server.clients)


async def test_idle_clients_are_closed_but_subscribers_are_not(monkeypatch):
    """The setting `timeout` is for clients that forgot their connection."""
    monkeypatch.setattr(server_module, "HOUSEKEEPING_S", 0.01)
    async with (
        serving(timeout_s=1) as running,
        await running.connect() as idle,
        await running.connect() as subscriber,
    ):
        await subscriber.ask_raw("SUBSCRIBE", "c")
        assert await idle.is_closed()
        assert len(running.server.clients) == 1


async def test_maxclients():
    """One too many is told so and closed; its place is free again when somebody leaves."""
    async with serving(maxclients=1) as running:
        async with await running.connect() as first:
            assert await first.ask_raw("PING") == PONG
            async with await running.connect() as second:
                assert await second.rest() == b"-ERR max number of clients reached\r\n"
        await eventually(lambda: not running.server.clients)
        async with await running.connect() as third:
            info = await third.ask("INFO", "stats")
            assert "rejected_connections:1\r\n" in info


# Listening and ending


async def test_a_port_in_use_is_told_in_one_line():
    """The line names the address and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as raised:
            async with serving(port=port):
                pass
    assert str(raised.value) == (
        f"Could not create server TCP listening socket 127.0.0.1:{port}: "
        "bind: Address already in use"
    )


async def test_an_optional_address_may_be_absent():
    """`-` in front of it says so; without it the start fails and nothing stays open."""
    port = free_port()
    async with (
        serving(bind=("127.0.0.1", "-192.0.2.1"), port=port) as running,
        await running.connect() as client,
    ):
        assert await client.ask_raw("PING") == PONG
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        async with serving(bind=("127.0.0.1", "192.0.2.1"), port=port):
            pass
    socket.create_server(("127.0.0.1", port)).close()


async def test_the_default_addresses_are_all_of_both_families():
    """`* -::*` listens on IPv4 and, where there is one, IPv6."""
    async with serving(bind=("*", "-::*")) as running, await running.connect() as client:
        assert await client.ask_raw("PING") == PONG


async def test_ipv6_addresses_are_bracketed():
    """CLIENT LIST shows `[::1]:port`."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    async with serving(bind=("::1",)) as running:
        reader, writer = await asyncio.open_connection("::1", running.port)
        async with Client(reader, writer) as client:
            assert "addr=[::1]:" in await client.ask("CLIENT", "INFO")


async def test_the_unix_socket(tmp_path):
    """It has its permissions, replaces a stale one, is shown with its path and goes at the end."""
    path = str(tmp_path / "s.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    async with serving(unixsocket=path, unixsocketperm=0o600):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        async with await Client.connect(path=path) as client:
            line = await client.ask("CLIENT", "INFO")
            assert f"addr={path}:0 laddr={path}:0 " in line
            assert "flags=U " in line
    assert not os.path.exists(path)


def certificate(tmp_path):
    """A certificate of our own for localhost, as file paths."""
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return cert, key


async def test_tls(tmp_path):
    """The TLS port speaks the same protocol; the plain port stays plain."""
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    tls_port = free_port()
    async with serving(ssl_context=context, tls_port=tls_port) as running:
        trusting = ssl.create_default_context(cafile=cert)
        encrypted = await Client.connect(port=tls_port, ssl=trusting, server_hostname="localhost")
        async with encrypted, await running.connect() as plain:
            assert await encrypted.ask_raw("PING") == PONG
            encrypted.send(encode_command(["PING", "x" * 1000]) * 3000)
            for _ in range(3000):
                assert len(await encrypted.raw()) == 1009
            assert await plain.ask_raw("PING") == PONG


async def test_a_mistake_over_tls_ends_like_any_other(tmp_path, caplog):
    """What the client sent behind it, and TLS had decrypted already, is dropped."""
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with serving(ssl_context=context, port=0, tls_port=free_port()) as running:
        client = await Client.connect(
            port=running.server.options.tls_port,
            ssl=ssl.create_default_context(cafile=cert),
            server_hostname="localhost",
        )
        async with client:
            client.send(b"*x\r\n")
            client.send(b"SHUTDOWN\r\n" * 1000)
            assert await client.rest() == b"-ERR Protocol error: invalid multibulk length\r\n"
            await eventually(lambda: not running.server.clients)
    assert not running.node.is_shut_down
    assert not caplog.records


async def test_closing_closes_everything():
    """Clients are cut, the port is free, and publishing reaches nobody."""
    async with serving() as running, await running.connect() as client:
        await client.ask_raw("SUBSCRIBE", "c")
        running.server.close()
        assert await client.is_closed()
        await eventually(lambda: not running.server.clients)
        assert running.server.publish("c", "x") == 0
        with pytest.raises(ConnectionRefusedError):
            await running.connect()


def test_clients_that_are_gone_at_once_do_no_harm(caplog):
    """They have no address any more when uvloop accepts them."""

    async def scenario():
        async with serving() as running:
            for _ in range(100):
                hasty = socket.create_connection(("127.0.0.1", running.port))
                hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                hasty.close()
            await eventually(lambda: running.server.stats.connections == 100)
            await eventually(lambda: not running.server.clients)

    uvloop.run(scenario())
    assert not caplog.records


async def test_nothing_is_left_of_clients_that_went():
    """Whoever leaves, in whatever state, is in no table any more."""
    async with serving() as running:
        async with await running.connect() as client:
            await client.ask_raw("SUBSCRIBE", "a")
            await client.ask_raw("PSUBSCRIBE", "b*")
        await eventually(lambda: not running.server.clients)
        assert not running.server.pubsub.channels
        assert not running.server.pubsub.patterns


def test_all_of_it_runs_on_uvloop():
    """The loop that is used in production: pipeline, later answer, events, a full buffer."""

    async def scenario():
        async with serving() as running, await running.connect() as client:
            await client.ask("HELLO", "3")
            await client.ask_raw("SUBSCRIBE", "+sdown")
            running.server.publish("+sdown", "master m 1 2")
            assert await client.raw() == (
                b">3\r\n$7\r\nmessage\r\n$6\r\n+sdown\r\n$12\r\nmaster m 1 2\r\n"
            )
            client.send(b"SENTINEL WAIT\r\n" + encode_command(["PING", "x" * 1000]) * 5000)
            await eventually(lambda: running.answers)
            running.answers[0].set_result(None)
            assert await client.raw() == b"_\r\n"
            for _ in range(5000):
                assert len(await client.raw()) == 1009
            fields = pairs((await client.ask("CLIENT", "INFO")).replace("=", " ").split(" "))
            assert fields["resp"] == "3"

    uvloop.run(scenario())
