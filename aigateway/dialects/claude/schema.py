"""JSON schemas as Claude takes them: for a tool's input, and for an answer that must conform.

A tool takes any schema of an object without alternatives at its root. Structured outputs, and tools
with ``strict``, take less (Anthropic's "Structured outputs"): closed objects, no recursion, no
limits on numbers and lengths. What is beyond that is told to the model in the description, as the
official SDK does it.
"""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ...jsontext import encode

Schema = dict[str, Any]

_FORMATS = {
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
}
_TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_DEFINITIONS = ("$defs", "definitions")
# What says something of one type alone; the rest is told in words where there are several.
_OF_TYPE = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems"),
    "string": ("format",),
}
# Says nothing to the model.
_ABOUT_ITSELF = ("$schema", "$id", "$comment", "$anchor")


class Unfit(ValueError):
    """The schema cannot be told within the limits; the message says why, in a phrase."""


def of_input(schema: Schema | None) -> Schema:
    """The schema of a tool's input: of an object, its root's alternatives merged. Raises `Unfit`."""
    given = {name: value for name, value in (schema or {}).items() if value is not None}
    if isinstance(given.get("type"), list) and "object" in given["type"]:
        given["type"] = "object"
    given = _merged(given)
    whole: Schema = {"type": "object", "properties": {}, **given}
    if whole["type"] != "object" or not isinstance(whole["properties"], dict):
        raise Unfit('it must be that of an object: give it "type": "object", and "properties"')
    return whole


def _merged(schema: Schema) -> Schema:
    """``schema`` without alternatives at its root, which the API refuses there: what any of them
    allows is allowed, what all of them require is required."""
    if not any(word in schema for word in _ALTERNATIVES):
        return schema
    merged = {word: value for word, value in schema.items() if word not in _ALTERNATIVES}
    properties = dict(_properties(schema))
    required = _required(schema)
    for word in _ALTERNATIVES:
        branches = _branches(schema, word)
        for branch in branches:
            for name, value in _properties(branch).items():
                properties.setdefault(name, value)
        demanded = Counter(name for branch in branches for name in dict.fromkeys(_required(branch)))
        least = 1 if word == "allOf" else len(branches)
        required += [name for name, times in demanded.items() if times >= least]
    merged["properties"] = properties
    if required:
        merged["required"] = list(dict.fromkeys(required))
    return merged


def _branches(schema: Schema, word: str) -> list[Schema]:
    """The alternatives at the root of a schema, each of them once."""
    given = schema.get(word) or []
    if not isinstance(given, list):
        raise Unfit("the alternatives at its root must be a list")
    found: list[Schema] = []
    definitions, referred = _definitions(schema), set()
    for branch in given:
        if isinstance(branch, dict) and "$ref" in branch:
            name = _referred(branch["$ref"])
            if name in referred:
                continue
            referred.add(name)
            branch = definitions.get(name)
        if not isinstance(branch, dict) or branch.get("type", "object") != "object":
            raise Unfit("the alternatives at its root must be objects")
        found.append(_merged(branch))
    return found


def _properties(schema: Schema) -> Schema:
    properties = schema.get("properties") or {}
    if not isinstance(properties, dict):
        raise Unfit('its "properties" must be an object')
    return properties


def _required(schema: Schema) -> list[str]:
    """The names that are required; a word of another kind there requires none."""
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def limited(schema: object) -> Schema:
    """``schema`` within the limits of structured outputs, the rest of it in its descriptions.
    Raises `Unfit`."""
    if not isinstance(schema, dict):
        raise Unfit("it is no object")
    definitions = _definitions(schema)
    _refuse_recursion(definitions)
    body = {word: value for word, value in schema.items() if word not in _DEFINITIONS}
    if body.get("type", "object") != "object" and "$ref" not in body:
        raise Unfit("its root is no object")
    found = _limited(body)
    if any(_referred(reference) not in definitions for reference in _references(body)):
        raise Unfit("it refers to a definition that is not there")
    if definitions:
        found["$defs"] = {name: _limited(value) for name, value in definitions.items()}
    return found


