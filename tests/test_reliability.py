"""docs/reliability.md, held against the tests and benchmarks that it names."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import TestCase

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "reliability.md"


class Document(TestCase):
    def rows(self) -> list[list[str]]:
        lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
        return [row for row in cells if row[0] != "promise" and not row[0].startswith("---")]

    def test_every_promise_is_shown_by_something_that_exists(self) -> None:
        """Each row has a test or a benchmark; every one that is named is there, by that name."""
        self.assertGreater(len(self.rows()), 50)
        for promise, shown, figure in self.rows():
            with self.subTest(promise):
                named = re.findall(r"`([^`]+)`", shown)
                self.assertTrue(named)
                self.assertTrue(figure.strip(" –-"), "no figure")
                module = ""
                for name in named:
                    if name.startswith("python -m "):
                        benchmark = name.removeprefix("python -m ").split()[0]
                        self.assertTrue((ROOT / f"{benchmark.replace('.', '/')}.py").exists(), name)
                        continue
                    path, *inside = name.split("::")
                    module = path or module
                    source = (ROOT / module).read_text(encoding="utf-8")
                    for part in inside:
                        self.assertRegex(source, rf"(?m)^ *(async )?(class|def) {part}\b", name)
