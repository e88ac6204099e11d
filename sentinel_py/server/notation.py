"""The arguments of a command, as manuals write them and as COMMAND DOCS tells them.

`[NOSAVE|SAVE] [ID client-id:integer ...] <username password>`: brackets are optional, angles group,
a bar separates alternatives, three dots repeat what they follow. A word in capitals is a token; a
group or a word in small letters behind it is its value. A colon names a type other than string.

Pure. Notations are written by us, so a wrong one is a broken invariant.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sentinel_py.resp import Reply, Set, Simple
from sentinel_py.values import dataclass

_TERMS = re.compile(r"\.\.\.|[\[\]<>|]|[^\s\[\]<>|]+")


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    type: str = "string"
    token: str | None = None
    flags: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()

    def reply(self) -> Reply:
        parts: dict[str, Reply] = {"name": self.name, "type": self.type}
        if not self.arguments:
            parts["display_text"] = self.name
        if self.token:
            parts["token"] = self.token
        if self.flags:
            parts["flags"] = Set(map(Simple, self.flags))
        if self.arguments:
            parts["arguments"] = [argument.reply() for argument in self.arguments]
        return parts


def parse_notation(notation: str) -> tuple[Argument, ...]:
    parser = _Parser(_TERMS.findall(notation))
    arguments = parser.alternatives()
    assert not parser.terms, notation
    return arguments


class _Parser:
    """Recursive descent; `terms` holds what is still to be read."""

    def __init__(self, terms: list[str]) -> None:
        self.terms = terms

    def alternatives(self) -> tuple[Argument, ...]:
        sequences = [self._sequence()]
        while self._next() == "|":
            self.terms.pop(0)
            sequences.append(self._sequence())
        if len(sequences) == 1:
            return sequences[0]
        return (_compound("oneof", tuple(map(_as_one, sequences))),)

    def _sequence(self) -> tuple[Argument, ...]:
        arguments = []
        while self._next() not in ("", "|", "]", ">"):
            argument = self._argument()
            if self._next() == "...":
                self.terms.pop(0)
                argument = replace(argument, flags=(*argument.flags, "multiple"))
            arguments.append(argument)
        return tuple(arguments)

    def _argument(self) -> Argument:
        term = self.terms.pop(0)
        if term in ("[", "<"):
            inner = _as_one(self.alternatives())
            self.terms.pop(0)
            return replace(inner, flags=("optional", *inner.flags)) if term == "[" else inner
        if not term.isupper():
            name, _, kind = term.partition(":")
            return Argument(name, kind or "string")
        following = self._next()
        if following == "<" or (following.islower() and following[0].isalpha()):
            return replace(self._argument(), token=term)
        return Argument(term.lower(), "pure-token", term)

    def _next(self) -> str:
        return self.terms[0] if self.terms else ""


def _as_one(arguments: tuple[Argument, ...]) -> Argument:
    return arguments[0] if len(arguments) == 1 else _compound("block", arguments)


def _compound(kind: str, arguments: tuple[Argument, ...]) -> Argument:
    return Argument("-".join(it.name for it in arguments), kind, arguments=arguments)
