"""Two files of results, side by side: ``python -m benchmarks.compare BEFORE AFTER``.

The first result of a name in one file is paired with the first in the other, and so on: the
files should have been written in turn, round by round. A ratio below 1 means that the second
is cheaper; its range says whether that is more than noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from .report import number, table

NOISE = 0.2
"""Cores that others may use during a measurement before it counts as disturbed."""


def results(path: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The results in ``path`` by name and unit, in the order in which they were written."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        found.setdefault((result["name"], result["unit"]), []).append(result)
    return found


def disturbed(result: dict[str, Any]) -> bool:
    facts = result["facts"]
    return bool(facts.get("others", 0) + facts.get("steal", 0) > NOISE)


def compared(
    before: dict[tuple[str, str], list[dict[str, Any]]], after: dict[tuple[str, str], list[dict[str, Any]]]
) -> list[list[str]]:
    rows = [["what", "unit", "before", "after", "after/before", "range", "pairs", "disturbed"]]
    for name, unit in before:
        pairs = list(zip(before[name, unit], after.get((name, unit), ()), strict=False))
        if not pairs:
            continue
        ratios = [second["value"] / first["value"] for first, second in pairs]
        rows.append(
            [
                name,
                unit,
                number(statistics.median(first["value"] for first, _ in pairs)),
                number(statistics.median(second["value"] for _, second in pairs)),
                f"{statistics.median(ratios):.2f}",
                f"{min(ratios):.2f}..{max(ratios):.2f}",
                str(len(pairs)),
                str(sum(disturbed(first) or disturbed(second) for first, second in pairs)),
            ]
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    print(table(compared(results(options.before), results(options.after))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
