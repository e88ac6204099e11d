"""Links over real sockets, on both event loops: to a redis-server, and to ends that misbehave."""

import asyncio
import os
import socket
import ssl
import struct
import subprocess

import pytest
import uvloop

from sentinel_py import links as links_module
from sentinel_py import resp
from sentinel_py.core.messages import (
    Ask,
    ChannelMessage,
    ErrorReply,
    LinkDown,
    LinkUp,
    Open,
    Reply,
    Request,
    Send,
)
from sentinel_py.core.model import LinkKind
from sentinel_py.links import LinkOptions, Links
from sentinel_py.local import HOST, Sandbox, as_async, eventually_async, wait_ready

PING = Request(("PING",), Ask.PING)
HELLO_CHANNEL = "__sentinel__:hello"
DEADLINE_MS = 5000


@pytest.fixture(scope="module")
def redis():
    with Sandbox() as sandbox:
        server = sandbox.redis()
        wait_ready([server])
        yield server


class FarEnd(asyncio.Protocol):
    """The other end of a link: records what comes, and says what the test wants."""

    def __init__(self, net):
        self.net = net
        self.chunks = []
        self.lost = False  # then True, or the error

    def connection_made(self, transport):
        self.transport = transport
        self.say = transport.write
        self.net.far_ends.append(self)

    def data_received(self, data):
        self.chunks.append(data)

    def connection_lost(self, exc):
        self.lost = exc or True


class Net:
    """Links, what they reported, and a server whose part the test plays."""

    def __init__(self, redis):
        self.redis = redis
        self.seen = []
        self.far_ends = []
        self._servers = []
        self.react = lambda _input: None
        self.links = Links(self._sink)

    async def __aenter__(self):
        await self.serve()
        return self

    async def __aexit__(self, *error):
        self.links.close_all()
        for server in self._servers:
            server.close()
        for far_end in self.far_ends:
            far_end.transport.abort()
        await self.holds(lambda: all(far_end.lost for far_end in self.far_ends))

    async def serve(self, context=None):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: FarEnd(self), HOST, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)

    def _sink(self, value):
        self.seen.append(value)
        self.react(value)

    def use(self, **options):
        self.links = Links(self._sink, LinkOptions(**options))

    def open(self, link=1, kind=LinkKind.COMMAND, ip=HOST, port=None):
        self.links.open(Open(link, kind, ip, self.port if port is None else port))

    def ask(self, *requests, link=1):
        self.links.send(Send(link, requests))
        self.links.flush()

    async def holds(self, condition):
        await eventually_async(as_async(condition), DEADLINE_MS, "such state")

    async def reported(self, count):
        """The first ``count`` inputs, as soon as they are there."""
        await self.holds(lambda: len(self.seen) >= count)
        return self.seen[:count]

    async def far_end(self, number=0):
        await self.holds(lambda: len(self.far_ends) > number)
        return self.far_ends[number]

    async def connected(self, **link):
        """Open a link to our own server; its far end."""
        number = len(self.far_ends)
        self.open(**link)
        await self.holds(lambda: any(isinstance(seen, LinkUp) for seen in self.seen))
        return await self.far_end(number)


def play(scenario, new_loop, redis=None):
    """Run the scenario on a loop of its own, and allow no stray exception."""
    strays = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, stray: strays.append(stray))
        async with Net(redis) as net:
            await scenario(net)

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
    finally:
        assert strays == []


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_both_loops(scenario):
    """Make a test that plays the scenario on each kind of loop."""

    @pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
    def test(new_loop, redis):
        play(scenario, new_loop, redis)

    test.__doc__ = scenario.__doc__
    return test


@on_both_loops
async def test_replies_find_their_requests(net):
    """Answers of every kind come back in order, each with what was asked."""
    requests = (
        PING,
        Request(("INFO", "server"), Ask.INFO),
        Request(("GET", "nothing")),
        Request(("NONSENSE",)),
        Request(("PUBLISH", HELLO_CHANNEL, "hé\udcff"), Ask.HELLO),
        Request(("MULTI",)),
        Request(("PING",)),
        Request(("CLIENT", "KILL", "TYPE", "pubsub")),
        Request(("EXEC",)),
    )
    net.open(port=net.redis.port)
    assert await net.reported(1) == [LinkUp(1, HOST)]
    net.ask(*requests)
    replies = (await net.reported(1 + len(requests)))[1:]
    assert [(reply.link, reply.request) for reply in replies] == [(1, r) for r in requests]
    values = [reply.value for reply in replies]
    assert values[0] == b"PONG"
    assert values[1].startswith(b"# Server")
    assert values[2] is None
    assert isinstance(values[3], ErrorReply)
    assert values[3].text.startswith("ERR unknown command")
    assert values[4:] == [0, b"OK", b"QUEUED", b"QUEUED", [b"PONG", 0]]


