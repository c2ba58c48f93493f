"""Halves of surrogate pairs in what providers send."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.dialects.surrogates import LARGEST, MOST, without_halves

PIECES = (rb"\ud83d", rb"\ude00", rb"\uD83D", rb"\\", rb"\n", rb"\"", rb"\u00e9", b"ud83d", b"a")


def told(pieces: list[bytes]) -> bytes:
    """What becomes of these escapes and characters, one by one."""
    told: list[bytes] = []
    waiting = b""
    for piece in pieces:
        second = piece.lower() == rb"\ude00"
        if waiting:
            told.append(waiting + piece if second else rb"\ufffd")
        if piece.lower() == rb"\ud83d":
            waiting = piece
            continue
        if not (second and waiting):
            told.append(rb"\ufffd" if second else piece)
        waiting = b""
    return b"".join([*told, rb"\ufffd"] if waiting else told)


class Halves(unittest.TestCase):
    @settings(deadline=None, max_examples=500)
    @given(st.lists(st.sampled_from(PIECES), max_size=10))
    def test_halves_alone_are_replaced(self, pieces: list[bytes]) -> None:
        """Each half without its other half becomes U+FFFD; pairs, and what only looks like one, stay."""
        self.assertEqual(without_halves(b"".join(pieces)), told(pieces))

    def test_nothing_to_mend(self) -> None:
        """A text without one is the very same object."""
        for text in (b"abc", rb"\ud83d\ude00", rb"\\ud83d"):
            self.assertIs(without_halves(text), text)

    def test_no_end_of_them(self) -> None:
        """A text of nothing else, or one of many megabytes, is left as it is: to mend it would take long."""
        for text in (rb"\ud800" * (MOST + 1), rb"\ud800" + b"x" * LARGEST):
            self.assertIs(without_halves(text), text)
        self.assertEqual(without_halves(rb"\ud800" * MOST), rb"\ufffd" * MOST)
