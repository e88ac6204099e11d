"""A server that answers like a sentinel or a Redis, as the test has told it to."""

import asyncio

import hiredis

from sentinel_py.discovery.place import Place
from sentinel_py.local import HOST, as_async, eventually_async
from sentinel_py.resp import Error, encode


class RedisLike:
    """A sentinel that names `master` since `epoch`, and a Redis of this `role`, in one."""

    def __init__(self, role="master"):
        self.role = role
        self.epoch, self.master = 0, None
        self.hangs = False
        self.asked_for_master = 0
        self.asked_for_role = 0
        self.received = bytearray()
        self._subscribers = []
        self._writers = set()
        self._tasks = set()

    async def start(self, port=0):
        self._server = await asyncio.start_server(self._serve, HOST, port)
        self.place = Place(HOST, self._server.sockets[0].getsockname()[1])
        return self

    async def stop(self):
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks)
        self._subscribers.clear()

    def names(self, epoch, other):
        """From now on it answers that this one is the master."""
        self.epoch, self.master = epoch, other.place

    def tells(self, old, new, name="mymaster"):
        """It publishes a switch."""
        places = " ".join(f"{one.place.host} {one.place.port}" for one in (old, new))
        for writer in self._subscribers:
            writer.write(encode(["message", "+switch-master", f"{name} {places}"], 2))

    async def is_subscribed(self):
        await eventually_async(as_async(lambda: bool(self._subscribers)))

    async def is_asked_again(self):
        """Wait until it has answered twice more, so that the first of them was dealt with."""
        wanted = self.asked_for_master + 2
        await eventually_async(as_async(lambda: self.asked_for_master >= wanted))

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.add(writer)
        parser = hiredis.Reader()
        try:
            while data := await reader.read(65536):
                self.received += data
                parser.feed(data)
                while words := parser.gets():
                    if not self.hangs:
                        writer.write(encode(self._answer(writer, *words), 2))
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, writer, command, *words):
        match command, words:
            case b"SENTINEL", [b"MASTER", _] if self.master:
                return ["name", "mymaster", "config-epoch", str(self.epoch)]
            case b"SENTINEL", [b"GET-MASTER-ADDR-BY-NAME", _] if self.master:
                self.asked_for_master += 1
                return [self.master.host, str(self.master.port)]
            case b"SENTINEL", _:
                return Error("ERR No such master with that name")
            case b"SUBSCRIBE", [channel]:
                self._subscribers.append(writer)
                return ["subscribe", channel, 1]
            case b"ROLE", _:
                self.asked_for_role += 1
                return [self.role]
            case _:
                return "OK"
