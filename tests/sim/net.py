"""Connections between hosts: ordered bytes that take their time, get stuck, or never arrive.

Modelled is what TCP shows to programs: delay, lost segments that are sent again and hold up those
behind them, segments split and merged, a cut in one direction
(bytes wait and are sent again when it heals), refusal, FIN and RST, hosts that vanish. The kernel
of a host works on while its processes stand still. The rule it guards: what arrives is what was
sent, in order, without a gap; everything else about it may be as bad as a network can make it.
"""

import asyncio
import socket
import struct
from collections import deque

from .loop import Handle

SYN_PAUSES_S = 1, 2, 4, 8, 16, 32, 64
RESEND_FIRST_US = 200_000
RESEND_MAX_US = 5_000_000
"""TCP backs off while a cut lasts, so data moves again only some time after it has healed."""

KERNEL_BUFFER_BYTES = 256 * 1024
READ_MAX_BYTES = 256 * 1024
HIGH_MARK_BYTES = 64 * 1024

USUAL_DELAY_US = (50, 300)

NO_LINGER = struct.pack("ii", 1, 0)
_FIN = object()


class Network:
    """All hosts and what lies between them. ``rng`` draws delays and where segments are split."""

    def __init__(self, scheduler, rng):
        self.scheduler = scheduler
        self.rng = rng
        self.delay_us = USUAL_DELAY_US  # least and most
        self.splits = False
        self.disturbed_us = -(10**12)  # when it last was slower than usual
        self.loss = 0.0  # how likely a segment is lost; TCP sends it again
        self._cuts = {}  # (from, to) -> how many reasons there are, and since when
        self._gone = {}  # hosts without power
        self._listeners = {}
        self._stuck = {}  # pipes with something to send again, in order
        self._ports_given = 0

    # The ways

    def cut(self, source, target):
        count, since_us = self._cuts.get((source, target), (0, self.scheduler.now_us))
        self._cuts[source, target] = count + 1, since_us

    def heal(self, source, target):
        count, since_us = self._cuts.pop((source, target))
        if count > 1:
            self._cuts[source, target] = count - 1, since_us
        else:
            self._resend(self.scheduler.now_us - since_us)

    def power_off(self, host):
        self._gone[host] = self.scheduler.now_us

    def power_on(self, host):
        """Nothing happens to a host that is on."""
        if host in self._gone:
            self._resend(self.scheduler.now_us - self._gone.pop(host))

    def is_open(self, source, target):
        return (
            (source, target) not in self._cuts
            and source not in self._gone
            and target not in self._gone
        )

    def closed_since(self, source, target):
        """Since when nothing has come through that way; None if it does."""
        since = [it for it in (self._gone.get(source), self._gone.get(target)) if it is not None]
        if (source, target) in self._cuts:
            since.append(self._cuts[source, target][1])
        return min(since, default=None)

    def _resend(self, cut_us):
        stuck, self._stuck = self._stuck, {}
        for pipe in stuck:
            pipe.resend(1 + self.rng.randrange(min(cut_us, RESEND_MAX_US) + 1))

    def remember_stuck(self, pipe):
        self._stuck[pipe] = None

    def draw_delay_us(self):
        least, most = self.delay_us
        delay_us = least + int((most - least) * self.rng.random())
        pause_us = RESEND_FIRST_US
        if self.loss or most > USUAL_DELAY_US[1]:
            self.disturbed_us = self.scheduler.now_us
        while self.loss and self.rng.random() < self.loss:
            delay_us += pause_us
            pause_us *= 2
        return delay_us

    # Sockets

    def listen(self, process, factory, host, port):
        if (host, port) in self._listeners:
            raise OSError(98, "Address already in use")
        listener = Listener(self, process, factory, (host, port))
        self._listeners[host, port] = listener
        process.servers[listener] = None
        return listener

    def unlisten(self, listener):
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    def connect(self, process, host, port):
        self._ports_given += 1
        local = (process.host, 32768 + self._ports_given % 28000)
        attempt = _Attempt(self, process, local, (host, port))
        attempt.begin()
        return attempt.outcome

    def listener_at(self, address):
        return self._listeners.get(address)

    def close_all(self, process):
        """What the kernel does for a process that has ended."""
        for listener in list(process.servers):
            self.unlisten(listener)
        for endpoint in list(process.endpoints):
            endpoint.close_socket()

    def forget_all(self, process):
        for listener in list(process.servers):
            self.unlisten(listener)
        for endpoint in list(process.endpoints):
            endpoint.vanish()


class Listener:
    """A listening socket. The kernel accepts for it, even while its process stands still."""

    def __init__(self, network, process, factory, address):
        self._network = network
        self.process = process
        self.factory = factory
        self.address = address

    def close(self):
        self._network.unlisten(self)
        self.process.servers.pop(self, None)

    async def wait_closed(self):
        pass


