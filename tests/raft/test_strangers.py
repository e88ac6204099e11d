"""Who is no member, and speaks to the port all the same: fuzzed, and a member that goes on."""

import asyncio
import contextlib
import json
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from serving import Client, eventually

from sentinel_py.raft import questions
from sentinel_py.raft.framing import FrameWriter, Kind
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
from sentinel_py.raft.questions import Adopt, CallOff, Commit, Forwarded, Prepare, Removed

from .sentinels import formed, group
from .test_stream import VALUES

SECRET = "s3cret"
short = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
KEY = stretched(SECRET)
FORGERIES = {
    "another secret": lambda own, theirs: proof(stretched("guess"), End.DIALER, own, theirs),
    "no secret": lambda own, theirs: proof(stretched(""), End.DIALER, own, theirs),
    "of the other end": lambda own, theirs: proof(KEY, End.ACCEPTOR, own, theirs),
    "one that was good before": None,
}
# Of a record that makes sense, any field may be another one.
records = st.sampled_from(VALUES).map(lambda value: json.loads(questions.encode(value, 1)))
odd_records = st.builds(
    lambda record, changes: json.dumps(record | changes).encode(),
    records,
    st.dictionaries(st.sampled_from(["kind", "ticket", "cluster", "members", "words"]), short),
)
frames = st.builds(
    lambda kind, payload: FrameWriter(KEY).encode(kind, payload),
    st.sampled_from(Kind),
    st.binary(max_size=100) | records.map(lambda record: json.dumps(record).encode()) | odd_records,
)
cut_frames = st.builds(lambda frame, length: frame[:length], frames, st.integers(0, 40))
noise = st.lists(frames | cut_frames | st.binary(max_size=50), max_size=5).map(b"".join)


class Target:
    """A member of a cluster of one, in an event loop that runs while it is spoken to."""

    def __init__(self, folder):
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._folder = folder
        self._trouble = []

    def __enter__(self):
        self.run(self._start())
        return self

    def __exit__(self, *exc_info):
        self.run(self._stack.aclose())
        self._runner.close()

    def run(self, work):
        return self._runner.run(work)

    async def _start(self):
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: self._trouble.append(context)
        )
        alone = group(self._folder, "a", raft_secret=SECRET)
        (self.sentinel,) = await self._stack.enter_async_context(alone)
        await formed([self.sentinel])
        self.before = self._facts()

    def _facts(self):
        status, member = self.sentinel.status, self.sentinel.member
        masters = list(self.sentinel.state.masters)
        return member.identity, member.phase, status.term, status.members, masters

    async def connect(self):
        return await Client.connect(port=self.sentinel.port)

    async def check(self):
        """Nothing has changed, nobody is there, and orders are taken as ever."""
        await eventually(lambda: not self.sentinel.server.clients)
        assert self._facts() == self.before
        assert self._trouble == []
        assert await self.sentinel.ask("sentinel", "monitor", "m", "127.0.0.1", "1", "1") == "OK"


async def introduce(client, own):
    """Say HELLO; their introduction, None if they refuse."""
    reply = await client.ask("sentinel", "raft", "hello", *own.words())
    assert not isinstance(reply, list) or len(reply) == WORDS
    return parse(reply) if isinstance(reply, list) else None


def prove(client, text):
    return client.ask("sentinel", "raft", "prove", text)


@given(st.lists(short, max_size=8))
def test_words_that_are_no_introduction_are_none(words):
    """Whatever the words, there is an introduction with all that is needed, or nothing."""
    introduction = parse(words)
    if introduction:
        assert introduction.words() == tuple(words)
        assert introduction.run_id
        assert introduction.nonce


def test_strangers_change_nothing(tmp_path):
    """No forged or replayed proof lets anybody in, whoever he says he is, and noise is noise."""
    with Target(tmp_path) as target:
        member = target.sentinel.member
        good = Introduction("b" * 40, "boot", "", "", "nonce")

        async def come_in():
            async with await target.connect() as client:
                theirs = await introduce(client, good)
                text = proof(KEY, End.DIALER, good, theirs)
                assert is_proof(await prove(client, text), KEY, End.ACCEPTOR, good, theirs)
                return text

        replayed = target.run(come_in())

        async def try_to_come_in(own, forgery, data):
            async with await target.connect() as client:
                if theirs := await introduce(client, own):
                    forge = FORGERIES[forgery]
                    text = forge(own, theirs) if forge else replayed
                    assert "NOPERM" in await prove(client, text)
                    assert await client.ask("ping") == "PONG"
                client.send(data)

        introductions = st.builds(
            Introduction,
            st.sampled_from([good.run_id, member.run_id]),
            st.sampled_from([good.boot, member.boot]),
            st.sampled_from(["", member.cluster, "another"]),
            st.sampled_from(["", "127.0.0.1:1", member.own_address]),
            st.just(good.nonce),
        )

        @settings(deadline=None)
        @given(introductions, st.sampled_from([*FORGERIES]), noise)
        @example(good, "one that was good before", b"")
        def attack(own, forgery, data):
            target.run(try_to_come_in(own, forgery, data))

        attack()
        target.run(target.check())


def test_who_knows_the_secret_and_is_no_member_changes_nothing(tmp_path):
    """Questions are answered and orders are refused; what makes no sense ends the stream alone."""
    with Target(tmp_path) as target:
        member = target.sentinel.member
        stranger = Introduction("b" * 40, "boot", "", "", "nonce")
        pretender = replace(stranger, cluster=member.cluster)
        alone = {stranger.run_id: "127.0.0.1:1"}

        async def speak(own, said):
            async with await target.connect() as client:
                theirs = await introduce(client, own)
                answer = await prove(client, proof(KEY, End.DIALER, own, theirs))
                assert is_proof(answer, KEY, End.ACCEPTOR, own, theirs)
                writer = FrameWriter(frame_key(KEY, End.DIALER, own, theirs))
                client.send(said if isinstance(said, bytes) else writer.encode(*said))
                async with await target.connect() as other:
                    assert await other.ask("ping") == "PONG"

        for asked in (
            Prepare("another", alone, by_order=True),
            Commit(member.cluster),
            CallOff(member.cluster),
            Adopt("another", tuple(alone), alone, member.own_address),
            Removed(member.cluster),
            Forwarded(("remove", member.run_id)),
        ):
            target.run(speak(stranger, (Kind.QUESTION, questions.encode(asked, 1))))

        wrong_version = st.binary(max_size=50).map(lambda data: b"\0" + data)
        raft_noise = wrong_version.map(lambda data: (Kind.RAFT, data))
        said = noise | st.tuples(
            st.sampled_from(Kind),
            records.map(lambda record: json.dumps(record).encode()) | odd_records,
        )

        @settings(deadline=None)
        @given(st.tuples(st.just(stranger), said) | st.tuples(st.just(pretender), raft_noise))
        def attack(who_and_what):
            target.run(speak(*who_and_what))

        attack()
        target.run(target.check())
