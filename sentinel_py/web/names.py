"""Under which names pages may be read without a login.

A page from anywhere can give its own name the address of this host, and is then of the same origin
for the browser (DNS rebinding): it would read what only this host's users may reach. An address
cannot be rebound. So, where no login is asked for, a browser is answered under addresses,
localhost, this host's own name and the names of `sentinel http-host`; programs are under any.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from aiohttp import hdrs

LOCAL = ("localhost", socket.gethostname().lower())
_OF_BROWSERS = ("Sec-Fetch-Site", hdrs.ACCEPT_LANGUAGE, hdrs.ORIGIN, hdrs.REFERER)


def is_browser(headers: Mapping[str, str]) -> bool:
    """Return whether a page can have sent this; a program that looks like one is taken for it."""
    agent = headers.get(hdrs.USER_AGENT, "")
    return agent.startswith("Mozilla/") or any(name in headers for name in _OF_BROWSERS)


def is_own(host: str, names: Iterable[str]) -> bool:
    """Return whether the value of a Host header is one that no stranger can rebind."""
    name = _name_of(host)
    return _is_address(name) or name in LOCAL or name in {it.lower() for it in names}


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
