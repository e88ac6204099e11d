"""A machine with a sentinel on it, of either kind: what outlives the process, and its ends.

What runs there is in `sentinel_host` and `original_host`. The rule it guards: a process that has
ended is forgotten, and what was on the disk is all that the next one finds.
"""

PORT = 26379


class Machine:
    """Name, address and randomness of its own; ``life`` is the process while it runs."""

    def __init__(self, world, observer, name, host):
        self.name = name
        self.host = host
        self.observer = observer
        self.rng = world.fork_rng()
        self.life = None
        self._world = world

    @property
    def address(self):
        return self.host, PORT

    def start(self):
        assert self.life is None
        self._world.network.power_on(self.host)
        self.life = self.live(self._world.spawn(self.host, self.name))

    def live(self, process):
        """A new life in this process."""
        raise NotImplementedError

    def kill(self):
        """SIGKILL, on a system that had not yet written what was not synced."""
        if self.life:
            self.life.process.kill()
            self._died()

    def lose_power(self):
        if self.life:
            self.life.process.vanish()
            self._world.network.power_off(self.host)
            self._died()

    def _died(self):
        self.observer.ended(self)
        self.life = None
