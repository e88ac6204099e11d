"""What the directives about events take: addresses to post them to, and how many are kept.

Words in, values out. The rule guarded: an address is checked when the file is read, and not when
the first master dies.
"""

from collections.abc import Iterator, Sequence

from sentinel_py.config.lines import DirectiveError
from sentinel_py.core.model import Settings, Webhook

EVENT_HISTORY_MAX = 10_000
"""Events in memory and in each snapshot of the Raft log, where one takes up to 1 KB."""

WEBHOOKS_MAX = 16
"""Each has a queue and a request under way."""


def added(webhooks: Sequence[Webhook], words: Sequence[str]) -> list[Webhook]:
    """With the one of these words: a master's name or ``*``, an address, any secret.

    The same address may be said twice: what the command line says is written into the file.
    """
    new = Webhook(words[0], _web_address(words[1]), *words[2:])
    others = [it for it in webhooks if (it.master, it.url) != (new.master, new.url)]
    if len(others) == WEBHOOKS_MAX:
        raise DirectiveError(f"There can be no more than {WEBHOOKS_MAX} webhooks.")
    return [*others, new]


def history_limit(word: str) -> int:
    if not (word.isascii() and word.isdecimal()) or int(word[:9]) > EVENT_HISTORY_MAX:
        raise DirectiveError(f"event-history takes a number from 0 to {EVENT_HISTORY_MAX}.")
    return int(word)


def rows(settings: Settings) -> Iterator[tuple[str, ...]]:
    """The webhooks as words again."""
    for it in settings.webhooks:
        yield (it.master, it.url, it.secret) if it.secret else (it.master, it.url)


def _web_address(word: str) -> str:
    from urllib.parse import urlsplit  # noqa: PLC0415 - few sentinels have webhooks

    try:
        url = urlsplit(word)
        is_right = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_right = False
    if not is_right or not word.isprintable() or " " in word:
        raise DirectiveError("A webhook needs an address that begins with http:// or https://.")
    return word
