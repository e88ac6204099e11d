"""A way between two processes that takes its time: a relay in a thread of its own."""

import asyncio
import threading
from contextlib import suppress

from sentinel_py.local import HOST


class Far:
    """What comes to ``port`` arrives at ``target`` after ``delay_s``, and the answers likewise."""

    def __init__(self, target, delay_s):
        self.port = 0
        self._target, self._delay_s = target, delay_s
        self._writers = []
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listens.wait(10)

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, HOST, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._listens.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self):
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _accept(self, reader, writer):
        try:
            there, back = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.close()
            return
        self._writers += writer, back
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(65_536):
                self._loop.call_later(self._delay_s, writer.write, data)
        self._loop.call_later(self._delay_s, writer.close)
