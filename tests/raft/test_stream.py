"""Streams between sentinels: how they begin, what they carry, and what strangers get."""

import asyncio
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Client, eventually

from sentinel_py.raft import questions
from sentinel_py.raft.framing import MAX_BYTES, STRANGER_MAX_BYTES, FrameReader, FrameWriter, Kind
from sentinel_py.raft.handshake import (
    WORDS,
    End,
    Introduction,
    frame_key,
    is_proof,
    parse,
    proof,
    stretched,
)
from sentinel_py.raft.peers import MAX_CALLERS
from sentinel_py.raft.questions import AskStanding, Commit, No, Prepare, Standing, Yes
from sentinel_py.raft.stream import UNSENT_ANSWERS_MAX_BYTES
from sentinel_py.resp import OK, ProtocolError

from .parties import Party, parties

A = Introduction("a" * 40, "boot-a", "cluster", "10.0.0.1:26379", "nonce-a")
B = Introduction("b" * 40, "boot-b", "", "", "nonce-b")
KEY = b"a key"


# Bytes -------------------------------------------------------------------------------------------


def test_frames_survive_any_chunks():
    """However the bytes arrive, the same frames come out."""
    sent = [(Kind.RAFT, b""), (Kind.QUESTION, b"x" * 1000), (Kind.RAFT, bytes(70_000))]
    writer = FrameWriter(KEY)
    data = b"".join(writer.encode(*frame) for frame in sent)
    for size in (1, 4, 5, 6, 999, 65536, len(data)):
        reader = FrameReader(KEY)
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        assert [frame for chunk in chunks for frame in reader.read(chunk)] == sent


@pytest.mark.parametrize("head", [b"\0\0\0\0\1", b"\x09\0\0\0\1", b"\1\xff\xff\xff\xff"])
def test_a_frame_that_cannot_be_is_refused_by_its_head(head):
    """An unknown kind or a length beyond the limit is an error before any payload."""
    with pytest.raises(ProtocolError):
        list(FrameReader(KEY).read(head))


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_its_limit(kind):
    """The longest frame passes, one byte more does not."""
    longest = bytes(MAX_BYTES[kind])
    frame = FrameWriter(KEY).encode(kind, longest)
    assert list(FrameReader(KEY).read(frame)) == [(kind, longest)]
    with pytest.raises(AssertionError):
        FrameWriter(KEY).encode(kind, longest + b"x")


@pytest.mark.parametrize("kind", Kind)
def test_who_is_no_member_sends_short_frames(kind):
    """Its head alone ends a longer one: nothing is kept of what nobody has proved a need for."""
    frame = FrameWriter(KEY).encode(kind, bytes(STRANGER_MAX_BYTES[kind] + 1))
    with pytest.raises(ProtocolError, match="too long"):
        list(FrameReader(KEY, STRANGER_MAX_BYTES).read(frame[:5]))


FRAMES = [(Kind.RAFT, b"one"), (Kind.QUESTION, b"two"), (Kind.RAFT, b"three")]


@pytest.mark.parametrize(
    ("damage", "good"),
    [
        (lambda one, two, three: [one, two, two, three], 2),
        (lambda one, two, three: [one, three], 1),
        (lambda one, two, three: [two, one, three], 0),
        (lambda one, two, three: [one, two[:-1] + bytes([two[-1] ^ 1]), three], 1),
        (lambda one, two, three: [one[:5] + b"0" + one[6:], two, three], 0),
        (lambda one, two, three: [b"\2" + one[1:], two, three], 0),
        (lambda one, two, three: [FrameWriter(b"another").encode(*FRAMES[0])], 0),
    ],
)
def test_a_frame_is_what_was_sent_next(damage, good):
    """One repeated, left out, moved, altered, relabelled or of another key ends the stream."""
    writer = FrameWriter(KEY)
    reader, read = FrameReader(KEY), []
    with pytest.raises(ProtocolError, match="not what the other end has sent"):
        read.extend(reader.read(b"".join(damage(*(writer.encode(*it) for it in FRAMES)))))
    assert read == FRAMES[:good]


