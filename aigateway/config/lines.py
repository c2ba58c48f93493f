"""On which line of a TOML text a key stands: tomllib does not say."""

from __future__ import annotations

import re

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_PATH = rf"(?P<path>{_NAME}(?:\s*\.\s*{_NAME})*)"
_HEADER = re.compile(rf"\s*\[(?P<array>\[)?\s*{_PATH}\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(rf"\s*{_PATH}\s*=")


def line_numbers(text: str) -> dict[str, int]:
    """The line of each table and key in a TOML text, by its place (``routes[0].model``).

    It knows tables and keys at the beginning of a line, which is nearly all; what stands
    deeper is at the line of what holds it.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    quotes = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not quotes:
            if header := _HEADER.fullmatch(line):
                table = _table(_names(header["path"]), header["array"] is not None, counts)
                lines.setdefault(table, number)
            elif key := _KEY.match(line):
                place = table
                for name in _names(key["path"]):
                    place = f"{place}.{name}" if place else name
                    lines.setdefault(place, number)
        for mark in ('"""', "'''"):
            if quotes in ("", mark) and line.count(mark) % 2:
                quotes = "" if quotes else mark
    return lines


def _names(path: str) -> list[str]:
    return [name.strip("\"'") for name in re.findall(_NAME, path)]


def _table(names: list[str], array: bool, counts: dict[str, int]) -> str:
    """The place of the table that a header names; ``counts`` numbers those in arrays."""
    place = ""
    for index, name in enumerate(names):
        place = f"{place}.{name}" if place else name
        if array and index == len(names) - 1:
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = f"{place}[{counts[place]}]"
    return place
