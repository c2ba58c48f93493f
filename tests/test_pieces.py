"""What is kept of an answer under way: few objects, and a bound."""

from __future__ import annotations

from unittest import TestCase

from aigateway.dialects.openai.calls import Calls
from aigateway.dialects.openai.chunks import Function, ToolCall
from aigateway.dialects.pieces import MAX_CALLS, MAX_INPUT, CallIds, Pieces
from aigateway.errors import UpstreamGarbled

MEGABYTE = "x" * 1024 * 1024


class PiecesTests(TestCase):
    def test_text(self) -> None:
        """Nothing is lost, whatever the number of pieces."""
        for count in (0, 1, 1023, 1024, 1025, 5000):
            pieces = Pieces()
            given = [str(number) for number in range(count)]
            for piece in given:
                pieces.add(piece)
            self.assertEqual(pieces.text(), "".join(given))
            self.assertEqual((pieces.count, pieces.size), (count, len("".join(given))))
            self.assertEqual(pieces.last, given[-1] if given else "")

    def test_a_text_without_end(self) -> None:
        """It is given up."""
        pieces = Pieces()
        for _ in range(MAX_INPUT // len(MEGABYTE)):
            pieces.add(MEGABYTE)
        with self.assertRaises(UpstreamGarbled):
            pieces.add("x")


class CallIdsTests(TestCase):
    def test_each_once(self) -> None:
        """One that is none, or is taken, is made up."""
        ids = CallIds(iter(["made1", "made2", "made3"]).__next__)
        self.assertFalse(ids)
        given = [ids.one(id) for id in ("a", "b", "a", "", None)]
        self.assertEqual(given, ["a", "b", "made1", "made2", "made3"])
        self.assertTrue(ids)

    def test_calls_without_end(self) -> None:
        """Neither too many, nor too long."""
        ids = CallIds(str)
        with self.assertRaises(UpstreamGarbled):
            for number in range(MAX_CALLS + 1):
                ids.one(f"call_{number}")
        ids = CallIds(str)
        with self.assertRaises(UpstreamGarbled):
            for number in range(10):
                ids.one(f"{number}{MEGABYTE}")


class CallsTests(TestCase):
    """The bound of OpenAI's calls is for all of an answer's together."""

    def take(self, calls: Calls, entry: ToolCall) -> None:
        calls.add(calls.of(entry), entry)

    def test_names_and_ids_and_arguments(self) -> None:
        """Each alone is enough to be too much."""
        for make in (
            lambda n: ToolCall(index=n, id="c", function=Function(name=f"f{MEGABYTE}")),
            lambda n: ToolCall(index=0, id=f"{n}{MEGABYTE}", function=Function(arguments="")),
            lambda n: ToolCall(index=n, id="c", function=Function(name="f", arguments=MEGABYTE)),
        ):
            calls = Calls()
            with self.assertRaises(UpstreamGarbled):
                for number in range(10):
                    self.take(calls, make(number))
            self.assertGreater(number, 5)