@given(st.binary(max_size=200))
def test_garbage_is_frames_or_an_error(data):
    """Nothing else than a ProtocolError comes of wrong bytes, and little is kept of them."""
    reader = FrameReader(KEY)
    try:
        list(reader.read(data))
    except ProtocolError:
        return
    assert sum(map(len, reader._chunks)) <= len(data)


VALUES = [
    AskStanding(),
    Prepare("c", {"a": "h:1"}, by_order=True),
    Commit("c"),
    Standing("a", "c", "member", ("a", "b"), (), ("a",), {"a": "h:1"}, ("b",), "a"),
    Yes("x"),
    No("because"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_questions_and_answers_survive_their_bytes(value):
    """What is decoded is what was encoded, with its ticket."""
    assert questions.decode(questions.encode(value, 7)) == (value, 7)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Fork"},
        {"ticket": "1"},
        {"ticket": True},
        {"members": []},
        {"members": {"a": 1}},
        {"by_order": 1},
        {"more": 1},
    ],
)
def test_a_record_with_a_wrong_field_is_refused(change):
    """Types are as the class says, and there is no field more."""
    record = json.loads(questions.encode(VALUES[1], 1)) | change
    with pytest.raises(ProtocolError):
        questions.decode(json.dumps(record).encode())


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
def test_garbage_is_no_question(data):
    """Random bytes and texts end in a ProtocolError."""
    with pytest.raises(ProtocolError):
        questions.decode(data)


def test_deep_nesting_is_no_question():
    """It does not take the process down either."""
    with pytest.raises(ProtocolError):
        questions.decode(b"[" * 100_000)


# Proofs ------------------------------------------------------------------------------------------


def test_a_proof_is_good_for_its_end_and_its_connection_only():
    """Another secret, end, id, cluster, address or nonce makes another proof."""
    key = stretched("secret")
    good = proof(key, End.DIALER, A, B)
    assert is_proof(good, key, End.DIALER, A, B)
    assert not is_proof(good, key, End.ACCEPTOR, A, B)
    assert not is_proof(good, stretched("Secret"), End.DIALER, A, B)
    assert not is_proof(good, key, End.DIALER, B, A)
    assert not is_proof("", key, End.DIALER, A, B)
    assert not is_proof("\udcff", key, End.DIALER, A, B)
    keys = {frame_key(key, end, A, B) for end in End}
    for field in ("run_id", "boot", "cluster", "address", "nonce"):
        for dialer, acceptor in (
            (replace(A, **{field: "other"}), B),
            (A, replace(B, **{field: "other"})),
        ):
            assert not is_proof(good, key, End.DIALER, dialer, acceptor)
            keys |= {frame_key(key, end, dialer, acceptor) for end in End}
    assert len(keys) == 2 + 2 * 2 * 5
    assert good not in {frame.hex() for frame in keys}


def test_introductions_survive_their_words():
    """Empty fields included; too many, too few, too long or another version are none."""
    for introduction in (A, B):
        assert parse(introduction.words()) == introduction
    words = A.words()
    assert len(words) == WORDS
    for wrong in (words[:-1], (*words, "x"), ("1", *words[1:]), ("2", "-", *words[2:])):
        assert parse(wrong) is None
    for address in ("nonsense", "h:0", "h:65536", "h :1", "h\x1b:1"):
        assert parse((*words[:4], address, words[5])) is None
    assert parse((*words[:-1], "n" * 1000)) is None


# Connections -------------------------------------------------------------------------------------


