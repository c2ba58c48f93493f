"""Every public request field of every dialect, at every provider: nothing is lost in silence."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from google.genai import types as gemini

from tests.field_probes import LOST, PROBES, columns, observations, sdk
from tests.field_probes.observed import is_in, probes, reported
from tests.field_probes.table import table

TABLE = Path(__file__).parents[1] / "docs" / "fields.md"


class Named(unittest.TestCase):
    """The probes against the vendors' own SDKs."""

    def test_every_field_is_named(self) -> None:
        """Each field that an SDK declares has a probe, or is in one that stands for all in it."""
        for dialect, tables in PROBES.items():
            with self.subTest(dialect):
                named = {*tables.contexts, *tables.fields}
                unnamed = [
                    path
                    for path in sdk.ends(sdk.public_fields(dialect))
                    if path not in named and not any(is_in(path, whole) for whole in tables.whole)
                ]
                self.assertEqual(unnamed, [])

    def test_no_field_is_made_up(self) -> None:
        """Each probe is of a field that the SDK declares, but for those that are said to be beyond it."""
        for dialect, tables in PROBES.items():
            with self.subTest(dialect):
                declared = {*sdk.public_fields(dialect), *tables.beyond}
                self.assertEqual({*tables.contexts, *tables.fields} - declared, set())
                self.assertEqual({*tables.whole, *tables.unsaid} - declared, set())

    def test_what_stands_for_all_in_it(self) -> None:
        """Nothing of a dialect's core is covered by what it is in: only hosted tools and their like."""
        core = {
            "claude": ("messages[].content[text].text", "tools[custom]", "thinking[enabled]"),
            "openai": ("messages[user].content[text]", "tools[function].function", "response_format[text]"),
            "responses": ("input[message].content[input_text]", "tools[function]", "input[reasoning]"),
            "gemini": ("contents[].parts[].text", "tools[].functionDeclarations[].name"),
        }
        for dialect, paths in core.items():
            for path in paths:
                with self.subTest(path):
                    self.assertFalse(any(is_in(path, whole) for whole in PROBES[dialect].whole))

    def test_gemini_configuration(self) -> None:
        """Each field of the Gemini SDK's one configuration has its place in the body."""
        config = set(gemini.GenerationConfigDict.__annotations__) | set(sdk.GEMINI_CONFIG)
        placed = config | set(sdk.GEMINI_TOP) | sdk.GEMINI_SDK_ONLY
        self.assertEqual(set(gemini.GenerateContentConfigDict.__annotations__) - placed, set())


class Observed(unittest.TestCase):
    """The probes, rendered."""

    def test_nothing_is_lost(self) -> None:
        """Each field goes up, or is named as dropped, emulated or refused."""
        for dialect in PROBES:
            lost = [
                f"{path} at {column.title}"
                for path, row in observations(dialect).items()
                for column, verdict in zip(columns(), row, strict=True)
                if verdict.word == LOST
            ]
            with self.subTest(dialect):
                self.assertEqual(lost, [])

    def test_what_is_unsaid(self) -> None:
        """A field that may go without a word does so somewhere: none is excused for nothing."""
        for dialect, tables in PROBES.items():
            found = observations(dialect)
            for path in tables.unsaid:
                with self.subTest(path):
                    self.assertIn(tables.unsaid[path], [verdict.why for verdict in found[path]])

    def test_refusals_name_the_field(self) -> None:
        """A refused field, or what it is in, is named in the error."""
        for dialect in PROBES:
            for path, row in observations(dialect).items():
                words = re.findall(r"\w+", path)
                for column, verdict in zip(columns(), row, strict=True):
                    if verdict.word == "refused" and verdict.why:
                        with self.subTest(path, target=column.title):
                            self.assertTrue(any(word in verdict.why for word in words), verdict.why)

    def test_own_dialect(self) -> None:
        """A provider of the client's own dialect gets every field as it was written."""
        own = {
            "claude": ("anthropic claude-opus-4-8",),
            "openai": ("openai gpt-4o", "openai gpt-5.2"),
            "responses": ("openai gpt-4o", "openai gpt-5.2"),
            "gemini": ("gemini gemini-2.5-flash", "gemini gemini-3-pro"),
        }
        for dialect, titles in own.items():
            for path, row in observations(dialect).items():
                words = {
                    verdict.word
                    for column, verdict in zip(columns(), row, strict=True)
                    if column.title in titles
                }
                with self.subTest(dialect, path=path):
                    self.assertLessEqual(words, {"kept", "answer"})

    def test_the_report_agrees(self) -> None:
        """The report of a single request says of each field what comparing two of them shows."""
        for dialect, tables in PROBES.items():
            found = observations(dialect)
            for probe in probes(tables):
                for column, verdict in zip(columns(), found[probe.path], strict=True):
                    if verdict.word not in ("refused", LOST):
                        with self.subTest(probe.path, target=column.title):
                            self.assertEqual(reported(dialect, probe, column), verdict.word)

    def test_the_table(self) -> None:
        """docs/fields.md is what the probes give now; ``python -m tests.field_probes`` writes it."""
        self.assertEqual(TABLE.read_text(), table())
