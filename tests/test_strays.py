"""Names that a body holds beyond its records: found, noted, left out."""

from __future__ import annotations

import json
import unittest
from typing import Any

import msgspec

from aigateway.dialects import strays
from aigateway.errors import MalformedRequest


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    a: int
    raw: msgspec.Raw = msgspec.Raw(b"null")


class Cat(msgspec.Struct, tag_field="type", tag="cat", forbid_unknown_fields=True):
    inner: Inner | None = None


class Dog(msgspec.Struct, tag_field="type", tag="dog", forbid_unknown_fields=True):
    many: list[Inner] = []


class Open(msgspec.Struct):
    animals: list[Cat | Dog] = []
    one: Inner | str | None = None


DECODER = msgspec.json.Decoder(Open)


def decoded(raw: bytes, label: str = "") -> tuple[Open, list[str]]:
    noted: list[str] = []
    return strays.decode(DECODER, raw, noted.append, "place", label), noted


class Strays(unittest.TestCase):
    def found(self, label: str = "", **body: Any) -> list[str]:
        return decoded(json.dumps(body).encode(), label)[1]

    def test_none(self) -> None:
        """A body without any is read as it is, and nothing is noted."""
        self.assertEqual(decoded(b'{"one": {"a": 1}}'), (Open(one=Inner(1)), []))

    def test_each_place(self) -> None:
        """Names are found at every depth, in lists, and in the record of a union that is meant."""
        self.assertEqual(self.found(one={"a": 1, "b": 2}), ["one.b"])
        self.assertEqual(
            self.found(animals=[{"type": "cat", "inner": {"a": 1, "b": 2}}]), ["animals.inner.b"]
        )
        self.assertEqual(
            self.found(animals=[{"type": "dog", "x": 1, "many": [{"a": 1}, {"a": 1, "y": 2}]}]),
            ["animals.x", "animals.many.y"],
        )

    def test_label(self) -> None:
        """The label stands before each name."""
        self.assertEqual(self.found("tools", one={"a": 1, "b": 2}), ["tools.one.b"])

    def test_open_records(self) -> None:
        """A record that does not forbid them keeps its names to itself: the top of a body is looked
        through elsewhere."""
        self.assertEqual(self.found(unknown=1, one={"a": 1, "b": 1}), ["one.b"])

    def test_says_nothing(self) -> None:
        """An empty value says nothing, and goes without a word."""
        self.assertEqual(self.found(one={"a": 1, "b": None, "c": [], "d": {}, "e": ""}), [])

    def test_the_rest(self) -> None:
        """All that has a place is read as if the others were not there, raw JSON as it is written."""
        value, noted = decoded(b'{"one": {"a": 1, "b": 2, "raw": {"n": 1.50, "big": 123456789012345678901}}}')
        self.assertEqual(noted, ["one.b"])
        assert isinstance(value.one, Inner)
        self.assertEqual(bytes(value.one.raw), b'{"n": 1.50, "big": 123456789012345678901}')

    def test_faults(self) -> None:
        """What is wrong with the body is said with its place, strays or none."""
        for raw, param in (
            (b'{"one": {"a": "x"}}', "place.one.a"),
            (b'{"one": {"a": "x", "b": 1}}', "place.one.a"),
            (b'{"one": {"b": 1}}', "place.one.a"),
            (b'{"animals": [{"type": "cow", "b": 1}, {"type": "cat", "b": 1}]}', "place.animals[0].type"),
        ):
            with self.subTest(raw), self.assertRaises(MalformedRequest) as caught:
                decoded(raw)
            self.assertEqual(caught.exception.param, param)