async def test_two_parties_find_each_other_and_talk():
    """Messages keep their order, questions find their answers, both ends know who is there."""
    async with parties(Party("a", secret="s"), Party("b", secret="s")) as (a, b):
        a.peers.dial([b.address])
        b.peers.dial([a.address])
        await eventually(lambda: a.links_up == ["b"] and b.links_up == ["a"])
        for number in range(100):
            a.peers.send("b", b"%d" % number)
        b.peers.send("a", bytes(3_000_000))
        assert await a.peers.ask("b", AskStanding()) == Yes("b")
        assert b.messages == [("a", b"%d" % number) for number in range(100)]
        await eventually(lambda: a.messages == [("b", bytes(3_000_000))])
        assert a.peers.found_at(b.address) == "b"
        assert b.questions == [("a", AskStanding())]


async def test_a_stream_that_breaks_comes_back():
    """The owner hears of both, and nothing is said in between."""
    async with parties(Party("a"), Party("b")) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: a.links_up == ["b"])
        for session in list(b.server.clients.values()):
            session.abort()
        await eventually(lambda: a.links_up == [])
        a.peers.send("b", b"lost")
        assert isinstance(await a.peers.ask("b", AskStanding()), No)
        await eventually(lambda: a.links_up == ["b"])
        a.peers.send("b", b"kept")
        await eventually(lambda: b.messages == [("a", b"kept")])


async def test_who_talks_to_us_is_known_until_the_stream_ends():
    """A leader that is no member by our log has to be dialled, or it never gets our answers."""
    async with parties(Party("a"), Party("b")) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: a.links_up == ["b"])
        assert b.peers.callers() == [a.address]
        a.peers.dial([])
        await eventually(lambda: b.parted_ids == ["a"])
        assert b.peers.callers() == []


async def test_few_are_dialled_because_they_talk_to_us():
    """Those of our cluster, and of them the latest; and nobody when we end."""
    stranger = Party("x", cluster="")
    fellows = [Party(f"c{number}") for number in range(MAX_CALLERS + 1)]
    async with parties(Party("b")) as (b,):
        try:
            for other in (stranger, *fellows):
                other.peers.dial([b.address])
            await eventually(lambda: len(b.met_ids) == 1 + len(fellows))
            await eventually(lambda: all(it.links_up for it in fellows))
            assert len(b.peers.callers()) == MAX_CALLERS
            assert stranger.address not in b.peers.callers()
            b.peers.close()
            assert b.parted_ids == []
        finally:
            for other in (stranger, *fellows):
                await other.stop()


async def test_a_peer_that_ended_is_told_from_one_that_is_cut_off():
    """Only when nothing listens any more, and none of its streams is left, is it dead."""
    async with parties(Party("a"), Party("b")) as (a, b):
        a.peers.dial([b.address])
        b.peers.dial([a.address])
        await eventually(lambda: a.links_up == ["b"] and b.links_up == ["a"])
        for session in list(b.server.clients.values()):
            session.abort()
        await eventually(lambda: a.links_up == ["b"])
        b.server.close()
        await eventually(lambda: "refused" in a.peers.trouble_at(b.address))
        assert a.dead == []
        b.peers.close()
        await eventually(lambda: "b" in a.dead)


async def test_an_unanswered_question_ends_with_its_stream():
    """Whoever waits is told, and not left waiting for the deadline."""
    async with parties(Party("a"), Party("b")) as (a, b):
        b.asked = lambda run_id, question: b.peers.close() or Yes()
        a.peers.dial([b.address])
        await eventually(lambda: a.links_up == ["b"])
        assert isinstance(await a.peers.ask("b", AskStanding(), within_s=60), No)


async def test_a_new_stream_ends_the_old_one():
    """Of two runs of the same sentinel only the later one is heard (a stream per peer)."""
    older, newer = Party("a", boot="1"), Party("a", boot="2")
    async with parties(older, newer, Party("b")) as (_, _, b):
        older.peers.dial([b.address])
        await eventually(lambda: older.links_up == ["b"])
        newer.peers.dial([b.address])
        await eventually(lambda: newer.links_up == ["b"] and older.links_up == [])
        older.peers.dial([])
        newer.peers.send("b", b"new")
        await eventually(lambda: b.messages == [("a", b"new")])
        await eventually(lambda: len(b.server.clients) == 1)


