"""One input of a fuzz target, and the choices that it makes.

The first bytes of an input choose (which kind, which dialect, how the text is cut), so that one
corpus covers every combination and a mutation of one byte changes only that; the rest is the text.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

CHOICES = 8
"""Bytes that choose. What is missing of them counts as zeros."""
SINGLE = 2_000
"""Up to so many bytes a text is also fed one by one."""


class Given:
    """An input. ``text`` is what a target reads; `choose` takes one choosing byte after the other."""

    def __init__(self, data: bytes) -> None:
        self._choices = iter(data[:CHOICES].ljust(CHOICES, b"\0"))
        self.text = data[CHOICES:]

    def choose(self, options: Sequence[T]) -> T:
        """One of ``options``; the first, where the byte is 0."""
        return options[next(self._choices) % len(options)]

    def cut(self) -> list[bytes]:
        """The text as it may come from a network: whole, byte by byte, or in a few pieces."""
        seed = next(self._choices)
        text = self.text
        if seed == 0 or len(text) < 2:
            return [text]
        if seed == 1 and len(text) <= SINGLE:
            return [text[at : at + 1] for at in range(len(text))]
        dice = random.Random(seed)
        places = sorted(dice.sample(range(1, len(text)), min(seed % 16 + 1, len(text) - 1)))
        return [text[start:end] for start, end in itertools.pairwise([0, *places, len(text)])]


def chosen(*choices: int) -> bytes:
    """The beginning of an input that makes these choices, in their order."""
    return bytes(choices).ljust(CHOICES, b"\0")
