"""A recorded request made small enough to read, and nobody's in particular.

    python tests/clients/shorten.py RECORDING FIXTURE

writes ``FIXTURE.request.json``, the body, and ``FIXTURE.headers.json``. Prompts and descriptions
are cut short, ids replaced by fillers (the same one by the same, everywhere), and a tool is left
out if those kept before it show every kind of thing that it holds: types of tools, fields, and
schema keywords with the type of their value. Nothing else changes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

LONGEST = {"description": 60, "text": 400, "content": 400}
"""How much is kept of the strings of these names."""
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{64}\b")


CALLED = {"Bash", "Read", "exec_command", "exec", "apply_patch", "view_image", "wait_agent"}
CALLED |= {"run_shell_command", "read_file"}
"""Tools to keep in any case: those that the recordings call."""


def anonymous(text: str) -> str:
    """``text`` with each id in it replaced by its number, of the same length."""
    numbers: dict[str, str] = {}

    def filler(match: re.Match[str]) -> str:
        found = match[0]
        number = numbers.setdefault(found, str(len(numbers) + 1))
        if "-" not in found:
            return number.rjust(len(found), "0")
        return f"00000000-0000-4000-8000-{number.rjust(12, '0')}"

    return IDS.sub(filler, text)


def short(value: Any, name: str = "") -> Any:
    """``value`` with its long texts cut and its lists of tools thinned."""
    if isinstance(value, dict):
        return {key: short(one, key) for key, one in value.items()}
    if isinstance(value, list):
        kept = thinned(value) if name in ("tools", "functionDeclarations") else value
        return [short(one, name) for one in kept]
    if isinstance(value, str) and len(value) > LONGEST.get(name, len(value)):
        return value[: LONGEST[name]] + "..."
    return value


def thinned(tools: list[Any]) -> list[Any]:
    """The tools that show a kind of thing that none before them shows; the simplest come first."""
    seen: set[str] = set()
    kept = []
    for tool in sorted(tools, key=lambda tool: len(json.dumps(tool))):
        if not kinds(tool) <= seen:
            seen |= kinds(tool)
            kept.append(tool)
    return [tool for tool in tools if tool in kept or tool.get("name") in CALLED]


RUNS_COMMANDS = re.compile(
    r"^(Bash|exec_command|exec|run_shell_command|apply_patch|Read|read_file|view_image)$"
)
"""Tools to keep in any case: what the clients' turns call."""


def kinds(value: Any, where: str = "") -> set[str]:
    """What kinds of things ``value`` holds: its fields, but for the names of a schema's properties."""
    if isinstance(value, dict):
        found = set()
        for key, one in value.items():
            name = "*" if where == "properties" else key
            found |= {f"{name}: {shown(name, one)}"} | kinds(one, "" if name == "*" else key)
        return found
    if isinstance(value, list):
        return {kind for one in value for kind in kinds(one)}
    return set()


def shown(name: str, value: Any) -> str:
    return str(value) if name in ("type", "format", "execution") else type(value).__name__


def main() -> None:
    recording, fixture = sys.argv[1:]
    told = json.loads(anonymous(Path(recording).read_text()))
    for ending, part in (("request", short(told["body"])), ("headers", told["headers"])):
        text = json.dumps(part, indent=1, ensure_ascii=False)
        Path(f"{fixture}.{ending}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