@on_both_loops
async def test_channel_messages(net):
    """A channel link delivers payloads, whatever bytes they are made of, and no replies."""
    payload = "hé\udcff\r\n*1\r\n"
    publish = Request(("PUBLISH", HELLO_CHANNEL, payload), Ask.HELLO)
    net.open(link=1, kind=LinkKind.CHANNEL, port=net.redis.port)
    net.open(link=2, port=net.redis.port)
    await net.reported(2)
    net.ask(Request(("CLIENT", "SETNAME", "x")), Request(("SUBSCRIBE", HELLO_CHANNEL)))
    net.ask(publish, link=2)
    # Publish again for as long as redis has not seen the subscription.
    net.react = lambda seen: seen == Reply(2, publish, 0) and net.ask(publish, link=2)
    await net.holds(lambda: ChannelMessage(1, payload) in net.seen)
    assert all(isinstance(seen, LinkUp | ChannelMessage) for seen in net.seen if seen.link == 1)


@on_both_loops
async def test_what_comes_again_means_the_same(net):
    """Chunks that repeat are known, but not in the midst of a reply, nor to another request."""
    pong, info = b"+PONG\r\n", Request(("INFO",), Ask.INFO)
    await net.connected()
    connection = net.links._connections[1]  # a socket would put chunks together as it likes
    net.ask(PING, PING, PING, info, PING)
    for chunk in (pong, pong, b"$7\r\n", pong, b"\r\n", pong, pong):
        connection.data_received(chunk)
    replies = [(PING, b"PONG"), (PING, b"PONG"), (PING, pong), (info, b"PONG"), (PING, b"PONG")]
    assert [(reply.request, reply.value) for reply in net.seen[1:]] == replies
    connection.data_received(pong)
    assert (await net.reported(7))[6].reason == "protocol error: a reply that nobody asked for"


@on_both_loops
async def test_hellos_that_come_again(net):
    """Each sentinel's hello is delivered each time, however many sentinels there are."""
    await net.connected(kind=LinkKind.CHANNEL)
    connection = net.links._connections[1]
    payloads = [f"sentinel {number % 12}" for number in range(40)]
    for payload in payloads:
        connection.data_received(
            resp.encode_command(["message", HELLO_CHANNEL, payload])  # the same on the wire
        )
    assert net.seen[1:] == [ChannelMessage(1, payload) for payload in payloads]
    assert len(connection._familiar) <= links_module.FAMILIAR_EVENTS


@on_both_loops
async def test_a_flood_of_hellos_is_cut(net):
    """What came at once is taken in up to a limit, and the link goes on."""
    await net.connected(kind=LinkKind.CHANNEL)
    connection = net.links._connections[1]
    hello = resp.encode_command(["message", HELLO_CHANNEL, "flood"])
    connection.data_received(hello * (links_module.BURST_MAX + 100))
    assert len(net.seen[1:]) == links_module.BURST_MAX
    connection.data_received(resp.encode_command(["message", HELLO_CHANNEL, "after"]))
    assert net.seen[-1] == ChannelMessage(1, "after")


@on_both_loops
async def test_a_refused_subscription_breaks_the_link(net):
    """A channel link that gets no messages is not up, though its connection would stay."""
    far_end = await net.connected(kind=LinkKind.CHANNEL)
    net.ask(Request(("CLIENT", "SETNAME", "x")), Request(("SUBSCRIBE", HELLO_CHANNEL)))
    far_end.say(b"-NOPERM not you\r\n")
    far_end.say(b"-NOAUTH Authentication required.\r\n")
    down = (await net.reported(2))[1]
    assert down == LinkDown(1, "no subscription: NOAUTH Authentication required.")
    await net.holds(lambda: far_end.lost)


@on_both_loops
async def test_one_write_per_flush(net):
    """What several effects send leaves together, and not before the flush."""
    far_end = await net.connected()
    net.links.send(Send(1, (PING,)))
    net.links.send(Send(1, (Request(("INFO",), Ask.INFO), PING)))
    await asyncio.sleep(0.05)
    assert far_end.chunks == []
    net.links.flush()
    net.links.flush()
    await net.holds(lambda: far_end.chunks)
    assert segments_received(far_end) == 1
    ping = b"*1\r\n$4\r\nPING\r\n"
    assert far_end.chunks == [ping + b"*1\r\n$4\r\nINFO\r\n" + ping]


