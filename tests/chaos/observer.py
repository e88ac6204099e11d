"""Ears on every sentinel: whom each names as the master, all the time; and the instant of a notice.

Over Unix sockets, so a host that is cut off goes on being heard. Records, and judges nothing.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from redis.exceptions import RedisError

from sentinel_py.local import eventually

from .accounting import View
from .machine import NAME, named

# Fine enough for figures of a tenth of a second, and little work for five sentinels on two cores.
LOOK_EVERY_S = 0.05


def now():
    """The clock that writers use, too."""
    return time.monotonic_ns() // 1_000_000


class Observer:
    """Looks at all sentinels until it is closed; ``views`` is what it has seen."""

    def __init__(self, hosts):
        self.views = []
        self._ended = threading.Event()
        # Daemons: a run that is told to end while they start has nobody yet who would end them.
        self._threads = [
            threading.Thread(target=self._look, args=(host,), daemon=True) for host in hosts
        ]
        for thread in self._threads:
            thread.start()

    def close(self):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _look(self, host):
        with host.sentinel_client() as client:
            while not self._ended.wait(LOOK_EVERY_S):
                self.views.append(View(now(), host.number, _ask(client)))


def _ask(client):
    try:
        return named(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME))
    except (RedisError, OSError):
        return ""


def instants_of_sdown(hosts, act, within_s):
    """Do this, and say when each of these sentinels found the master down; None if it did not."""
    with ExitStack() as stack, ThreadPoolExecutor(len(hosts)) as pool:
        subscriptions = [_subscribe(stack, host) for host in hosts]
        waiting = [pool.submit(_await_sdown, it, within_s) for it in subscriptions]
        act()
        return [one.result() for one in waiting]


def _subscribe(stack, host):
    client = stack.enter_context(host.sentinel_client())
    subscription = stack.enter_context(client.pubsub())
    subscription.subscribe("+sdown")
    eventually(lambda: subscription.get_message(timeout=1), what="answer to SUBSCRIBE")
    return subscription


def _await_sdown(subscription, within_s):
    ends_at = now() + within_s * 1000
    while now() < ends_at:
        message = subscription.get_message(timeout=0.1)
        if message and message["data"].startswith(f"master {NAME} "):
            return now()
    return None
