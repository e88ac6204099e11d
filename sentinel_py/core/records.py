"""Dataclasses out of JSON that others wrote: each field has to be there and of its type.

A field with a default may be missing: an earlier version did not have it. One that is not known
here is refused: a later version would not mean the same without it. The rule guarded: what `read`
returns is as its class says; the rest is ValueError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[object], object]


def parse(data: str | bytes) -> object:
    """Return what the JSON text says; ValueError if it is none."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("too deep") from None


def read(kind: type[T], record: object, readers: Mapping[str, Reader] | None = None) -> T:
    """The value of this dataclass that the record describes; ValueError if it does not.

    ``readers`` are for types of fields that are not known here.
    """
    known = {**_READERS, **(readers or {})}
    if not isinstance(record, dict):
        raise ValueError("not an object")
    values = {}
    # A TypeVar cannot be bound to dataclasses.
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in record:
            try:
                values[field.name] = known[str(field.type)](record[field.name])
            except ValueError as error:
                raise ValueError(f"{field.name}: {error}") from None
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{field.name} is missing")
    if len(values) < len(record):
        strange = next(name for name in record if name not in values)
        raise ValueError(f"{strange[:32]!r} is not known")
    return kind(**values)


def one(kind: type[T], readers: Mapping[str, Reader] | None = None) -> Reader:
    """Return a reader of this dataclass."""
    return lambda value: read(kind, value, readers)


def maybe(reader: Reader) -> Reader:
    """Return a reader that takes null as well."""
    return lambda value: None if value is None else reader(value)


def several(reader: Reader, limit: int) -> Reader:
    """Return a reader of a list of up to so many of these."""

    def read_all(value: object) -> object:
        if not isinstance(value, list) or len(value) > limit:
            raise ValueError(f"not a list of up to {limit}")
        return tuple(map(reader, value))

    return read_all


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


def _table(of: Reader) -> Reader:
    def read_all(value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return {_text(key): of(each) for key, each in value.items()}

    return read_all


# By a field's type as it is written in the class.
_READERS: dict[str, Reader] = {
    "str": _text,
    "int": _exactly(int),
    "bool": _exactly(bool),
    "str | None": maybe(_text),
    "bool | None": maybe(_exactly(bool)),
    "tuple[str, ...]": _texts,
    "dict[str, str]": _table(_text),
    "dict[str, int]": _table(_exactly(int)),
}
