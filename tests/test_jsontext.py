"""JSON as text: what is refused before a body is believed, and strings as they go out."""

from __future__ import annotations

import json
import math
import unittest
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway import jsontext
from aigateway.jsontext import (
    MAX_DEPTH,
    MAX_NAMES,
    MAX_VALUES,
    WINDOW,
    BadJSON,
    bound,
    check,
    escape_line_ends,
    json_string,
)

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\:,{}[] '), max_size=12)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def refuses(raw: bytes) -> str:
    """Why ``raw`` is refused."""
    try:
        check(raw)
    except BadJSON as error:
        return str(error)
    raise AssertionError(f"{raw[:60]!r} was taken")


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


class Check(unittest.TestCase):
    def test_takes_json(self) -> None:
        """One JSON value of any kind is taken, blanks around it too."""
        for raw in (b"{}", b" [1, 2.5, -3e10, true, null]\n", b'"\\u00e9 \xc3\xa9 \\ud83d\\ude00"', b"0"):
            check(raw)

    def test_refuses_what_is_no_json(self) -> None:
        """Anything else is refused: nothing, two values, half of one, Python's or JavaScript's."""
        for raw in (
            *(b"", b" ", b"{", b"}", b"{}{}", b'{"a"}', b"[1,]", b"{'a':1}", b"nul", b"NaN", b"Infinity"),
            *(b"// x\n1", b"01", b'"\x01"', b'"\x00"', b'"a', b"\xef\xbb\xbf{}", b"<html>"),
        ):
            with self.subTest(raw):
                self.assertTrue(refuses(raw))

    def test_utf8(self) -> None:
        """Bytes that are not UTF-8 are refused with their place, overlong forms and surrogates too."""
        self.assertEqual(refuses(b'{"a":"\xff"}'), "not valid UTF-8 at byte 6")
        for raw in (b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82"'):
            with self.subTest(raw):
                self.assertIn("UTF-8", refuses(raw))

    def test_lone_surrogates(self) -> None:
        """Half of a surrogate pair, escaped, is refused: no UTF-8 has it."""
        for raw in (rb'"\ud800"', rb'"\udc00x"', rb'{"a":"\ud83d\u0020"}'):
            with self.subTest(raw):
                self.assertTrue(refuses(raw))

    def test_numbers(self) -> None:
        """Numbers beyond a double's range, and integers of thousands of digits, are refused;
        a long integer that a double can hold is taken."""
        for raw in (b"1e999", b"-1e999", b'{"a":[1e400]}', b"1" * 5000, b'{"n":%b}' % (b"9" * 5000)):
            with self.subTest(raw[:12]):
                self.assertTrue(refuses(raw))
        check(b'{"n":12345678901234567890123456789,"m":1}')
        check(b"1e308")

    def test_depth(self) -> None:
        """Nesting of `MAX_DEPTH` passes, one more does not; brackets in strings are no nesting."""
        for opening, closing, inside in (
            (b"[", b"]", b"1"),
            (b'{"a":', b"}", b"1"),
            (b'[{"a":', b"}]", b"1"),
        ):
            levels = len(opening.strip(b'a":'))
            fits = MAX_DEPTH // levels
            check(opening * fits + inside + closing * fits)
            self.assertEqual(
                refuses(opening * fits + b"[" + inside + b"]" + closing * fits), "nested more than 64 deep"
            )
        check(b'"' + b"[{" * 1000 + b'"')
        check(b'["' + b'\\"[' * 1000 + b'"]')
        check(b"[" + b"[[]]," * 1000 + b"[]]")

    def test_depth_that_would_overflow(self) -> None:
        """A hundred thousand levels, closed or not, are refused, and overflow no stack."""
        for raw in (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000):
            self.assertEqual(refuses(raw), "nested more than 64 deep")

    def test_brackets_that_do_not_match(self) -> None:
        """Closing brackets before opening ones hide no depth, and are refused."""
        self.assertTrue(refuses(b"]" * 100 + b"[" * 100))
        self.assertTrue(refuses(b'"' + b"[" * 100))

    def test_duplicate_names(self) -> None:
        """The same name twice in one object is refused, in whatever way it is written."""
        for raw in (
            b'{"a":1,"a":1}',
            b'{"a":1,"b":2,"a":3}',
            b'{"x":[{"k":1},{"k":1,"k":2}]}',
            rb'{"a":1,"\u0061":2}',
            b'{"":0,"":0}',
            b'{"a":{"b":{},"b":{}}}',
        ):
            with self.subTest(raw):
                self.assertEqual(refuses(raw), "the same name twice in one object")

    def test_names_that_only_look_alike(self) -> None:
        """The same name in two objects, and colons and quotes in strings, are no duplicates."""
        for raw in (
            b'[{"a":1},{"a":1}]',
            b'{"a":{"a":{"a":1}}}',
            b'{"a":"b:c","d:e":":"}',
            rb'{"a\"":1,"a\\":2,"a":"\":\""}',
            b'{"a":1,"A":2,"\xc3\xa9":3,"e\xcc\x81":4}',
            b'{"a" : 1 , "b" : {"a" : 2}}',
        ):
            with self.subTest(raw):
                check(raw)

    def test_a_hostile_string(self) -> None:
        """Millions of quotes and backslashes are looked at once: neither a stall nor a false alarm."""
        check(b'{"a":"' + b'\\"' * 1_000_000 + b'","b":1}')
        check(b'{"a":"' + b"\\\\" * 1_000_000 + b'","b":1}')
        self.assertTrue(refuses(b'{"a":1,"b":"' + b'\\"' * 1_000_000))

    @settings(deadline=None, max_examples=300)
    @given(_values, st.booleans(), st.sampled_from([None, 1, "\t"]))
    def test_takes_all_that_is_json(self, value: Any, ascii_only: bool, indent: Any) -> None:
        """Whatever ``json`` writes is taken, if no number and no nesting is beyond the limits."""
        raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
        if depth(value) <= MAX_DEPTH:
            check(raw)

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=30) | st.text('{}[]",:\\ab10 eE-.', max_size=30).map(str.encode))
    def test_takes_only_json(self, raw: bytes) -> None:
        """What is taken is JSON to ``json`` as well, with each name once; what is refused by ``json``
        is never taken."""
        duplicates = []

        def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            duplicates.append(len(pairs) != len(dict(pairs)))
            return dict(pairs)

        def infinite(text: str) -> float:
            raise ValueError(text)

        try:
            value = json.loads(raw.decode("utf-8"), object_pairs_hook=once, parse_constant=infinite)
            fine = not any(duplicates) and finite(value)
        except ValueError:
            fine = False
        try:
            check(raw)
        except BadJSON:
            self.assertFalse(fine)
        else:
            self.assertTrue(fine)


