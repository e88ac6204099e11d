"""The words of SENTINEL RAFT: what operators ask and order, and what other sentinels begin with.

Each word is one small function; what it does is the member's. The rules guarded: this is an added
subcommand, so nothing that a client of redis-sentinel can see is changed by it; and it is no way
around an old rule. Who is to change the members needs the rights to all that members can change,
and who is to look at them, the right to MASTERS. HELLO and PROVE alone need no login where there is
a raft-secret: whoever says them has to prove more than a password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, TypeAlias

from sentinel_py.raft import addresses, report
from sentinel_py.raft.handshake import is_secret
from sentinel_py.resp import OK, Error, Reply, to_text
from sentinel_py.server.commands import READS_MASTERS, Answer, Command, Docs, help_reply

if TYPE_CHECKING:
    from sentinel_py.raft.member import Member
    from sentinel_py.server.session import Session

_DOCS = Docs(
    "Shows or changes the Raft cluster of this Sentinel.",
    "7.2.0",
    "sentinel",
    "O(N) where N is the number of members",
    "subcommand [argument ...]",
)

_HELP = (
    "STATUS",
    "    Show this Sentinel's place in its Raft cluster.",
    "MEMBERS",
    "    Show the members, as this Sentinel knows them.",
    "ADD <host>:<port>",
    "    Take the Sentinel at that address in as a member.",
    "REMOVE <host>:<port>|<id>",
    "    Have a member vote no longer.",
    "TRANSFER [<host>:<port>|<id>]",
    "    Have that member, or any other, lead the Raft cluster.",
    "FORM",
    "    Make a Raft cluster of this Sentinel and all others that watch its masters.",
    "    All of them need the same raft-secret.",
)

_ORDERS = ("sentinel|monitor", "sentinel|remove", "sentinel|set", "sentinel|failover")
"""What a member can order of all others: whoever makes one needs the right to all of it."""

_Word: TypeAlias = "Callable[[Member, Session, list[str]], Answer]"


def build(member: Member) -> Command:
    """The RAFT subcommand of SENTINEL, bound to a member."""

    def handler(session: Session, args: list[bytes]) -> Answer:
        name, *words = map(to_text, args[2:])
        if name.lower() == "help":
            return help_reply([b"SENTINEL RAFT"], _HELP)
        if name.lower() not in _WORDS:
            return Error(f"ERR unknown word '{name[:32]}'. Try SENTINEL RAFT HELP.")
        counts, act = _WORDS[name.lower()]
        if len(words) not in counts:
            return Error(f"ERR wrong number of arguments for 'sentinel|raft {name.lower()}'")
        return act(member, session, words)

    def proves_itself(args: Sequence[bytes]) -> bool:
        is_greeting = len(args) > 2 and args[2].lower() in _GREETINGS
        return is_greeting and is_secret(member.secret())

    return Command(
        "sentinel|raft",
        -3,
        handler,
        ("admin",),
        docs=_DOCS,
        is_listed=False,
        also_needs=_needs,
        proves_itself=proves_itself,
    )


def _needs(args: Sequence[bytes]) -> tuple[str, ...]:
    word = args[2].lower() if len(args) > 2 else b""
    if word in _GREETINGS:
        return ()
    return READS_MASTERS if word in _QUESTIONS else _ORDERS


_GREETINGS = (b"hello", b"prove")
_QUESTIONS = (b"status", b"members", b"help")


def _status(member: Member, _session: Session, _words: list[str]) -> Answer:
    return {name: str(value) for name, value in report.status(member)}


def _members(member: Member, _session: Session, _words: list[str]) -> Answer:
    return [dict(row) for row in report.members(member)]


def _add(member: Member, _session: Session, words: list[str]) -> Answer:
    try:
        addresses.split(words[0])
    except ValueError as error:
        return Error(f"ERR {error}")
    return _later(member, member.changes.carry_out(("add", words[0])))


def _remove(member: Member, _session: Session, words: list[str]) -> Answer:
    return _later(member, member.changes.carry_out(("remove", words[0])))


def _transfer(member: Member, _session: Session, words: list[str]) -> Answer:
    return _later(member, member.changes.carry_out(("transfer", *words)))


def _form(member: Member, _session: Session, _words: list[str]) -> Answer:
    return _later(member, member.changes.form())


def _later(member: Member, work: Coroutine[object, object, str]) -> Answer:
    """The reply when the order has ended: OK, or the reason why it was not carried out."""
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def carry_out() -> None:
        reason = await work
        if not reply.done():
            reply.set_result(Error(f"ERR {reason}") if reason else OK)

    member.spawn(carry_out())
    return reply


def _hello(member: Member, session: Session, words: list[str]) -> Answer:
    return member.peers.greet(session, words)


def _prove(member: Member, session: Session, words: list[str]) -> Answer:
    return member.peers.admit(session, words[0])


# Each with the numbers of arguments that it takes.
_WORDS: dict[str, tuple[range, _Word]] = {
    "status": (range(1), _status),
    "members": (range(1), _members),
    "add": (range(1, 2), _add),
    "remove": (range(1, 2), _remove),
    "transfer": (range(2), _transfer),
    "form": (range(1), _form),
    "hello": (range(1, 16), _hello),
    "prove": (range(1, 2), _prove),
}
