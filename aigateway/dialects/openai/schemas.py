"""JSON schemas as OpenAI takes them: of a tool's parameters, and of an answer.

"Structured outputs" in OpenAI's documentation says what a strict one must be. A schema that is none
is sent as it is and not called strict: to make it so would change what the client asked for.
"""

from __future__ import annotations

import re

from ...events import ResponseFormat, Tool
from .. import fields


def parameters_of(tool: Tool) -> dict[str, object]:
    """The tool's schema, which must be that of an object with properties (OpenAI answers 400)."""
    given = {name: value for name, value in (tool.input_schema or {}).items() if value is not None}
    schema = {"type": "object", "properties": {}, **given}
    if schema["type"] != "object" or not isinstance(schema["properties"], dict):
        raise fields.wrong(
            "tools",
            f"the schema of {fields.shortened(tool.name)} must be that of an object: "
            'give it "type": "object", and "properties" that are an object',
        )
    return schema


def is_strict(schema: object) -> bool:
    """Whether ``schema`` is one that OpenAI takes with ``strict``: a root object without anyOf, every
    object closed and with all of its properties required."""
    return isinstance(schema, dict) and "anyOf" not in schema and _closed(schema, root=True)


def _closed(schema: object, *, root: bool = False) -> bool:
    if not isinstance(schema, dict):
        return False
    properties = schema.get("properties")
    if root or properties is not None or schema.get("type") == "object":
        if not isinstance(properties, dict) or schema.get("additionalProperties") is not False:
            return False
        if set(properties) != _names(schema.get("required")):
            return False
        if not all(_closed(value) for value in properties.values()):
            return False
    if any(word in schema for word in ("allOf", "oneOf", "not", "if")):
        return False
    definitions = [schema.get(word) for word in ("$defs", "definitions")]
    inner = [value for one in definitions if isinstance(one, dict) for value in one.values()]
    if isinstance(any_of := schema.get("anyOf"), list):
        inner += any_of
    if "items" in schema:
        inner.append(schema["items"])
    return all(_closed(value) for value in inner)


def _names(required: object) -> set[str]:
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def json_schema(wanted: ResponseFormat) -> dict[str, object]:
    """OpenAI wants a name; Claude's format has none."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", wanted.name or "answer")[:64]
    strict = wanted.strict is not False and is_strict(wanted.schema)
    return {"name": name, "schema": wanted.schema, "strict": strict}
