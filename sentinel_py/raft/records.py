"""Dataclasses out of JSON that others wrote: each field has to be there and of its type.

The rule guarded: what `read` returns is as its class says; the rest is ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[object], object]


def read(kind: type[T], record: object, readers: Mapping[str, Reader] | None = None) -> T:
    """The value of this dataclass that the record describes; ValueError if it does not.

    ``readers`` are for types of fields that are not known here.
    """
    known = {**_READERS, **(readers or {})}
    # A TypeVar cannot be bound to dataclasses.
    wanted = {it.name: str(it.type) for it in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(record, dict) or record.keys() != wanted.keys():
        raise ValueError("other fields")
    return kind(**{name: known[what](record[name]) for name, what in wanted.items()})


def _exactly(kind: type) -> Reader:
    def read_one(value: object) -> object:
        if type(value) is not kind:
            raise ValueError(f"not of type {kind.__name__}")
        return value

    return read_one


_text = _exactly(str)


def _texts(value: object) -> object:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return tuple(map(_text, value))


def _table(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return {_text(key): _text(text) for key, text in value.items()}


# By a field's type as it is written in the class.
_READERS: dict[str, Reader] = {
    "str": _text,
    "int": _exactly(int),
    "bool": _exactly(bool),
    "tuple[str, ...]": _texts,
    "dict[str, str]": _table,
}
