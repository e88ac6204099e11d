"""`sentinel-py consul`: keeps the master registered as a service of the local Consul agent.

The rule guarded: the service passes its check only while the master is known and we are alive. The
check has a time to live that is renewed; whatever ends us, Consul stops naming the master in time.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import click

from sentinel_py.discovery import command, steering
from sentinel_py.discovery.command import Source
from sentinel_py.discovery.place import Place
from sentinel_py.discovery.steering import TargetError

ANSWER_WITHIN_S = 3.0
ANSWER_SHOWN_BYTES = 200
TTL_MIN_S, TTL_MAX_S = 1, 3600
GONE_AFTER_S = 60  # the least that Consul takes


class Agent:
    """The HTTP API of a Consul agent."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{url}' is not the address of a Consul agent")
        self._url = url
        self._kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._host, self._port = parts.hostname, parts.port
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["X-Consul-Token"] = token

    async def put(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        """Send one request; in a thread, as the standard library's client blocks."""
        await asyncio.to_thread(self._put, path, json.dumps(body) if body else "")

    def _put(self, path: str, body: str) -> None:
        connection = self._kind(self._host, self._port, timeout=ANSWER_WITHIN_S)
        try:
            connection.request("PUT", path, body, self._headers)
            response = connection.getresponse()
            said = response.read(ANSWER_SHOWN_BYTES).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            raise TargetError(f"Consul at {self._url}: {error or 'no answer in time'}") from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise TargetError(f"Consul at {self._url} answers {response.status}: {said}")


class Consul:
    """One service in Consul: the master of one name."""

    def __init__(self, agent: Agent, service: str, ttl_s: int, tags: tuple[str, ...] = ()) -> None:
        self.again_s = ttl_s / 3  # two may be lost
        self._agent = agent
        self._service = service
        self._id = f"{service}-sentinel_py"
        self._ttl_s = ttl_s
        self._tags = tags
        self._registered: Place | None = None
        self._passes = False

    async def lead(self, masters: Mapping[str, Place | None]) -> str:
        ((name, master),) = masters.items()
        if master is None:
            return await self._fail_check(f"{name} has moved")
        if self._registered == master:
            await self._pass_check(f"{name} is {master}")
            return ""
        self._registered = None
        await self._agent.put(
            "/v1/agent/service/register?replace-existing-checks=true", self._entry(master)
        )
        self._registered, self._passes = master, True
        return f"{name} is {master}: registered as {self._service}"

    async def end(self) -> None:
        """Take it back; if Consul does not answer now, the check runs out."""
        with suppress(TargetError):
            await self._agent.put(f"/v1/agent/service/deregister/{quote(self._id, safe='')}")

    def _entry(self, master: Place) -> dict[str, Any]:
        return {
            "ID": self._id,
            "Name": self._service,
            "Address": master.host,
            "Port": master.port,
            "Tags": list(self._tags),
            "Check": {
                "CheckID": self._id,
                "Name": "named by the sentinels",
                "TTL": f"{self._ttl_s}s",
                "Status": "passing",
                "DeregisterCriticalServiceAfter": f"{max(GONE_AFTER_S, self._ttl_s)}s",
            },
        }

    async def _pass_check(self, why: str) -> None:
        await self._update("passing", why)
        self._passes = True

    async def _fail_check(self, why: str) -> str:
        if not self._passes:
            return ""
        await self._update("critical", why)
        self._passes = False
        return f"{why}: {self._service} is critical"

    async def _update(self, status: str, why: str) -> None:
        """Renew the check; an agent that has forgotten it is told everything again."""
        path = f"/v1/agent/check/update/{quote(self._id, safe='')}"
        try:
            await self._agent.put(path, {"Status": status, "Output": why})
        except TargetError:
            self._registered = None
            raise


@click.command()
@click.argument("name")
@click.option(
    "--url",
    envvar="CONSUL_HTTP_ADDR",
    show_envvar=True,
    default="http://127.0.0.1:8500",
    show_default=True,
    help="The HTTP API of the Consul agent.",
)
@click.option("--service", metavar="SERVICE", help="Name of the service; NAME by default.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag of the service.")
@click.option(
    "--ttl",
    metavar="SECONDS",
    type=click.IntRange(TTL_MIN_S, TTL_MAX_S),
    default=15,
    show_default=True,
    help="How long Consul believes us without hearing of us.",
)
@click.option("--token-file", type=click.File(), help="File with a token; or CONSUL_HTTP_TOKEN.")
@command.sources
def main(
    *,
    name: str,
    url: str,
    service: str | None,
    tags: tuple[str, ...],
    ttl: int,
    token_file: Any,
    source: Source,
) -> None:
    """Keep the master NAME registered as a service in Consul; take it back at the end."""
    token = token_file.read().strip() if token_file else os.environ.get("CONSUL_HTTP_TOKEN")
    try:
        agent = Agent(url, token)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--url'") from None
    target = Consul(agent, service or name, ttl, tags)
    command.run("consul", steering.steer(target, source, name))