def segments_received(far_end):
    """How many segments with data came: without Nagle's algorithm each write is one."""
    info = far_end.transport.get_extra_info("socket").getsockopt(
        socket.IPPROTO_TCP, socket.TCP_INFO, 256
    )
    return struct.unpack_from("I", info, 152)[0]  # tcpi_data_segs_in


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize(
    ("ip", "port", "reason"),
    [
        (HOST, 0, "Connection refused"),
        (HOST, 70000, None),
        ("", 6379, "'' is not an IP address"),
        ("localhost", 6379, "'localhost' is not an IP address"),
        ("::1", 0, None),
    ],
)
def test_what_cannot_be_opened(ip, port, reason, new_loop):
    """Each address that leads nowhere ends in LinkDown, and never while it is being opened."""

    async def scenario(net):
        net.open(ip=ip, port=port)
        assert net.seen == []
        (down,) = await net.reported(1)
        assert isinstance(down, LinkDown)
        assert reason in (None, down.reason)

    play(scenario, new_loop)


@on_both_loops
async def test_close_while_connecting(net):
    """An attempt that is closed reports nothing, and leaves no connection behind."""
    net.open()
    net.links.close(1)
    net.open(link=2)
    await asyncio.sleep(0)
    net.links.close(2)
    net.open(link=3)
    assert await net.reported(1) == [LinkUp(3, HOST)]
    net.ask(PING, link=3)
    await net.holds(lambda: any(far_end.chunks for far_end in net.far_ends))
    await net.holds(lambda: all(far_end.lost or far_end.chunks for far_end in net.far_ends))
    assert net.seen == [LinkUp(3, HOST)]


@on_both_loops
async def test_no_input_after_close(net):
    """A reply that is on its way when the link is closed does not reach the re-opened link."""
    far_end = await net.connected()
    net.ask(PING)
    await net.holds(lambda: far_end.chunks)
    far_end.say(b"+PONG\r\n")
    net.links.close(1)
    net.open()
    await net.holds(lambda: far_end.lost)
    await net.reported(2)
    assert net.seen == [LinkUp(1, HOST)] * 2


@on_both_loops
async def test_close_between_replies_of_a_chunk(net):
    """When a reply makes the core close the link, the replies behind it are not delivered."""
    far_end = await net.connected()
    net.react = lambda _: net.links.close(1)
    net.ask(PING, PING)
    far_end.say(b"+PONG\r\n+PONG\r\n")
    await net.holds(lambda: far_end.lost)
    assert net.seen == [LinkUp(1, HOST), Reply(1, PING, b"PONG")]


@on_both_loops
async def test_close_from_link_up(net):
    """The core may close a link in the very step that it learns of the connection."""
    net.react = lambda _: net.links.close(1)
    far_end = await net.connected()
    await net.holds(lambda: far_end.lost)
    assert net.seen == [LinkUp(1, HOST)]


@on_both_loops
async def test_other_end_closes(net):
    """A connection that ends is reported once, and its link can be opened again."""
    far_end = await net.connected()
    net.ask(PING)
    await net.holds(lambda: far_end.chunks)
    far_end.transport.close()
    assert (await net.reported(2))[1] == LinkDown(1, "connection closed by the other end")
    net.open()
    assert (await net.reported(3))[2] == LinkUp(1, HOST)


@on_both_loops
async def test_sending_on_a_link_that_just_broke(net):
    """Between the break and its LinkDown, requests are dropped: they are unanswered for good."""
    far_end = await net.connected()
    loop = asyncio.get_running_loop()
    net.react = lambda seen: isinstance(seen, Reply) and loop.call_soon(net.ask, PING)
    net.ask(PING)
    far_end.say(b"+PONG\r\n+PONG\r\n")
    await net.holds(lambda: far_end.lost)
    assert [type(seen) for seen in await net.reported(3)] == [LinkUp, Reply, LinkDown]


@on_both_loops
async def test_closing_a_link_that_just_broke(net):
    """A link that is closed and re-opened before its break is told is never told of it."""
    far_end = await net.connected()

    def reopen():
        net.links.close(1)
        net.open()

    loop = asyncio.get_running_loop()
    net.react = lambda seen: isinstance(seen, Reply) and loop.call_soon(reopen)
    net.ask(PING)
    far_end.say(b"+PONG\r\n+PONG\r\n")
    await net.holds(lambda: far_end.lost)
    assert [type(seen) for seen in await net.reported(3)] == [LinkUp, Reply, LinkUp]
    net.ask(PING)
    (await net.far_end(1)).say(b"+PONG\r\n")
    assert (await net.reported(4))[3] == Reply(1, PING, b"PONG")


@on_both_loops
async def test_closing_an_attempt_that_gets_no_answer(net):
    """An attempt that waits for its SYN to be answered is given up at once, with its socket."""
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind((HOST, 0))
        deaf.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(deaf.getsockname())
        before = open_sockets()
        net.open(port=deaf.getsockname()[1])
        await net.holds(lambda: open_sockets() > before)
        net.links.close(1)
        await net.holds(lambda: open_sockets() == before)
    assert net.seen == []


