"""Follows who is the master of a name, by asking any sentinels, those of Redis included.

Each sentinel is subscribed to and asked again every second; one that hangs holds up no other. What
they say is judged in `belief`. The rule guarded: a node counts as the master only after it has said
so itself (ROLE), and the one before it no longer does from the instant in which a switch is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sentinel_py.discovery.belief import Belief, View
from sentinel_py.discovery.place import Place

ASK_EVERY_S = 1.0
ANSWER_WITHIN_S = 1.0
RETRY_EVERY_S = 0.5
ROLE_EVERY_S = 0.05  # a replica that is being promoted is a master a moment later
SWITCH = "+switch-master"
REDIS: Callable[..., Any] = Redis  # redis-py's own types refuse options that are put together
# The waiting is done here. redis-py's own socket_timeout can swallow a cancellation on Python 3.11.
_PATIENCE: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": None}
_FAILURES = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Login:
    """User and password, and the files of TLS, as redis-cli's options have them."""

    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def client(self, place: Place) -> Any:
        tls = {
            "ssl": True,
            "ssl_ca_certs": self.ca_file,
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
            "ssl_check_hostname": False,  # Redis verifies chains, not host names
        }
        return REDIS(
            host=place.host,
            port=place.port,
            username=self.user,
            password=self.password,
            protocol=2,
            decode_responses=True,
            **(tls if self.tls else {}),
            **_PATIENCE,
        )


class Follower:
    """Tells ``on_master`` each new master of a name once, and None while there is none known."""

    def __init__(
        self,
        name: str,
        sentinels: Sequence[Place],
        on_master: Callable[[Place | None], None],
        complain: Callable[[str], None],
        *,
        sentinel_login: Login | None = None,
        redis_login: Login | None = None,
    ) -> None:
        self.name = name
        self._sentinels = tuple(dict.fromkeys(sentinels))
        self._on_master = on_master
        self._complain = complain
        self._sentinel_login = sentinel_login or Login()
        self._redis_login = redis_login or Login()
        self._belief = Belief(len(self._sentinels))
        self._candidate: Place | None = None
        self._confirmed = False
        self._group = asyncio.TaskGroup()
        self._confirming: asyncio.Task[None] | None = None
        self._failures: dict[Place, str] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        async with self._group:
            for sentinel in self._sentinels:
                self._group.create_task(self._attend(sentinel))

    async def _attend(self, sentinel: Place) -> None:
        while True:
            try:
                await self._listen(sentinel)
            except _FAILURES as error:
                self._fail(sentinel, f"sentinel {sentinel}: {_reason(error)}")
            self._belief.forget(sentinel)
            self._judge()
            await asyncio.sleep(RETRY_EVERY_S)

    async def _listen(self, sentinel: Place) -> None:
        login = self._sentinel_login
        async with login.client(sentinel) as client, client.pubsub() as channel:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await channel.subscribe(SWITCH)
            while True:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    view = await ask(client, self.name)
                self._failures.pop(sentinel, None)
                self._belief.say(sentinel, view)
                self._judge()
                # The confirmation of the subscription comes here, too: what was told before it is
                # in the answer to the next question.
                message = await channel.get_message(timeout=ASK_EVERY_S)
                if message and message["type"] == "message":
                    self._hear(sentinel, message["data"])

    def _hear(self, sentinel: Place, text: str) -> None:
        """Take a notice: ``name old-host old-port new-host new-port``."""
        match text.split(" "):
            case [self.name, _, _, host, port]:
                with suppress(ValueError):  # the answer that is asked for next says it, too
                    self._belief.say_switch(sentinel, Place(host, int(port)))
                self._judge()

    def _judge(self) -> None:
        """Turn to whom the sentinels name; if they name nobody, nothing is known to be wrong."""
        master = self._belief.master()
        if master is None or master == self._candidate:
            return
        self._candidate = master
        if self._confirmed:
            self._confirmed = False
            self._on_master(None)
        self._confirming = self._group.create_task(self._confirm(master))

    async def _confirm(self, candidate: Place) -> None:
        """Ask until it says that it is the master, or another one is named.

        It ends by itself then: redis-py loses a connection that is cancelled while it is opened.
        """
        while not await self._is_master(candidate):
            await asyncio.sleep(ROLE_EVERY_S)
            if not self._is_confirming():
                return
        if not self._is_confirming():
            return
        self._confirmed = True
        self._failures.pop(candidate, None)
        self._on_master(candidate)

    def _is_confirming(self) -> bool:
        """Whether the task that asks this is the latest one."""
        return asyncio.current_task() is self._confirming

    async def _is_master(self, place: Place) -> bool:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), self._redis_login.client(place) as client:
                role = (await client.execute_command("ROLE"))[0]
        except _FAILURES as error:
            if self._is_confirming():
                self._fail(place, f"{self.name} should be {place}: {_reason(error)}")
            return False
        if role != "master" and self._is_confirming():
            self._fail(place, f"{self.name} should be {place}, which says that it is a {role}")
        return bool(role == "master")

    def _fail(self, place: Place, text: str) -> None:
        """Complain once about what goes on being wrong."""
        if self._failures.get(place) != text:
            self._failures[place] = text
            self._complain(text)


async def ask(client: Any, name: str) -> View:
    """Who is the master. The epoch is asked first: a switch in between makes it one too low."""
    row = await client.execute_command("SENTINEL", "MASTER", name)
    address = await client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    if not address:
        raise RedisError("gives no address of the master")
    try:
        fields = dict(zip(row[::2], row[1::2], strict=True))
        return View(int(fields["config-epoch"]), Place(address[0], int(address[1])))
    except (KeyError, TypeError, ValueError):
        raise RedisError("answers what no sentinel does") from None


def _reason(error: Exception) -> str:
    return str(error) or "no answer in time"
