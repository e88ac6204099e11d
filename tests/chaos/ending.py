"""Told to end, a run ends in order: one KeyboardInterrupt unwinds it, and no further word does.

The rule it guards: the interrupt arrives. Raised while a ``__del__`` runs (redis-py's clients have
one), Python reports it and drops it; it then comes again.
"""

import signal
import sys

WORDS = (signal.SIGINT, signal.SIGTERM)
AGAIN_AFTER_S = 0.01


def in_order():
    """From now on SIGINT and SIGTERM unwind the main thread, once."""
    for word in WORDS:
        signal.signal(word, _unwind)
    signal.signal(signal.SIGALRM, _unwind)
    sys.unraisablehook = _dropped


def _unwind(*_):
    for word in WORDS:
        signal.signal(word, signal.SIG_IGN)
    raise KeyboardInterrupt


def _dropped(what):
    if what.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_AFTER_S)
    else:
        sys.__unraisablehook__(what)