async def test_one_sentinel_at_two_addresses_has_one_stream():
    """A name and an address of the same sentinel do not drive each other out."""
    async with parties(Party("a"), Party("b")) as (a, b):
        name = f"localhost:{b.port}"
        a.peers.dial([b.address, name])
        await eventually(lambda: a.peers.found_at(name) == a.peers.found_at(b.address) == "b")
        first = a.peers._outgoing["b"]
        await eventually(lambda: a.links_up == ["b"] and len(b.server.clients) == 1)
        for session in list(b.server.clients.values()):
            session.abort()
        await eventually(lambda: a.links_up == ["b"] and a.peers._outgoing["b"] is not first)


async def test_a_sentinel_recognizes_itself():
    """Its own address among others gives its own id, and no stream."""
    async with parties(Party("a")) as (a,):
        a.peers.dial([a.address])
        await eventually(lambda: a.peers.found_at(a.address) == "a")
        await eventually(lambda: not a.server.clients)
        assert not a.links_up


async def test_two_sentinels_with_one_id_are_told_apart():
    """A copied configuration is named as what it is."""
    async with parties(Party("a"), Party("a", boot="copy")) as (one, other):
        one.peers.dial([other.address])
        await eventually(lambda: "has the same id" in one.peers.trouble_at(other.address))
        assert one.peers.found_at(other.address) is None


async def test_raft_messages_pass_only_within_a_cluster():
    """Before there is a cluster, questions are all that can be said."""
    async with parties(Party("a", cluster=""), Party("b", cluster="")) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: a.peers.is_connected("b"))
        a.peers.send("b", b"x")
        assert await a.peers.ask("b", AskStanding()) == Yes("b")
        assert b.messages == []
        assert a.links_up == []


async def test_members_of_different_clusters_do_not_talk():
    """Both names are in the reason."""
    async with parties(Party("a", cluster="one"), Party("b", cluster="two")) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: "one and two" in a.peers.trouble_at(b.address))
        assert not a.peers.is_connected("b")


@pytest.mark.parametrize(("one", "other"), [("s", ""), ("", "s"), ("s", "t")])
async def test_a_secret_has_to_be_the_same(one, other):
    """Nothing is said between ends that do not prove the same secret; ``none`` is no secret."""
    async with parties(Party("a", secret=one or "none"), Party("b", secret=other)) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: "raft-secret differs" in a.peers.trouble_at(b.address))
        assert a.met_ids == b.met_ids == []


@pytest.mark.parametrize("answer", [OK, "x" * 64])
async def test_an_impostor_that_takes_any_proof_is_told_nothing(answer):
    """The dialling end asks for a proof, too: otherwise it would hand the log to anybody."""
    impostor = Party("b")
    impostor._prove = lambda session, words: answer
    async with parties(Party("a", secret="s"), impostor) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: "raft-secret differs" in a.peers.trouble_at(b.address))
        assert not a.peers.is_connected("b")
        assert a.met_ids == []


async def test_without_a_secret_a_password_is_asked_for():
    """A stream logs in as any client has to."""
    wrong, right = Party("a"), Party("b", login=("AUTH", "pass"))
    async with parties(wrong, right, Party("c", password="pass")) as (_, _, c):
        wrong.peers.dial([c.address])
        right.peers.dial([c.address])
        await eventually(lambda: right.links_up == ["c"])
        await eventually(lambda: "NOAUTH" in wrong.peers.trouble_at(c.address))


