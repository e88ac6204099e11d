"""A headless Chromium that a test looks through: opens a page, asks it, clicks, takes pictures.

It is driven by the DevTools protocol over a websocket, as people's tools do it.
"""

import asyncio
import base64
import itertools
import json
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager

import aiohttp

from sentinel_py.local import eventually_async

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
STARTS_WITHIN_MS = 60_000
ANSWERS_WITHIN_S = 30
END_WITHIN_S = 10

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def chromium():
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One tab."""

    def __init__(self, socket):
        self._socket = socket
        self._ids = itertools.count(1)
        self.complaints = []  # what the page's console has said, and what failed in it

    async def call(self, method, **params):
        """Send one command and wait for its result."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            while True:
                message = json.loads((await self._socket.receive()).data)
                if message.get("id") == number:
                    assert "error" not in message, message
                    return message["result"]
                self._note(message)

    def _note(self, message):
        if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(message["params"])

    async def resize(self, width, height, *, is_phone=False):
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if is_phone else 1,
            mobile=is_phone,
        )

    async def open(self, url):
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def ask(self, script):
        """The value of a JavaScript expression in the page."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait(self, script, within_ms=STARTS_WITHIN_MS):
        """Wait until the expression has a value that is true; the value."""
        return await eventually_async(lambda: self.ask(script), within_ms, script)

    async def picture(self, path):
        """Save what can be seen as a PNG."""
        taken = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(taken["data"]))


@asynccontextmanager
async def browsing(folder):
    """A page of a new Chromium, which is ended with all that it has started."""
    profile = folder / "profile"
    process = subprocess.Popen(
        [chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TZ": "UTC"},
        start_new_session=True,
    )
    try:
        place = profile / "DevToolsActivePort"

        async def port():
            return place.exists() and place.read_text().partition("\n")[0]

        found = await eventually_async(port, STARTS_WITHIN_MS, "Chromium")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{found}/json/list") as answer:
                targets = await answer.json()
            url = next(it["webSocketDebuggerUrl"] for it in targets if it["type"] == "page")
            async with session.ws_connect(url, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
