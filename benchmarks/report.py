"""Results: one JSON line each, and a table of their medians for people."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aigateway


@dataclass(frozen=True)
class Result:
    """One number of one round. ``facts`` say under which circumstances it came about."""

    name: str
    value: float
    unit: str
    facts: Mapping[str, float] = field(default_factory=dict)


class Report:
    """Collects results. Each goes to ``output`` at once, so that what was measured before an
    interruption is kept."""

    def __init__(self, benchmark: str, output: Path | None) -> None:
        self._benchmark = benchmark
        self._output = output
        self._results: list[Result] = []

    def add(self, result: Result, round: int) -> None:
        self._results.append(result)
        if self._output is None:
            return
        line = {
            "benchmark": self._benchmark,
            "round": round,
            "name": result.name,
            "value": result.value,
            "unit": result.unit,
            "facts": dict(result.facts),
            "aigateway": aigateway.__version__,
            "python": platform.python_version(),
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        with self._output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def table(self) -> str:
        """Medians over the rounds, in the order in which the names came."""
        groups: dict[str, list[Result]] = {}
        for result in self._results:
            groups.setdefault(result.name, []).append(result)
        facts = list(dict.fromkeys(name for result in self._results for name in result.facts))
        rows = [["what", "median", "range", "unit", *facts]]
        for name, results in groups.items():
            values = [result.value for result in results]
            spread = f"{number(min(values))}..{number(max(values))}" if len(values) > 1 else ""
            row = [name, number(statistics.median(values)), spread, results[0].unit]
            for fact in facts:
                known = [result.facts[fact] for result in results if fact in result.facts]
                row.append(number(statistics.median(known)) if known else "")
            rows.append(row)
        return table(rows)


def number(value: float) -> str:
    """``value`` with about three digits that mean something."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(rows: Iterable[list[str]]) -> str:
    """``rows``, the first of which is the head, as an aligned Markdown table."""
    head, *body = rows
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *body]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
