"""The words of SENTINEL RAFT: what operators ask and order, and what other sentinels begin with.

Each word is one small function; what it does is the member's. The rule guarded: this is an added
subcommand, so nothing that a client of redis-sentinel can see is changed by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, TypeAlias

from sentinel_py.core.messages import DownReport
from sentinel_py.raft import addresses, report
from sentinel_py.resp import OK, Error, Reply, to_text
from sentinel_py.server.commands import Answer, Command, Docs, help_reply

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
)

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

    return Command("sentinel|raft", -3, handler, ("admin",), docs=_DOCS, is_listed=False)


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


def _report(member: Member, _session: Session, words: list[str]) -> Answer:
    """A fellow member tells what it sees of a master; what does not fit changes nothing."""
    run_id, master, epoch, down = words
    if down not in ("0", "1") or not (epoch.isdecimal() and len(epoch) < 20):
        return Error("ERR syntax error")
    if run_id in member.addresses and run_id != member.run_id:
        member.host.feed(DownReport(run_id, master, int(epoch), down == "1"))
    return OK


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
    "report": (range(4, 5), _report),
}
