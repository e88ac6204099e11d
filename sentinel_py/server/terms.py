"""What a client may do and gets unasked: what follows from its user, protocol and subscriptions.

It is derived when one of these changes, so that a request costs no more than a look at it. The rule
guarded: whoever changes one of them has it derived anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sentinel_py.resp import RESP2
from sentinel_py.server.ready import NOTHING_READY, ByChunk

if TYPE_CHECKING:
    from sentinel_py.server.options import OutputLimit
    from sentinel_py.server.session import Session

SUBSCRIBER_COMMANDS = frozenset(("ping", "subscribe", "unsubscribe", "psubscribe", "punsubscribe"))
"""What a RESP2 client may still say once it has subscribed."""


class Terms(NamedTuple):
    """How a client is served; ``permitted`` are commands that need no look at their arguments."""

    needs_auth: bool
    is_in_subscriber_mode: bool
    permitted: frozenset[str]
    output_limit: OutputLimit | None
    known_replies: ByChunk


def terms_of(session: Session) -> Terms:
    server = session.server
    options, is_subscriber = server.options, session.subscription_count > 0
    limit = options.pubsub_output_limit if is_subscriber else options.normal_output_limit
    # RESP2 cannot tell messages from replies, so such a subscriber is held to a few commands.
    is_in_subscriber_mode = is_subscriber and session.protocol == RESP2
    needs_auth = not session.authenticated and server.acl.default_needs_password
    permitted = session.user.permitted
    if needs_auth or session.is_on_trial:
        permitted = frozenset()
    elif is_in_subscriber_mode:
        permitted &= SUBSCRIBER_COMMANDS
    may_know = not is_in_subscriber_mode and server.ready.names <= permitted  # never on trial
    return Terms(
        needs_auth,
        is_in_subscriber_mode,
        permitted,
        limit if limit.is_set else None,
        server.ready.by_protocol[session.protocol] if may_know else NOTHING_READY,
    )