def _limited(schema: object) -> Schema:
    if not isinstance(schema, dict):
        raise Unfit("a part of it allows anything")
    rest = {word: value for word, value in schema.items() if word not in _ABOUT_ITSELF}
    if "$ref" in rest:
        return {"$ref": f"#/$defs/{_referred(rest['$ref'])}"}
    found: Schema = {}
    kinds = rest.pop("type", None)
    if isinstance(kinds, list) and len(kinds) == 1:
        (kinds,) = kinds
    literal = _literals(rest, found)
    branches = next((rest.pop(word) for word in ("anyOf", "oneOf") if word in rest), None)
    if branches is None and isinstance(rest.get("allOf"), list) and len(rest["allOf"]) == 1:
        branches = rest.pop("allOf")
    if "allOf" in rest or "not" in rest or "if" in rest:
        raise Unfit("it combines schemas in a way that is not taken")
    for word in ("title", "description"):
        if isinstance(rest.get(word), str):
            found[word] = rest.pop(word)
    if isinstance(branches, list):
        found["anyOf"] = [_limited(branch) for branch in branches]
        for word in ("properties", "required", "items", "additionalProperties"):
            if rest.pop(word, None) not in (None, False):
                raise Unfit("a part of it has alternatives and more beside them")
    elif isinstance(kinds, list) and not literal:
        found["anyOf"] = _by_type(kinds, rest)
    elif not literal:
        _typed(kinds or ("object" if "properties" in rest else None), rest, found)
    if rest:
        told = ", ".join(f"{word}: {encode(value).decode()}" for word, value in rest.items())
        found["description"] = (
            f"{found['description']}\n\n{{{told}}}" if "description" in found else f"{{{told}}}"
        )
    return found


def _by_type(kinds: list[object], rest: Schema) -> list[Schema]:
    """A schema for each of several types, of the words in ``rest`` that are about it. No word goes to
    two of them: nested, they would double at each level."""
    if not kinds or not all(isinstance(kind, str) for kind in kinds):
        raise Unfit("a part of it has no type")
    return [
        _limited(
            {"type": kind} | {word: rest.pop(word) for word in _OF_TYPE.get(str(kind), ()) if word in rest}
        )
        for kind in dict.fromkeys(kinds)
    ]


def _literals(rest: Schema, found: Schema) -> bool:
    """Whether the values are listed one by one; then their type goes without saying."""
    for word in ("enum", "const"):
        values = rest.get(word, _NONE)
        every = values if word == "enum" and isinstance(values, list) else [values]
        if values is not _NONE and every and not any(isinstance(value, dict | list) for value in every):
            found[word] = rest.pop(word)
    return bool(found)


_NONE = object()


def _typed(kind: object, rest: Schema, found: Schema) -> None:
    """The words of one type, from ``rest`` to ``found``."""
    if not isinstance(kind, str) or kind not in _TYPES:
        raise Unfit("a part of it has no type")
    found["type"] = kind
    if kind == "object":
        properties, required = _properties(rest), _required(rest)
        rest.pop("properties", None)
        others = rest.pop("additionalProperties", None)
        if not properties and others is not False:
            raise Unfit("an object in it has names that are not known")
        found["properties"] = {name: _limited(value) for name, value in properties.items()}
        found["additionalProperties"] = False
        if rest.pop("required", None) is not None:
            found["required"] = [name for name in required if name in properties]
    elif kind == "array":
        if "items" not in rest:
            raise Unfit("an array in it may hold anything")
        found["items"] = _limited(rest.pop("items"))
        if rest.get("minItems") in (0, 1):
            found["minItems"] = rest.pop("minItems")
    elif kind == "string" and isinstance(rest.get("format"), str) and rest["format"] in _FORMATS:
        found["format"] = rest.pop("format")


def _definitions(schema: Schema) -> dict[str, object]:
    found: dict[str, object] = {}
    for word in _DEFINITIONS:
        if isinstance(named := schema.get(word), dict):
            found |= named
    return found


def _referred(reference: object) -> str:
    """The name of the definition that is referred to."""
    for word in _DEFINITIONS:
        place = f"#/{word}/"
        if isinstance(reference, str) and reference.startswith(place) and "/" not in reference[len(place) :]:
            return reference[len(place) :]
    raise Unfit("it refers to itself, or to what is elsewhere")


def _refuse_recursion(definitions: dict[str, object]) -> None:
    """Raises `Unfit` unless each definition refers only to others that come to an end."""
    needs = {name: {_referred(one) for one in _references(value)} for name, value in definitions.items()}
    try:
        TopologicalSorter(needs).prepare()
        known = all(names <= definitions.keys() for names in needs.values())
    except CycleError:
        known = False
    if not known:
        raise Unfit("it is recursive, or refers to a definition that is not there")


def _references(value: object) -> list[object]:
    if isinstance(value, list):
        return [found for item in value for found in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [found for item in value.values() for found in _references(item)]
