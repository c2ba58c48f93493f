"""Gemini's own schemas (OpenAPI 3.0, types in capitals) -> JSON Schema, as all others take it.

The keywords are those of the ``Schema`` message, in camelCase or snake_case. A client that sends
plain JSON Schema here, as many do, gets it back unchanged.
"""

from __future__ import annotations

from typing import Any

_TYPES = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"}
_SPELLINGS = {
    "any_of": "anyOf",
    "additional_properties": "additionalProperties",
    "max_items": "maxItems",
    "min_items": "minItems",
    "max_length": "maxLength",
    "min_length": "minLength",
    "max_properties": "maxProperties",
    "min_properties": "minProperties",
    "ref": "$ref",
}
# An int64 is a string in Google's JSON.
_COUNTS = {"maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"}
# They order what is written, or are no keyword elsewhere.
_LEFT_OUT = {"propertyOrdering", "property_ordering", "nullable", "example"}


def json_schema(schema: dict[str, Any]) -> dict[str, object]:
    """``schema`` as JSON Schema."""
    found: dict[str, object] = {}
    for keyword, value in schema.items():
        if keyword in _LEFT_OUT:
            continue
        keyword = _SPELLINGS.get(keyword, keyword)
        if keyword == "type":
            if value == "TYPE_UNSPECIFIED":
                continue
            value = value.lower() if isinstance(value, str) and value in _TYPES else value
        elif keyword in _COUNTS and isinstance(value, str) and value.isdecimal():
            value = int(value)
        elif keyword in ("properties", "defs", "$defs") and isinstance(value, dict):
            value = {name: _inner(inner) for name, inner in value.items()}
        elif keyword in ("items", "additionalProperties"):
            value = _inner(value)
        elif keyword == "anyOf" and isinstance(value, list):
            value = [_inner(inner) for inner in value]
        found[keyword] = value
    return _with_null(found) if schema.get("nullable") is True else found


def _inner(value: Any) -> object:
    return json_schema(value) if isinstance(value, dict) else value


def _with_null(schema: dict[str, Any]) -> dict[str, object]:
    """``schema``, or null."""
    if isinstance(kind := schema.get("type"), str) and "anyOf" not in schema:
        if isinstance(values := schema.get("enum"), list) and None not in values:
            schema["enum"] = [*values, None]
        return {**schema, "type": [kind, "null"]} if kind != "null" else schema
    if isinstance(choices := schema.get("anyOf"), list):
        return {**schema, "anyOf": [*choices, {"type": "null"}]}
    return schema