@pytest.mark.parametrize("size", [0, 10_000_000])
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_last_words(new_loop, size):
    """What is sent in the step that closes the link still leaves, also behind a full buffer."""

    async def scenario(net):
        far_end = await net.connected()
        net.links.send(Send(1, (Request(("ECHO", "x" * size)), Request(("SLAVEOF", "NO", "ONE")))))
        net.links.close(1)
        net.links.flush()
        await net.holds(lambda: far_end.lost)
        assert b"SLAVEOF" in far_end.chunks[-1]

    play(scenario, new_loop)


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_closing_does_not_wait_for_a_dead_peer(monkeypatch, new_loop):
    """A peer that reads nothing cannot hold the socket of a closed link."""
    monkeypatch.setattr(links_module, "LINGER_S", 0.05)

    async def scenario(net):
        far_end = await net.connected()
        before = open_sockets()
        far_end.transport.pause_reading()
        net.ask(Request(("PUBLISH", "x", "y" * 20_000_000)))
        net.links.close(1)
        await net.holds(lambda: open_sockets() < before)
        assert not far_end.lost

    play(scenario, new_loop)


@on_both_loops
async def test_what_a_hung_end_has_not_received_never_arrives(net):
    """A reset tells that the kernel has given up what was stuck; an end would come behind it."""
    far_end = await net.connected()
    far_end.transport.pause_reading()
    net.ask(Request(("ECHO", "x" * 10_000_000)))
    net.links.close(1, is_hung=True)
    far_end.transport.resume_reading()
    await net.holds(lambda: isinstance(far_end.lost, ConnectionResetError))


def open_sockets():
    return sum(1 for fd in os.listdir("/proc/self/fd") if is_socket(fd))


def is_socket(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except FileNotFoundError:
        return False


@on_both_loops
async def test_source_address(net):
    """Links leave from the configured address, and LinkUp names it."""
    net.use(bind_source_addr="127.0.0.2")
    far_end = await net.connected()
    assert net.seen == [LinkUp(1, "127.0.0.2")]
    assert far_end.transport.get_extra_info("peername")[0] == "127.0.0.2"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate that nobody has signed, in one file."""
    pem = tmp_path_factory.mktemp("tls") / "pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test"
    files = ["-keyout", pem, "-out", pem.with_suffix(".crt")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    pem.write_text(pem.read_text() + pem.with_suffix(".crt").read_text())
    return pem


@pytest.fixture(scope="module")
def contexts(certificate):
    """TLS for the server, for a client that trusts it, and for one that does not."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate.with_suffix(".crt"))
    doubting = ssl.create_default_context()
    trusting.check_hostname = doubting.check_hostname = False
    return server, trusting, doubting


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_tls(contexts, new_loop):
    """Over TLS a link works as over TCP, and an end with no or no good certificate breaks it."""
    server, trusting, doubting = contexts

    async def scenario(net):
        net.use(ssl_context=trusting)
        net.open()
        (await net.far_end()).say(b"-ERR what?\r\n")
        assert await net.reported(1) == [LinkDown(1, "TLS: WRONG_VERSION_NUMBER")]
        net.seen.clear()
        await net.serve(server)
        net.open()
        await net.reported(1)
        net.ask(PING)
        far_end = await net.far_end(1)
        await net.holds(lambda: far_end.chunks)
        far_end.say(b"+PONG\r\n")
        assert (await net.reported(2))[1] == Reply(1, PING, b"PONG")
        net.links.close(1)
        net.seen.clear()
        net.use(ssl_context=doubting)
        net.open()
        assert await net.reported(1) == [LinkDown(1, "TLS: CERTIFICATE_VERIFY_FAILED")]

    play(scenario, new_loop)


@on_both_loops
async def test_nonsense_breaks_the_link(net):
    """Bytes that are no reply end the connection; the reason says so."""
    far_end = await net.connected()
    net.ask(PING)
    far_end.say(b"HTTP/1.1 400 Bad Request\r\n")
    down = (await net.reported(2))[1]
    assert down.reason.startswith("protocol error: ")
    await net.holds(lambda: far_end.lost)


@on_both_loops
async def test_unasked_reply_breaks_the_link(net):
    """A reply too many would answer the next question: the link is broken, on channels too."""
    for kind in LinkKind:
        net.seen.clear()
        far_end = await net.connected(kind=kind)
        far_end.say(b"+PONG\r\n")
        assert (await net.reported(2))[1] == LinkDown(
            1, "protocol error: a reply that nobody asked for"
        )
