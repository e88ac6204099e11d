"""What servers refuse us, in their words, and what is done without it.

An order to follow somebody is a transaction: the role changes, the server's file is rewritten and
its clients are cut, all in one. A single word that the server refuses, for an ACL or a renamed
command, undoes all of it (EXECABORT), and a promotion would never come. So what is allowed is then
done without the rest, one after the other, the role first. A server that refuses the new role
itself is left alone for a while, and another replica is promoted if there is one.

The rule guarded: each refusal is told once, when it is met or changes, and stays to be seen in
EXPLAIN until the server has carried out what it had refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from sentinel_py.core import failover, requests
from sentinel_py.core.messages import ErrorReply, Level, Reply
from sentinel_py.core.model import DataNode, FollowOrder, Instance
from sentinel_py.core.requests import TO_NOBODY
from sentinel_py.core.turn import Turn

TEXT_MAX = 200
"""Characters of a server's words that are kept; its own errors are shorter."""

_ROLE = "slaveof"
_NO_FILE = "ERR The server is running without a config file"  # so there is nothing to rewrite
_NO_LOGIN = "NOAUTH"
_DENIALS = ("NOPERM", "WRONGPASS", "ERR unknown command", "ERR invalid password")


def note(turn: Turn, node: DataNode, refused: Mapping[str, str]) -> None:
    """Say what a server refuses, and which rights its user lacks for it; once for each text."""
    cut = {right: text[:TEXT_MAX] for right, text in refused.items()}
    news = {right: text for right, text in cut.items() if node.refusals.get(right) != text}
    node.refusals |= news
    if news:
        text = "; ".join(f"{right}: {text}" for right, text in news.items())
        turn.notice(Level.WARNING, "-refused", node, f"#{text}")


def note_denial(turn: Turn, owner: Instance | None, right: str, value: object) -> None:
    """Say it of a reply that tells of a lacking right, and not of a server that is busy."""
    if not isinstance(owner, DataNode):
        return
    known = owner.refusals
    if isinstance(value, ErrorReply) and value.text.startswith(_NO_LOGIN):
        if "auth" not in known:
            note(turn, owner, {"auth": value.text})  # all the rest comes of that
    elif isinstance(value, ErrorReply) and value.text.startswith(_DENIALS):
        note(turn, owner, {right: value.text})
    elif not isinstance(value, ErrorReply):
        known.pop(right, None)
        if known.get("auth", "").startswith(_NO_LOGIN):
            del known["auth"]


def take_login(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    """The answer to AUTH. Where no password is set, the server says so, and works without one."""
    note_denial(turn, owners[0], "auth", reply.value)


# An order to follow somebody ---------------------------------------------------------------------


def take_answer(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    """One answer to an order to follow somebody; the last one says what has come of it."""
    node = owners[0]
    order = node.order if isinstance(node, DataNode) else None
    if not isinstance(node, DataNode) or order is None or not order.awaited:
        return
    if order.awaited[0] != reply.request:
        return  # of an order that another one has followed
    order.awaited.popleft()
    is_undone = _book(order, reply)
    if is_undone and _ROLE not in order.refused:
        requests.follow_plainly(turn, node, order)
    if not order.awaited:
        _conclude(turn, node, order)


def _book(order: FollowOrder, reply: Reply) -> bool:
    """Take note of what is refused; whether all of the order is undone by that."""
    value, right = reply.value, reply.request.right
    if isinstance(value, list):  # of EXEC: what the queued commands have come to
        for each, result in zip(order.queued, value, strict=False):
            if isinstance(result, ErrorReply):
                order.refused[each] = result.text
    elif isinstance(value, ErrorReply) and right != "exec":
        order.refused[right] = value.text
    elif isinstance(value, ErrorReply) and "multi" not in order.refused:
        # "EXECABORT Transaction discarded because of previous errors.", or of its own: of: NOPERM …
        _, is_its_own, reason = value.text.partition("because of: ")
        if is_its_own or not value.text.startswith("EXECABORT"):
            order.refused[right] = reason or value.text
        return True
    return False


def _conclude(turn: Turn, node: DataNode, order: FollowOrder) -> None:
    node.order = None
    refused = {it: text for it, text in order.refused.items() if not text.startswith(_NO_FILE)}
    for right in ("multi", *order.queued, "exec"):
        if right not in refused:
            node.refusals.pop(right, None)
    note(turn, node, refused)
    is_promotion = order.change == TO_NOBODY
    if is_promotion:
        node.refused_at = turn.now if _ROLE in order.refused else None
    if is_promotion and node.refused_at is not None:
        failover.promotion_refused(turn, node)