class Windows(unittest.TestCase):
    """A large text is looked at in windows; the answer is that of one look."""

    def setUp(self) -> None:
        before = jsontext.WINDOW, jsontext.FEW_VALUES
        self.addCleanup(self._set, *before)

    def _set(self, window: int, few: int) -> None:
        jsontext.WINDOW, jsontext.FEW_VALUES = window, few

    @settings(deadline=None, max_examples=200)
    @given(_values, st.booleans(), st.integers(5, 40))
    def test_takes_what_one_look_takes(self, value: Any, ascii_only: bool, window: int) -> None:
        """Wherever the windows end, in a string, an escape or a character: JSON is taken, with an ``x``
        added twice to an object it is not, and cut short it is not."""
        raw = json.dumps([value], ensure_ascii=ascii_only).encode()
        doubled = json.dumps([value, {"x": value, "y": 1}], ensure_ascii=ascii_only).encode()
        doubled = doubled[:-2] + b', "x": 1}]'
        self._set(window, 0)
        try:
            if depth(value) + 2 <= MAX_DEPTH:
                check(raw)
                self.assertIn("twice", refuses(doubled))
                self.assertTrue(refuses(raw[:-1]))
        finally:
            self._set(WINDOW, 0)

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=40) | st.text('aä€😀"').map(str.encode), st.integers(5, 12))
    def test_utf8(self, inner: bytes, window: int) -> None:
        """What is not UTF-8 is refused with the place that one look finds."""
        raw = b'"' + inner + b'"'
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            expected = f"not valid UTF-8 at byte {error.start}"
        else:
            return
        self._set(window, 0)
        self.assertEqual(refuses(raw), expected)

    def test_blanks_first(self) -> None:
        """A megabyte of blanks before and after is no part of it."""
        items = b",".join([b'{"a":[1,2,{"b":"c"}]}'] * 20_000)
        check(b" " * 1_000_000 + b"[%b]" % items + b"\n" * 1_000_000)
        self.assertIn("twice", refuses(b" " * 1_000_000 + b'[%b,{"a":1,"a":2}]' % items))

    def test_how_much_it_takes(self) -> None:
        """So many values, and names, as there may be, are taken; more are not. `bound` says so, too, of
        what no decoder has looked at."""
        check(b"[" + b",".join([b"1"] * (MAX_VALUES - 1)) + b"]")
        self.assertEqual(
            refuses(b"[" + b",".join([b"1"] * (MAX_VALUES + 1)) + b"]"), f"more than {MAX_VALUES} values"
        )
        check(b"[" + b",".join([b'{"a":0}'] * MAX_NAMES) + b"]")
        self.assertEqual(
            refuses(b"[" + b",".join([b'{"a":0}'] * (MAX_NAMES + 1)) + b"]"), f"more than {MAX_NAMES} names"
        )
        with self.assertRaises(BadJSON):
            bound(b"[" * 100_000)


