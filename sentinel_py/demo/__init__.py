"""The demo: a master is killed, three sentinels promote a replica, a client writes on.

`story` tells it, `group` has the processes, `witnesses` see it from outside, `screen` shows it. The
rules guarded: the sentinels are used as any client uses them, so that the same story can be told
with another sentinel program; and whatever ends the demo (the end of the story, an error, a
signal), no process and no file stays behind.
"""

from sentinel_py.demo.command import main

__all__ = ["main"]
