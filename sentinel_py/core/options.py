"""The options of a master: which values each of them takes, whoever sets it.

Orders are checked against this one by one; entries that bring a whole set of options, and the
config file, as a whole. How SENTINEL SET spells an option is for ``orders`` to say, how the file
does, for ``config/directives``.
"""

from __future__ import annotations

from typing import NamedTuple

from sentinel_py.core import checks
from sentinel_py.core.model import Options


class Range(NamedTuple):
    """The least and the greatest number that an option takes."""

    least: int
    greatest: int = checks.INT_MAX


NUMBERS = {
    "quorum": Range(1),
    "down_after_ms": Range(1),
    "failover_timeout_ms": Range(1),
    "parallel_syncs": Range(1),
    "reboot_down_after_ms": Range(0),
    "loading_down_after_ms": Range(0),
    "max_promotion_lag": Range(0, 2**63 - 1),
}
"""The options that are numbers, by field of ``Options``."""

TEXTS = ("notification_script", "client_reconfig_script", "auth_user", "auth_pass")


def check(options: Options) -> None:
    """Refuse options that SENTINEL SET would have refused; InvalidError says which."""
    for field, (least, greatest) in NUMBERS.items():
        checks.check_number(getattr(options, field), field, least, greatest)
    for field in TEXTS:
        text = getattr(options, field)
        if text is not None:
            checks.check_text(text, field)
            if not text:
                raise checks.InvalidError(f"{field} is empty")
    if len(options.renamed) > checks.RENAMES_MAX:
        raise checks.InvalidError(f"more than {checks.RENAMES_MAX} commands are renamed")
    for command, name in options.renamed.items():
        for word in (command, name):
            checks.check_text(word, "a renamed command", checks.NAME_MAX_BYTES)
        if not command or not name or command != command.lower():
            raise checks.InvalidError("a renamed command has no name, or not in lower case")
