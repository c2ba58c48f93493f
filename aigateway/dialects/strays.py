"""Names that a client's body holds beyond those of the records that it is read into.

A record leaves out what it does not name, and says nothing: a new field would be lost in silence.
The records of the shapes therefore forbid other names (``forbid_unknown_fields``). Mostly there are
none, and the check costs nothing; where there are, they are found here, noted for the field report,
and left out before the body is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from . import fields

T = TypeVar("T")

_names = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_FOUND = "Object contains unknown field"
_SAYS_NOTHING = tuple(map(msgspec.Raw, (b"null", b"[]", b"{}", b'""')))


def decode(
    decoder: msgspec.json.Decoder[T],
    raw: bytes | msgspec.Raw,
    note: Callable[[str], None],
    place: str = "",
    label: str = "",
) -> T:
    """``raw``, found at ``place`` of the body, as a typed record; raises `MalformedRequest`.

    ``note`` is given the names beyond it, each as ``label``, a dot, and its path in ``raw``. One
    whose value is empty says nothing, and is left out without a word.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        if not str(error).startswith(_FOUND):
            return fields.decode(decoder, raw, place)  # raises it, in the words of JSON
    known = _Known(note).part(msgspec.Raw(bytes(raw).lstrip()), _type(decoder), label)
    return fields.decode(decoder, msgspec.json.encode(known), place)


@cache
def _type(decoder: msgspec.json.Decoder[Any]) -> inspect.Type:
    return inspect.type_info(decoder.type)


class _Known:
    """Takes out of JSON what its type does not name; all else stays as it is written."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def part(self, raw: msgspec.Raw, type: inspect.Type, label: str) -> object:
        kinds = type.types if isinstance(type, inspect.UnionType) else (type,)
        first = fields.first_byte(raw)
        if first == b"[":
            for kind in kinds:
                if isinstance(kind, inspect.ListType):
                    return [self.part(item, kind.item_type, label) for item in _items.decode(raw)]
        elif first == b"{":
            records = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
            if records:
                return self._record(raw, records, label)
        return raw

    def _record(self, raw: msgspec.Raw, records: list[inspect.StructType], label: str) -> object:
        given = _names.decode(raw)
        record = _meant(given, records)
        if record is None:
            return raw  # the typed decode says what is wrong with it
        types = {field.encode_name: field.type for field in record.fields}
        lenient = not record.forbid_unknown_fields
        known: dict[str, object] = {}
        for name, value in given.items():
            if name in types:
                known[name] = self.part(value, types[name], f"{label}.{name}" if label else name)
            elif lenient or name == record.tag_field:
                known[name] = value
            elif value not in _SAYS_NOTHING:
                self._note(f"{label}.{name}" if label else name)
        return known


def _meant(given: dict[str, msgspec.Raw], records: list[inspect.StructType]) -> inspect.StructType | None:
    """The one of ``records`` that an object is, by its tag."""
    for record in records:
        if record.tag_field is None:
            return record
        tag = given.get(record.tag_field)
        if tag is not None and msgspec.json.decode(tag) == record.tag:
            return record
    return None
