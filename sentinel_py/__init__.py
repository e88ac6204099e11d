"""A Redis Sentinel in Python: same port, commands, events and config file as redis-sentinel.

To run one inside another asyncio program, see ``sentinel_py.embed``; its names are here, too.
"""

TYPE_CHECKING = False  # as type checkers know it; to import typing takes as long as all the rest

if TYPE_CHECKING:
    from sentinel_py.embed import Endpoint as Endpoint
    from sentinel_py.embed import MasterStatus as MasterStatus
    from sentinel_py.embed import Notices as Notices
    from sentinel_py.embed import Sentinel as Sentinel
    from sentinel_py.embed import SentinelError as SentinelError
    from sentinel_py.embed import Switch as Switch
    from sentinel_py.embed import Verdict as Verdict

__version__ = "0.1.0"

_EMBEDDED = frozenset(
    ("Endpoint", "MasterStatus", "Notices", "Sentinel", "SentinelError", "Switch", "Verdict")
)


def __getattr__(name: str) -> object:
    """Load what embeds a sentinel when it is asked for: all of it is a whole server."""
    if name not in _EMBEDDED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sentinel_py import embed  # noqa: PLC0415

    return getattr(embed, name)
