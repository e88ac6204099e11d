"""``@dataclass`` with slots, made in a third of the time.

A sentinel that starts makes more than a hundred such classes, and they were a third of the time
until it answered: the library compiles up to six methods for each class, here it compiles one. And
the library's frozen ``__init__`` goes round its own lock at each field: 660 ns instead of 240 for
three fields.

To the type checker this *is* the library's decorator, so an assignment to a field of a frozen class
is an error there. It is not one when the program runs; that is the price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(*, slots, frozen=False, eq=True):
        """As the library's, for classes with slots."""
        assert slots

        def decorate(cls):
            made = dataclasses.dataclass(eq=False, repr=False, slots=True)(cls)
            made.__repr__ = _repr
            if eq:
                equal, digest = _comparison(made)
                made.__eq__, made.__hash__ = equal, digest if frozen else None
            return made

        return decorate

    def _comparison(cls):
        names = [it.name for it in dataclasses.fields(cls) if it.compare]
        values = attrgetter(*names) if names else type

        def __eq__(self, other):  # noqa: N807
            if type(self) is not type(other):
                return NotImplemented
            return values(self) == values(other)

        def __hash__(self):  # noqa: N807
            return hash(values(self))

        return __eq__, __hash__

    def _repr(self):
        shown = (it.name for it in dataclasses.fields(self) if it.repr)
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({said})"


__all__ = ["dataclass"]
