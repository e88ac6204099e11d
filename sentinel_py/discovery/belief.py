"""Whose answer counts when sentinels name different masters; pure.

A switch raises the master's configuration epoch, so the answer with the highest one is the newest.
The rule guarded: once a switch is known, no sentinel that has missed it leads back to the old
master, not even when it is the only one left that answers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sentinel_py.discovery.place import Place


@dataclass(frozen=True, slots=True)
class View:
    """What one sentinel says: the master, and the configuration epoch since which it is that."""

    epoch: int
    master: Place


class Belief:
    """What the sentinels have said; ``count`` is how many of them there are to ask."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._views: dict[Place, View] = {}
        self._known_epoch = 0

    def say(self, sentinel: Place, view: View) -> None:
        """A sentinel has answered."""
        self._views[sentinel] = view
        self._known_epoch = max(self._known_epoch, view.epoch)

    def say_switch(self, sentinel: Place, master: Place) -> None:
        """It tells a switch: its epoch is higher now, and its next answer says by how much."""
        before = self._views.get(sentinel)
        if before is None:
            self.say(sentinel, View(1, master))
        elif before.master != master:  # else its answer has told the switch before the notice did
            self.say(sentinel, View(before.epoch + 1, master))

    def forget(self, sentinel: Place) -> None:
        """It does not answer any more."""
        self._views.pop(sentinel, None)

    def master(self) -> Place | None:
        """The newest that is said; None if nobody says anything, or only what is outdated."""
        views = self._views.values()
        newest = max((view.epoch for view in views), default=-1)
        if len(views) == self._count:
            # Nobody knows the higher epoch any more: the sentinels were set up anew.
            self._known_epoch = newest
        if newest < self._known_epoch:
            return None
        # The one that most name; the one that was named first if that is undecided.
        return Counter(view.master for view in views if view.epoch == newest).most_common(1)[0][0]
