"""The decision core: a pure state machine behind one verb, ``Sentinel.step(now, input)``.

Nothing in this package reads a clock, opens a socket, draws from a module-level random source,
writes a log line or imports from outside the package. What happened comes in as an ``Input``; what
is to be done goes out as a list of ``Effect``; all times are int milliseconds on a monotonic clock.

The caller's duties:

1. Call ``start(now)`` once, then ``step(now, input)`` for each thing that happens.
2. Carry the returned effects out in order. ``Save`` comes first in its list, and nothing behind it
   may leave before the state is on disk.
3. Call ``step(now, Wake())`` when ``wake_at`` is reached.
"""