class _Attempt:
    """A connect that is under way; the first answer counts."""

    def __init__(self, network, process, local, remote):
        self._network = network
        self._process = process
        self._local = local
        self._remote = remote
        self._is_answered = False
        self.outcome = process.loop.create_future()

    def begin(self):
        self._send_syn(0)

    def _send_syn(self, tries):
        if self._is_answered or self.outcome.done() or not self._process.is_alive:
            return
        if tries == len(SYN_PAUSES_S):
            self._answer(self._fail, TimeoutError(110, "Connection timed out"))
            return
        self._travel(self._local[0], self._remote[0], self._syn_arrives)
        self._network.scheduler.after(SYN_PAUSES_S[tries] * 1_000_000, self._send_syn, tries + 1)

    def _travel(self, source, target, callback, *args):
        if self._network.is_open(source, target):
            delay_us = self._network.draw_delay_us()
            self._network.scheduler.after(delay_us, callback, *args)

    def _syn_arrives(self):
        local, remote = self._local[0], self._remote[0]
        if self._network.is_open(local, remote):
            listener = self._network.listener_at(self._remote)
            self._travel(remote, local, self._accepted if listener else self._refused, listener)

    def _refused(self, _listener):
        self._answer(self._fail, ConnectionRefusedError(111, "Connection refused"))

    def _accepted(self, listener):
        if self._is_answered or not self._process.is_alive or not listener.process.is_alive:
            return
        near = Endpoint(self._network, self._process, self._local, listener.address)
        far = Endpoint(self._network, listener.process, listener.address, self._local)
        near.join(far)
        far.join(near)
        listener.process.soon(Handle(far.begin_accepted, (listener,), None))
        self._answer(self._finish, near)

    def _answer(self, callback, *args):
        """Tell the process, which hears it when it runs."""
        if not self._is_answered:
            self._is_answered = True
            self._process.soon(Handle(callback, args, None))

    def _finish(self, endpoint):
        if self.outcome.done():
            endpoint.close_socket()
        else:
            self.outcome.set_result(endpoint)

    def _fail(self, error):
        if not self.outcome.done():
            self.outcome.set_exception(error)


class _Pipe:
    """One direction of a connection. Each segment needs one arrival; arrivals happen in order."""

    def __init__(self, network, source, target, receiver):
        self._network = network
        self._way = source, target
        self._receiver = receiver
        self._segments = deque()
        self._last_at_us = 0
        self._stuck = 0
        self.is_lost = False  # everything vanishes from now on, and nobody is told
        self.bytes_under_way = 0

    def send(self, segment):
        if segment is not _FIN:
            self.bytes_under_way += len(segment)
        self._segments.append(segment)
        self._schedule(self._network.draw_delay_us(), 1)

    def _schedule(self, delay_us, arrivals):
        scheduler = self._network.scheduler
        self._last_at_us = max(self._last_at_us, scheduler.now_us + delay_us)
        for _ in range(arrivals):
            scheduler.at(self._last_at_us, self._arrive)

    def resend(self, delay_us):
        arrivals, self._stuck = self._stuck, 0
        self._schedule(delay_us, arrivals)

    def _arrive(self):
        if self.is_lost:
            return
        if self._stuck or not self._network.is_open(*self._way):
            self._stuck += 1
            self._network.remember_stuck(self)
            return
        segment = self._segments.popleft()
        if segment is _FIN:
            self._receiver.take_fin()
        else:
            self._receiver.take(segment)

    def purge(self):
        """Send nothing again: what is stuck is lost, and all that would come behind it."""
        self.is_lost = self._stuck > 0 or not self._network.is_open(*self._way)

    def reset(self):
        """An RST overtakes nothing that matters, and is never sent again."""
        if not self.is_lost and self._network.is_open(*self._way):
            delay_us = self._network.draw_delay_us()
            self._network.scheduler.after(delay_us, self._receiver.take_reset)