async def test_with_a_secret_no_password_is_said():
    """The proof is worth more than a password, which whoever took the address would have got."""
    a, b = Party("a", secret="s", login=("AUTH", "pass")), Party("b", secret="s", password="pass")
    async with parties(a, b):
        a.peers.dial([b.address])
        await eventually(lambda: a.links_up == ["b"])
        async with await Client.connect(port=b.port) as client:
            assert "NOAUTH" in await client.ask("ping")


async def test_who_takes_no_part_says_so():
    """A sentinel that was given neither members nor a secret begins no stream with anybody."""
    party = Party("a", secret="")
    party.is_out = True
    async with parties(party) as (a,), await Client.connect(port=a.port) as client:
        words = Introduction("x", "boot-x", "", "", "nonce").words()
        assert "takes part in no Raft cluster" in await client.ask(
            "sentinel", "raft", "hello", *words
        )
        assert "takes part in no Raft cluster" in await client.ask("sentinel", "raft", "prove", "x")
        assert await client.ask("ping") == "PONG"


async def test_without_a_secret_streams_come_from_listed_addresses():
    """Somebody at another address gets an error, and one at a listed address is believed."""
    async with parties(Party("a"), Party("b")) as (a, b):
        a.listed = ["192.0.2.7:26379"]
        b.peers.dial([a.address])
        await eventually(
            lambda: "is no address of a listed sentinel" in b.peers.trouble_at(a.address)
        )
        a.listed = ["192.0.2.7:26379", "127.0.0.9:26379"]
        await eventually(lambda: b.links_up == ["a"])


@pytest.mark.parametrize("rules", [["-sentinel|raft"], ["off"]])
async def test_without_a_secret_a_stream_ends_with_its_users_right(rules):
    """Who is switched off, or may not begin a stream any more, keeps none."""
    a, b = Party("a", login=("AUTH", "peer", "pw")), Party("b")
    async with parties(a, b), await Client.connect(port=b.port) as client:
        await client.ask("acl", "setuser", "peer", "on", ">pw", "+@all")
        a.peers.dial([b.address])
        await eventually(lambda: a.links_up == ["b"])
        await client.ask("acl", "setuser", "other", *rules)
        assert a.links_up == ["b"]
        await client.ask("acl", "setuser", "peer", *rules)
        await eventually(lambda: a.links_up == [])


async def test_a_proven_stream_depends_on_no_user():
    """With a secret it is the proof that counts, whatever becomes of the default user."""
    async with parties(Party("a", secret="s"), Party("b", secret="s")) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: a.links_up == ["b"])
        async with await Client.connect(port=b.port) as client:
            assert await client.ask("acl", "setuser", "default", "-sentinel|raft") == "OK"
        assert await a.peers.ask("b", AskStanding()) == Yes("b")
        assert a.links_up == ["b"]


async def test_another_version_is_named():
    """An older member gets one line that says what to do, and not a riddle."""
    async with parties(Party("a")) as (a,), await Client.connect(port=a.port) as client:
        words = ("1", "x", "boot", "-", "-", "nonce")
        reply = await client.ask("sentinel", "raft", "hello", *words)
        assert "run the same version of sentinel_py" in reply


async def test_few_streams_of_who_is_no_member():
    """Ids can be made up: those that no log knows have few streams, and members keep theirs."""
    members = [Party(f"m{number}", secret="s") for number in range(2)]
    others = [Party(f"x{number}", secret="s") for number in range(MAX_CALLERS + 1)]
    async with parties(Party("a", secret="s")) as (a,):
        a.known_ids = {member.run_id for member in members}
        try:
            for other in (*others, *members):
                other.peers.dial([a.address])
            await eventually(lambda: all(it.links_up for it in members))
            await eventually(lambda: sum(bool(it.links_up) for it in others) == MAX_CALLERS)
            refused = next(it for it in others if not it.links_up)
            await eventually(lambda: "have a stream already" in refused.peers.trouble_at(a.address))
        finally:
            for other in (*others, *members):
                await other.stop()


