"""Tools that take free text (OpenAI's custom tools), where a model only knows functions.

Such a tool becomes a function of one string, ``input``; the grammar of the text is told in the
description. On the way back the string is taken out of the object again. Whether a provider takes
the tool as it is, is for its renderer to know.
"""

from __future__ import annotations

import msgspec

from ..events import Tool

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def description(tool: Tool) -> str | None:
    """The tool's description, and what its ``input`` must be."""
    if not tool.free_text or tool.grammar is None:
        return tool.description
    # Responses has both beside ``type``, Chat Completions one level deeper.
    inner = tool.grammar.get("grammar")
    grammar = inner if isinstance(inner, dict) else tool.grammar
    syntax, definition = grammar.get("syntax"), grammar.get("definition")
    if not definition:
        return tool.description
    rule = f"The input must be text that conforms to this grammar ({syntax}):\n{definition}"
    return f"{tool.description}\n\n{rule}" if tool.description else rule


def text_of(input: str) -> str:
    """The text in a call's input; what the model wrote, where it is no object with one."""
    try:
        value = msgspec.json.decode(input)
    except (msgspec.DecodeError, RecursionError):
        return input
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else input
