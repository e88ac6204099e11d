"""What every page shares: who may ask, how a body is read, how an order is given, what errors say.

The rule it guards: whatever goes wrong is a status that fits and ``{"error": text}``, and a write
leaves here only for somebody who has proved to be allowed to.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from sentinel_py.core import checks
from sentinel_py.core.messages import Order, Refused
from sentinel_py.core.model import State
from sentinel_py.node import Outcome
from sentinel_py.web import names
from sentinel_py.web.access import Access
from sentinel_py.web.guesses import Guesses
from sentinel_py.web.picture import Json, Object

MAX_BODY_BYTES = 64 * 1024
"""The longest body is a list of some thousand addresses."""

BODY_WITHIN_S = 10.0
"""A client that sends its body drop by drop holds a connection no longer."""

ORDER_WITHIN_S = 30.0
"""A coordinated failover waits for the master's agreement; the log's majority answers in two."""

READING = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)

_STATUSES = {"INPROG": 409, "NOGOODSLAVE": 409, "NOQUORUM": 503}
_TEXT_STATUSES = {"No such master with that name": 404, "Duplicate master name.": 409}
_NO_NAME = (
    "Pages under this name may be anybody's: use the address, or set sentinel http-host <name>,"
    " or sentinel http-token, in the config file"
)
_HOW_TO_LOG_IN = {"WWW-Authenticate": 'Basic realm="sentinel", charset="UTF-8"'}

logger = logging.getLogger(__name__)


class Orders(Protocol):
    """What takes orders and has the state: the node."""

    def settled(self) -> State: ...
    def now(self) -> int: ...
    def order(
        self, make: Callable[[int], Order], render: Callable[[Outcome], Outcome]
    ) -> Outcome | asyncio.Future[Outcome]: ...


class Problem(Exception):  # noqa: N818 - an answer, not a fault
    """What is wrong with a request, as a status and one line."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


def as_json(value: Json, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)


def error(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=headers)


def natural(text: str, refusal: str) -> int:
    """A number from 0 on, as ids and counts are; anything else is refused with 400."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Problem(400, refusal)
    return int(text)


class Gatekeeper:
    """What stands before every page; ``failed`` is told the status of each refused login."""

    def __init__(
        self,
        access: Access,
        guesses: Guesses,
        failed: Callable[[int], None],
        own_names: Sequence[str] = (),
    ) -> None:
        self._access = access
        self._names = own_names
        self._guesses = guesses
        self._failed = failed

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            await self._admit(request)
            return await handler(request)
        except Problem as problem:
            return error(problem.status, str(problem), problem.headers)
        except Refused as refused:
            return error(_status_of(refused), refused.text)
        except web.HTTPException as failure:
            return error(failure.status, _text_of(failure, request), _allowed(failure))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("HTTP: %s %s", request.method, request.path)
            return error(500, "Internal error, see the log")

    async def _admit(self, request: web.Request) -> None:
        is_write = request.method not in READING
        if self._access.is_set:
            await self._check_login(
                request.remote or "", request.headers.get(hdrs.AUTHORIZATION, "")
            )
        elif is_write:
            raise Problem(403, "Writes need sentinel http-token or http-user in the config file")
        elif names.is_browser(request.headers) and not names.is_own(request.host, self._names):
            raise Problem(403, _NO_NAME)
        # A browser that has logged in here adds the login to what other sites' pages send, too.
        origin = request.headers.get(hdrs.ORIGIN)
        if is_write and origin is not None and origin.partition("://")[2] != request.host:
            raise Problem(403, "Writes from the pages of other sites are refused")

    async def _check_login(self, address: str, proof: str) -> None:
        if proof and (wait_s := self._guesses.wait_s(address)):
            await self._check_slowly(address, proof, wait_s)
            return
        if self._access.admits(proof):
            self._guesses.succeeded(address)
            return
        if proof:
            self._failed(401)
            self._guesses.failed(address, proof)
        raise Problem(401, "Wrong token, or wrong name or password", _HOW_TO_LOG_IN)

    async def _check_slowly(self, address: str, proof: str, wait_s: int) -> None:
        """Somebody at this address guesses: who knows the password comes in all the same."""
        turn_s = self._guesses.turn_s(address)
        if turn_s is not None:
            await asyncio.sleep(turn_s)
            if self._access.admits(proof):
                return
        self._failed(429)
        raise Problem(429, "Too many wrong logins", {hdrs.RETRY_AFTER: str(wait_s)})


def _status_of(refused: Refused) -> int:
    return _STATUSES.get(refused.code) or _TEXT_STATUSES.get(refused.text, 400)


def _text_of(failure: web.HTTPException, request: web.Request) -> str:
    match failure.status:
        case 404:
            return f"Nothing is at {request.path}"
        case 405:
            return f"{request.method} is not possible here"
        case 413:
            return f"The body is longer than {MAX_BODY_BYTES} bytes"
        case _:
            return failure.reason


def _allowed(failure: web.HTTPException) -> dict[str, str]:
    allow = failure.headers.get(hdrs.ALLOW)
    return {hdrs.ALLOW: allow} if allow else {}


async def read_body(request: web.Request) -> bytes:
    """The body; one that is too long is refused by aiohttp, as soon as it is."""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.read()
    except TimeoutError:
        raise Problem(408, f"The body did not come within {BODY_WITHIN_S:g} s") from None


async def read_object(request: web.Request) -> Object:
    """The body, which has to be a JSON object; an empty one has no members."""
    try:
        value = json.loads(await read_body(request) or b"{}")
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON") from None
    if not isinstance(value, dict):
        raise Problem(400, "The body is not a JSON object")
    if not checks.is_storable(text):
        raise Problem(400, "The body has half of a surrogate pair, which no file can hold")
    return value


async def give(node: Orders, make: Callable[[int], Order]) -> Outcome:
    """Give the node an order, on the way that clients' commands take; raises its refusal."""
    answer = node.order(make, lambda outcome: outcome)
    if isinstance(answer, asyncio.Future):
        try:
            answer = await asyncio.wait_for(answer, ORDER_WITHIN_S)
        except TimeoutError:
            raise Problem(504, "No answer yet: the order may still be carried out") from None
    if isinstance(answer, Refused):
        raise Refused(answer.text, answer.code)
    return answer