def finite(value: Any) -> bool:
    """Whether no number in ``value`` is beyond a double."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


class Strings(unittest.TestCase):
    def test_plain(self) -> None:
        """A string comes in quotes, as UTF-8, with what JSON must escape escaped."""
        self.assertEqual(json_string("a"), b'"a"')
        self.assertEqual(json_string('"\\\r\n\x00'), b'"\\"\\\\\\r\\n\\u0000"')
        self.assertEqual(json_string("数到5😀"), '"数到5😀"'.encode())

    def test_line_ends(self) -> None:
        """No line end of any kind stands raw in a string: U+0085, U+2028, U+2029."""
        self.assertEqual(json_string("a\u2028b\u2029c\u0085d"), b'"a\\u2028b\\u2029c\\u0085d"')
        self.assertEqual(escape_line_ends('{"a":"\u2028"}'.encode()), b'{"a":"\\u2028"}')
        # Bytes of the same value inside other characters are left alone.
        self.assertEqual(json_string("\u4e85\u0105"), '"\u4e85\u0105"'.encode())

    def test_lone_surrogates(self) -> None:
        """Half of a surrogate pair becomes U+FFFD; a pair in two halves becomes its character."""
        self.assertEqual(json_string("a\ud800b"), '"a\ufffdb"'.encode())
        self.assertEqual(json_string("\udc00"), '"\ufffd"'.encode())
        self.assertEqual(json_string("\ud83d\ude00"), '"😀"'.encode())

    @settings(deadline=None)
    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is one line of JSON that reads back as itself."""
        encoded = json_string(text).decode()
        self.assertEqual(json.loads(encoded), text)
        self.assertEqual(encoded.splitlines(), [encoded])

    @settings(deadline=None)
    @given(st.text(st.characters(codec=None, categories=["Cs", "Ll", "Zl"])))
    def test_any_text_with_surrogates(self, text: str) -> None:
        """Text that no UTF-8 can hold is still written as valid JSON."""
        self.assertIsInstance(json.loads(json_string(text).decode("utf-8")), str)