async def test_who_does_not_read_its_answers_is_dropped():
    """What waits to be sent has a limit, well below what would be felt."""
    async with parties(Party("a", secret="s")) as (a,), await Client.connect(port=a.port) as client:
        own, theirs = await greeting(a, client)
        key = stretched("s")
        await client.ask("sentinel", "raft", "prove", proof(key, End.DIALER, own, theirs))
        a.asked = lambda run_id, question: No("n" * 100_000)
        writer = FrameWriter(frame_key(key, End.DIALER, own, theirs))
        (session,) = a.server.clients.values()
        most = 0
        client.stop_reading()
        for ticket in range(1000):
            client.send(writer.encode(Kind.QUESTION, questions.encode(AskStanding(), ticket)))
            await asyncio.sleep(0)
            most = max(most, session.output_bytes)
            if not a.server.clients:
                break
        await eventually(lambda: not a.server.clients)
        assert most <= UNSENT_ANSWERS_MAX_BYTES + 128 * 1024


async def greeting(party, client):
    """Say HELLO by hand; our introduction and theirs."""
    own = Introduction("x", "boot-x", party.cluster, "", "nonce")
    reply = await client.ask("sentinel", "raft", "hello", *own.words())
    assert len(reply) == WORDS
    return own, parse(reply)


async def test_a_wrong_or_early_proof_changes_nothing():
    """A stranger gets an error, and the connection stays a client's connection."""
    async with parties(Party("a", secret="s")) as (a,), await Client.connect(port=a.port) as client:
        assert "PROVE must follow" in await client.ask("sentinel", "raft", "prove", "x")
        own, theirs = await greeting(a, client)
        key = stretched("s")
        wrong = proof(key, End.ACCEPTOR, own, theirs)
        assert "NOPERM" in await client.ask("sentinel", "raft", "prove", wrong)
        right = proof(key, End.DIALER, own, theirs)
        assert "PROVE must follow" in await client.ask("sentinel", "raft", "prove", right)
        assert await client.ask("ping") == "PONG"
        assert a.met_ids == []


async def test_a_stream_may_be_silent_for_longer_than_a_client():
    """The timeout directive ends idle clients; a follower has little to say to another one."""
    async with parties(Party("a"), Party("b")) as (a, b):
        a.peers.dial([b.address])
        await eventually(lambda: a.links_up == ["b"])
        async with await Client.connect(port=b.port) as client:
            assert await client.ask("ping") == "PONG"
            b.server.options = replace(b.server.options, timeout_s=1)
            for session in b.server.clients.values():
                session.active_at -= 10_000
            assert await client.is_closed()
        assert a.links_up == ["b"]
        assert await a.peers.ask("b", AskStanding()) == Yes("b")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"PING\r\n",
        (Kind.ANSWER, questions.encode(Yes(), 1)),
        (Kind.QUESTION, b"{}"),
        (Kind.QUESTION, questions.encode(Yes(), 1)),
        (Kind.RAFT, bytes(STRANGER_MAX_BYTES[Kind.RAFT] + 1)),
        b"\1\xff\xff\xff\xff",
    ],
)
async def test_nonsense_on_a_stream_ends_it(data):
    """The server closes that connection and goes on serving others."""
    async with parties(Party("a")) as (a,), await Client.connect(port=a.port) as client:
        a.known_ids = set()
        own, theirs = await greeting(a, client)
        key = stretched("")
        answer = await client.ask("sentinel", "raft", "prove", proof(key, End.DIALER, own, theirs))
        assert is_proof(answer, key, End.ACCEPTOR, own, theirs)
        writer = FrameWriter(frame_key(key, End.DIALER, own, theirs))
        client.send(data if isinstance(data, bytes) else writer.encode(*data))
        client.send(bytes(10))
        assert await client.is_closed()
        async with await Client.connect(port=a.port) as other:
            assert await other.ask("ping") == "PONG"
