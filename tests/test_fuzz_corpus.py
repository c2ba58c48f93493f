"""The fuzz targets over what they begin with, what they have found, and a few mutations of both.

Without a fuzzer: that is ``python -m fuzz`` (see ``fuzz/README.md``). ``AIGATEWAY_FUZZ=2000`` makes
so many mutations for each target, and others each day.
"""

from __future__ import annotations

import os
import random
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

import fuzz
from fuzz.mutation import VALUES, mutate
from fuzz.seeds import seeds
from fuzz.targets import TARGETS, Broken, hold

FOUND = Path(fuzz.__file__).parent / "found"
MUTATIONS = int(os.environ.get("AIGATEWAY_FUZZ", "0"))
LONGEST = 5.0
"""Seconds that one input may take, on a machine that does much else."""


def found(target: str) -> Iterator[tuple[str, bytes]]:
    """What once broke ``target``, by name."""
    for path in sorted((FOUND / target).glob("[!.]*")):
        yield path.name, path.read_bytes()


class Corpus(unittest.TestCase):
    def test_what_was_found(self) -> None:
        """What once broke a promise does so no more."""
        names = 0
        for name, target in TARGETS.items():
            for shown, data in found(name):
                names += 1
                with self.subTest(name, input=shown):
                    target(data)
        self.assertGreater(names, 0)

    def test_nothing_found_is_forgotten(self) -> None:
        """Each folder of findings is some target's."""
        self.assertLessEqual({path.name for path in FOUND.iterdir()}, set(TARGETS))

    def test_recordings(self) -> None:
        """No recording breaks a promise."""
        for name, target in TARGETS.items():
            number = -1
            for number, data in enumerate(seeds(name)):
                with self.subTest(name, seed=number):
                    target(data)
            self.assertGreaterEqual(number, 0, f"{name} begins with nothing")

    def test_mutations(self) -> None:
        """Nor do recordings with something changed in them, and each takes but a moment."""
        dice = random.Random(time.time_ns() if MUTATIONS else 8088)
        for name, target in TARGETS.items():
            begun = [*seeds(name), *(data for _, data in found(name))]
            for _ in range(MUTATIONS or 400):
                data = mutate(dice.choice(begun), dice)
                before = time.monotonic()
                try:
                    target(data)
                except Exception as error:
                    self.fail(f"{name} breaks at {data!r}: {type(error).__name__}: {error}")
                self.assertLess(time.monotonic() - before, LONGEST, f"{name}: {data!r}")

    def test_mutations_leave_no_trace(self) -> None:
        """What is put into one input is not changed with it: the same dice make the same mutations."""
        before, dice = repr(VALUES), random.Random(1)
        for _ in range(3_000):
            mutate(b"\0" * 8 + b'data: {"choices":[{"delta":{}}]}\n\n', dice)
        self.assertEqual(repr(VALUES), before)

    def test_any_beginning(self) -> None:
        """An input may be short of its choosing bytes, or have nothing else."""
        for target in TARGETS.values():
            for data in (b"", b"\xff", bytes(range(8)), b"\0" * 8 + b"\xff"):
                target(data)

    def test_a_broken_promise_is_told(self) -> None:
        """With what was seen, shortened."""
        with self.assertRaisesRegex(Broken, r"(?s)^no end\n    'x{400,999}$"):
            hold(False, "no end", "x" * 5_000)
