"""The table of docs/fields.md: what becomes of every public request field at each provider."""

from __future__ import annotations

import re
from typing import NamedTuple

from .observed import PROBES, Probes, Verdict, columns, observations

_HEAD = """\
# What becomes of each request field

Made by `python -m tests.field_probes > docs/fields.md` from requests that are really rendered. A test keeps
it as it would be made today, and fails on a field of the official SDKs that does not stand here, and on one
that neither goes up nor is named.

| | |
|---|---|
| kept | goes to the provider under its own name, as it was written |
| mapped | under another name, in other words, or without a word where the target does so anyway |
| emulated | brought about by other means: named in `x-aigateway-dropped` as `field;emulated` |
| dropped | has no place there: named in `x-aigateway-dropped`, and a 400 with `strict` |
| refused | a 400 that names it: without it the answer would be another one |
| answer | for the gateway itself: which target is asked, and how its answer comes back |

A path tells union members apart by what they say of themselves (`type`, or a message's `role`):
`messages[].content[image].source[base64].data`. `{a, b}` stands for several fields of one object with the
same fate, `[a, b]` for several kinds of it. What only the vendor's own servers run, or read, stands for
all that may be in it (`...`).

Values count, too: an `effort` that a model does not have becomes the next one, a limit above the model's
own is lowered and named, thinking and a forced tool exclude each other here and there. What becomes of one
request, `POST /v1/explain` tells.
"""

_DIALECTS = {
    "claude": "Anthropic Messages (`/v1/messages`)",
    "openai": "OpenAI Chat Completions (`/v1/chat/completions`)",
    "responses": "OpenAI Responses (`/v1/responses`)",
    "gemini": "Gemini (`/v1beta/models/{model}:generateContent`)",
}


_TAG = re.compile(r"(.*)\[([^\]]+)\](.*)")


class _Row(NamedTuple):
    """Fields with one fate: ``names`` in any of the objects ``parents``, which differ in one tag."""

    parents: list[str]
    names: list[str]
    words: tuple[str, ...]

    def text(self) -> str:
        parent = _joined(self.parents)
        if self.names[0].startswith("["):
            return f"{parent}[{', '.join(name[1:-1] for name in self.names)}]"
        many = self.names[0] if len(self.names) == 1 else "{" + ", ".join(self.names) + "}"
        return f"{parent}.{many}" if parent else many


def table() -> str:
    return "\n".join([_HEAD, *(_section(dialect) for dialect in PROBES)])


def _section(dialect: str) -> str:
    tables = PROBES[dialect]
    found = observations(dialect)
    titles = _merged(found)
    kept = [places[0] for places in titles.values()]
    lines = [f"## {_DIALECTS[dialect]}", ""]
    lines.append("| field | " + " | ".join(titles) + " |")
    lines.append("|---" * (len(titles) + 1) + "|")
    for row in _rows(tables, found):
        lines.append(f"| `{row.text()}` | " + " | ".join(row.words[place] for place in kept) + " |")
    lines += ["", "Without a word:", ""]
    lines += [f"- `{path}`: {reason}" for path, reason in sorted(tables.unsaid.items())]
    return "\n".join([*lines, ""])


def _merged(found: dict[str, list[Verdict]]) -> dict[str, list[int]]:
    """The columns by their titles, those that are the same all the way down as one."""
    same: dict[tuple[str, ...], list[int]] = {}
    for place in range(len(columns())):
        same.setdefault(tuple(row[place].word for row in found.values()), []).append(place)
    return {"<br>".join(columns()[place].title for place in places): places for places in same.values()}


def _rows(tables: Probes, found: dict[str, list[Verdict]]) -> list[_Row]:
    rows: dict[tuple[str, bool, tuple[str, ...]], _Row] = {}
    for path in sorted(found, key=_order):
        words = tuple(verdict.word for verdict in found[path])
        parent, name = _split(path)
        if path in tables.whole:
            name = f"{name[:-1]}...]" if name.startswith("[") else f"{name}..."
        row = _Row([parent], [], words)
        rows.setdefault((parent, name.startswith("["), words), row).names.append(name)
    merged: dict[tuple[str, tuple[str, ...], tuple[str, ...]], _Row] = {}
    for row in rows.values():
        before, _, after = _around(row.parents[0])
        same = merged.setdefault((f"{before}[]{after}", tuple(row.names), row.words), row)
        if same is not row:
            same.parents.extend(row.parents)
    return list(merged.values())


def _around(path: str) -> tuple[str, str, str]:
    """What is before the last tag in ``path``, the tag, and what is after it."""
    found = _TAG.match(path)
    return (found[1], found[2], found[3]) if found is not None else (path, "", "")


def _joined(paths: list[str]) -> str:
    """Paths that differ in their last tag, as one."""
    if len(paths) == 1:
        return paths[0]
    before, _, after = _around(paths[0])
    return f"{before}[{', '.join(_around(path)[1] for path in paths)}]{after}"


def _order(path: str) -> tuple[str, bool, str]:
    """Fields at the top first; then by object, its fields before what tells its kinds apart."""
    parent, name = _split(path)
    return (parent, name.startswith("["), path)


def _split(path: str) -> tuple[str, str]:
    """What a field is in, and its own name or tag."""
    at = path.rindex("[") if path.endswith("]") and not path.endswith("[]") else path.rfind(".")
    if at < 0:
        return "", path
    return path[:at], path[at:].removeprefix(".")
