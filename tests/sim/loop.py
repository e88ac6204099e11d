"""Virtual time, and processes that live in it: each has an event loop of its own.

Here stands when a callback runs, never what it does. The rule it guards: nothing but the
scheduler's heap decides the order of things, so that one seed gives one run. No clock of the real
machine is read, and no process runs while it is stopped, stalled or dead.

Times are int microseconds. A process has a clock of its own, which may jump against the world's.
"""

import asyncio
import heapq
import inspect
from asyncio import events
from collections import deque

from .disk import PowerCut


class Scheduler:
    """What is due in the world, in the order of (time, sequence)."""

    def __init__(self):
        self.now_us = 0
        self._heap = []
        self._made = 0

    def at(self, us, callback, *args):
        assert us >= self.now_us, "the past cannot be changed"
        self._made += 1
        heapq.heappush(self._heap, (us, self._made, callback, args))

    def after(self, us, callback, *args):
        self.at(self.now_us + us, callback, *args)

    def run_until(self, us):
        heap = self._heap
        while heap and heap[0][0] <= us:
            self.now_us, _, callback, args = heapq.heappop(heap)
            callback(*args)
        self.now_us = us


class Handle:
    """A callback that a loop has been asked for."""

    __slots__ = ("_args", "_callback", "_context", "_when_s", "is_cancelled")

    def __init__(self, callback, args, context, when_s=None):
        self._callback = callback
        self._args = args
        self._context = context
        self._when_s = when_s
        self.is_cancelled = False

    def cancel(self):
        self.is_cancelled = True
        self._callback = self._args = None

    def cancelled(self):
        return self.is_cancelled

    def when(self):
        return self._when_s

    def run(self):
        if self.is_cancelled:
            return
        if self._context:
            self._context.run(self._callback, *self._args)
        else:
            self._callback(*self._args)


class Process:
    """One life of a program, from its start to its end. A restart makes a new one.

    ``rng`` decides what the system leaves open: whether a process that wakes up sees first its
    timers (as under uvloop) or what has arrived (as under asyncio), and how slow a slow one is.
    """

    def __init__(self, scheduler, network, host, name, rng):
        self.scheduler = scheduler
        self.network = network
        self.host = host
        self.name = name
        self.loop = Loop(self)
        self.endpoints = {}  # open sockets, in the order in which they were opened
        self.servers = {}
        self.is_alive = True
        self.slow_us = 0  # a callback may take up to this long
        self._rng = rng
        self._stops = 0
        self._stalled_until_us = 0
        self._failure = None
        self._held = deque()
        self._timers = []
        self._timers_made = 0
        self._armed_us = None
        self._skew_us = 0
        self.disturbed_us = -(10**12)  # when it last was not what it should be

    @property
    def now_us(self):
        """The time by this process's own clock."""
        return self.scheduler.now_us + self._skew_us

    @property
    def is_running(self):
        if not self.is_alive or self._stops:
            return False
        return self.scheduler.now_us >= self._stalled_until_us

    # What befalls it

    def kill(self):
        """End it as SIGKILL does: the kernel closes its sockets."""
        self._die()
        self.network.close_all(self)

    def vanish(self):
        """End it as a power failure does: nobody is told."""
        self._die()
        self.network.forget_all(self)

    def _die(self):
        self.is_alive = False
        self._held.clear()
        self._timers.clear()
        self.loop.drop_tasks()

    def stop(self):
        self._stops += 1

    def resume(self):
        self.disturbed_us = self.scheduler.now_us
        self._stops -= 1
        self._catch_up()

    def stall(self, us):
        """Be busy for a while, as with a disk that takes its time."""
        until_us = self.scheduler.now_us + us
        if us and until_us > self._stalled_until_us:
            self._stalled_until_us = self.disturbed_us = until_us
            self.scheduler.at(until_us, self._catch_up)

    def jump(self, us):
        """Set the clock forward, or back."""
        self._skew_us += us
        self.disturbed_us = self.scheduler.now_us
        self._armed_us = None
        self._arm()

    # Callbacks

    def soon(self, handle):
        self.scheduler.at(self.scheduler.now_us, self.deliver, handle)

    def deliver(self, handle):
        """Run a handle now, or hold it until the process can."""
        if self.is_ready:
            self.run(handle.run)
        elif self.is_alive:
            self._held.append(handle)

    @property
    def is_ready(self):
        """Whether a callback would run now, and not wait behind others."""
        return self.is_running and not self._held

    def fail(self, error):
        """Note what nobody has caught; it ends the run when the callback at work has ended."""
        if self.is_alive:
            self._failure = error

    def set_timer(self, due_us, handle):
        self._timers_made += 1
        heapq.heappush(self._timers, (due_us, self._timers_made, handle))
        self._arm()

    def _arm(self):
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if timers:
            due_us = max(timers[0][0] - self._skew_us, self.scheduler.now_us)
            if self._armed_us is None or due_us < self._armed_us:
                self._armed_us = due_us
                self.scheduler.at(due_us, self._ring, due_us)

    def _ring(self, armed_us):
        if armed_us != self._armed_us:
            return
        self._armed_us = None
        if self.is_running:
            while self.is_running and (handle := self._due_timer()):
                self.run(handle.run)
            self._arm()

    def _due_timer(self):
        timers = self._timers
        while timers and (timers[0][2].is_cancelled or timers[0][0] <= self.now_us):
            _, _, handle = heapq.heappop(timers)
            if not handle.is_cancelled:
                return handle
        return None

    def _catch_up(self):
        """Run what has become due while the process stood still."""
        if not self.is_running:
            return
        if self._rng.random() < 0.5:
            while self.is_running and (handle := self._due_timer()):
                self.run(handle.run)
        while self.is_running and self._held:
            self.run(self._held.popleft().run)
        if self.is_running:
            self._arm()

    def run(self, callback):
        """Run a callback inside this process."""
        events._set_running_loop(self.loop)
        try:
            callback()
        except PowerCut:
            assert not self.is_alive, "a power cut ends the process"
        finally:
            events._set_running_loop(None)
        if self._failure:
            raise self._failure
        if self.slow_us:
            self.stall(self._rng.randrange(self.slow_us))


class Loop(asyncio.AbstractEventLoop):
    """What the product uses of asyncio. An exception that a callback lets out ends the run."""

    def __init__(self, process):
        self._process = process
        self._tasks = {}

    def time(self):
        return self._process.now_us / 1e6

    def call_soon(self, callback, *args, context=None):
        handle = Handle(callback, args, context)
        self._process.soon(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        handle = Handle(callback, args, context, when)
        self._process.set_timer(round(when * 1e6), handle)
        return handle

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None):
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def drop_tasks(self):
        """Let tasks end with their process, and not some time later with a warning."""
        for task in self._tasks:
            task._log_destroy_pending = False
            if inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_RUNNING:
                task.get_coro().close()
        self._tasks.clear()

    async def create_connection(self, factory, host, port, *, ssl=None, local_addr=None):
        assert ssl is None, "TLS is not modelled"
        assert local_addr is None, "a host has one address"
        endpoint = await self._process.network.connect(self._process, host, port)
        protocol = factory()
        endpoint.begin(protocol)
        return endpoint, protocol

    async def create_server(self, factory, host, port):
        return self._process.network.listen(self._process, factory, host, port)

    def get_debug(self):
        return False

    def is_running(self):
        return self._process.is_running

    def is_closed(self):
        return not self._process.is_alive

    def call_exception_handler(self, context):
        self._process.fail(context.get("exception") or AssertionError(context["message"]))