class Endpoint(asyncio.Transport):
    """A connected socket and its asyncio transport."""

    def __init__(self, network, process, local, remote):
        super().__init__({"sockname": local, "peername": remote, "socket": _Socket(self)})
        self._network = network
        self.process = process
        self.local = local
        self.remote = remote
        self.is_closed = False  # the file descriptor is gone
        self._protocol = None
        self._out = None
        self._peer = None
        self._received = bytearray()
        self._fin_received = False
        self._reads = True
        self._read_is_due = False
        self._is_closing = False
        self._is_writing_paused = False
        self._high = HIGH_MARK_BYTES
        self._low = HIGH_MARK_BYTES // 4
        self._lost_at_us = None
        self.user_timeout_us = 0
        self.lingers = True
        self._watches_acks = False
        process.endpoints[self] = None

    def join(self, peer):
        self._peer = peer
        self._out = _Pipe(self._network, self.local[0], self.remote[0], peer)

    def begin(self, protocol):
        self._protocol = protocol
        protocol.connection_made(self)
        self._read_soon()

    def begin_accepted(self, listener):
        if not self.is_closed:
            self.begin(listener.factory())

    def lose_way(self):
        """Have everything that is sent from here vanish, as behind a firewall that forgot us."""
        self._out.is_lost = True
        self._lost_at_us = self._network.scheduler.now_us

    # The kernel's side

    def _watch_acks(self):
        """TCP_USER_TIMEOUT: give up what was not acknowledged for so long."""
        if self.user_timeout_us and not self._watches_acks:
            self._watches_acks = True
            self._network.scheduler.after(
                self.user_timeout_us, self._check_acks, self._network.scheduler.now_us
            )

    def _check_acks(self, written_at_us):
        self._watches_acks = False
        since_us = self._unacknowledged_since()
        if since_us is None or self.is_closed:
            return
        if self._network.scheduler.now_us >= max(since_us, written_at_us) + self.user_timeout_us:
            self._shut()
            self._lose(TimeoutError(110, "Connection timed out"))
        else:
            self._watch_acks()

    def _unacknowledged_since(self):
        """Since when the way there or the way back is closed."""
        network, (here, _), (there, _) = self._network, self.local, self.remote
        since = (
            network.closed_since(here, there),
            network.closed_since(there, here),
            self._lost_at_us,
            self._peer._lost_at_us,
        )
        return min((it for it in since if it is not None), default=None)

    def take(self, data):
        if self.is_closed:
            self._out.reset()
            return
        self._received += data
        if self._read_is_due or not self._reads or not self._protocol:
            return
        if self.process.is_ready:
            self.process.run(self._read)
        else:
            self._read_soon(self.process.deliver)

    def take_fin(self):
        if not self.is_closed:
            self._fin_received = True
            self._read_soon(self.process.deliver)

    def take_reset(self):
        if not self.is_closed:
            self._shut()
            self._lose(ConnectionResetError(104, "Connection reset by peer"))

    def close_socket(self):
        """Close the file descriptor: FIN behind what was sent, or RST if something is unread.

        With SO_LINGER at zero an RST in any case, and what was not received is given up.
        """
        if not self.is_closed:
            self._shut()
            if not self.lingers:
                self._out.purge()
            if self._received or not self.lingers:
                self._out.reset()
            else:
                self._out.send(_FIN)

    def vanish(self):
        """Be gone with the host; what is sent here once it is back meets an RST."""
        self._shut()
        self._out.is_lost = True
        self.join(self._peer)

    def _shut(self):
        self.is_closed = True
        self.process.endpoints.pop(self, None)

    def _lose(self, error):
        if self._protocol:
            self.process.soon(Handle(self._protocol.connection_lost, (error,), None))

    # The process's side

    def _read_soon(self, ask=None):
        is_wanted = self._protocol and self._reads and not self._read_is_due
        if is_wanted and (self._received or self._fin_received):
            self._read_is_due = True
            (ask or self.process.soon)(Handle(self._read, (), None))

    def _read(self):
        self._read_is_due = False
        if self.is_closed or self._is_closing or not self._reads:
            return
        if self._received:
            self._read_data()
        elif self._fin_received and not self._protocol.eof_received():
            self.close()

    def _read_data(self):
        size = min(len(self._received), READ_MAX_BYTES)
        if self._network.splits:
            size = self._network.rng.randint(1, size)
        data = bytes(self._received[:size])
        del self._received[:size]
        self._peer.sent_was_read(size)
        self._protocol.data_received(data)
        if self._received or self._fin_received:
            self._read_soon()

    def sent_was_read(self, size):
        self._out.bytes_under_way -= size
        if not self._is_writing_paused and not self._is_closing:
            return
        unsent = self.get_write_buffer_size()
        if self._is_writing_paused and unsent <= self._low and not self.is_closed:
            self._is_writing_paused = False
            self.process.soon(Handle(self._protocol.resume_writing, (), None))
        if self._is_closing and not unsent and not self.is_closed:
            self._close_now()

    # asyncio.Transport

    def write(self, data):
        if self.is_closed or self._is_closing or not data:
            return
        self._out.send(bytes(data))
        self._watch_acks()
        if not self._is_writing_paused and self.get_write_buffer_size() > self._high:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self):
        return max(0, self._out.bytes_under_way - KERNEL_BUFFER_BYTES)

    def get_write_buffer_limits(self):
        return self._low, self._high

    def set_write_buffer_limits(self, high=None, low=None):
        self._high = HIGH_MARK_BYTES if high is None else high
        self._low = self._high // 4 if low is None else low

    def pause_reading(self):
        self._reads = False

    def resume_reading(self):
        self._reads = True
        self._read_soon()

    def is_reading(self):
        return self._reads

    def is_closing(self):
        return self._is_closing or self.is_closed

    def close(self):
        if not self.is_closing():
            self._is_closing = True
            if not self.get_write_buffer_size():
                self._close_now()

    def abort(self):
        if not self.is_closed:
            self._close_now()

    def _close_now(self):
        self._is_closing = True
        if not self.is_closed:
            self.close_socket()
            self._lose(None)

    def set_protocol(self, protocol):
        self._protocol = protocol

    def get_protocol(self):
        return self._protocol

    def can_write_eof(self):
        return False


class _Socket:
    """What is left of a socket when there is none: of its options, two mean something."""

    family = socket.AF_INET

    def __init__(self, endpoint):
        self._endpoint = endpoint

    def setsockopt(self, level, name, value):
        if (level, name) == (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT):
            self._endpoint.user_timeout_us = value * 1000
        elif (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._endpoint.lingers = value != NO_LINGER

    def fileno(self):
        return 0
