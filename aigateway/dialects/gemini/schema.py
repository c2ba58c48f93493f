"""JSON Schema -> the part of OpenAPI that Gemini and Antigravity take.

They refuse a whole request for one keyword they do not know, so the result is built from
a white list; what is left out and can be said in a phrase goes into the description. A
property's name is never taken for a keyword, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

NO_ARGUMENTS = "_no_arguments"
"""The one property of `PLACEHOLDER`; the reader takes it out of the call again."""

PLACEHOLDER: dict[str, object] = {
    "type": "object",
    "properties": {NO_ARGUMENTS: {"type": "boolean", "description": "Not used. Send true."}},
    "required": [NO_ARGUMENTS],
}
"""For a tool without parameters where an empty object is refused (Claude on Antigravity)."""

MAX_DEPTH = 32
MAX_INLINED = 64 * 1024
"""How much JSON text references may add to one schema; beyond it they stay unresolved."""

MAX_COST = 20_000
"""How many objects are visited, for one schema and for all tools of a request together
(inlined text counts as an object for each 32 bytes); what comes after is not described."""

MAX_CACHED = 16 * 1024
"""The JSON text of a schema that is kept, cleaned, for the next request with it."""

MAX_ENUM_HINT = 200

_TYPES = ("object", "array", "string", "number", "integer", "boolean")

# What may stand in the result, by the type it goes with. A number's ``format`` and most
# of a string's are refused by one server or another.
_ANY_TYPE = ("title", "description", "default", "example", "nullable")
_BY_TYPE = {
    "object": ("properties", "required", "minProperties", "maxProperties", "propertyOrdering"),
    "array": ("items", "minItems", "maxItems"),
    "string": ("enum", "format", "minLength", "maxLength", "pattern"),
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
    "boolean": (),
}
_COUNTS = ("minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength")
_STRING_FORMATS = ("enum", "date-time")

# Refused, but short enough to tell the model in words.
_NULL = {"type": "string", "nullable": True}

_HINTS = ("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems")

Schema = dict[str, Any]


class Declared(NamedTuple):
    """A tool's ``parameters`` as JSON, None where there are none to declare; ``cost`` is how
    much of a request's `MAX_COST` it took, as much again when it comes from the cache."""

    parameters: msgspec.Raw | None
    cost: int


def declared(schema: dict[str, object] | None, *, antigravity: bool) -> Declared:
    """`clean`, for a request's tools: a conversation sends the same ones at every turn."""
    if not schema:
        return Declared(None, 1)
    text = msgspec.json.encode(schema)
    if len(text) > MAX_CACHED:
        return _declare(schema, antigravity)
    return _declare_text(text, antigravity)


@lru_cache(256)
def _declare_text(text: bytes, antigravity: bool) -> Declared:
    return _declare(msgspec.json.decode(text), antigravity)


def _declare(schema: dict[str, object], antigravity: bool) -> Declared:
    cleaning = _Cleaning(schema, antigravity)
    parameters = cleaning.parameters()
    return Declared(msgspec.Raw(msgspec.json.encode(parameters)) if parameters else None, cleaning.cost)


def clean(schema: dict[str, object] | None, *, antigravity: bool) -> dict[str, object] | None:
    """The ``parameters`` for a tool with this ``input_schema``; None where there are none to
    declare. On Antigravity a choice of types is narrowed to one."""
    return _Cleaning(schema, antigravity).parameters() if schema else None


def simplify(schema: dict[str, object], *, antigravity: bool) -> Schema:
    """``schema`` without what Gemini refuses, whatever type it has: for structured output."""
    result = _Cleaning(schema, antigravity).root()
    if antigravity and "anyOf" in result:
        _merge(result, _best(result.pop("anyOf")))
    return result


class _Cleaning:
    """One schema's way through. ``node`` gives a whole schema; ``_partial`` what one object
    says, with its children whole, so that the parts of an ``allOf`` can be put together."""

    def __init__(self, root: dict[str, object], antigravity: bool) -> None:
        self._root = root
        self._antigravity = antigravity
        self._room = MAX_INLINED
        self.cost = 0

    def parameters(self) -> Schema | None:
        """The root as the parameters of a tool, which are always one object."""
        result = self.root()
        if "anyOf" in result:
            result = _folded(result["anyOf"])
        result.pop("nullable", None)
        return result if result.get("properties") else None

    def root(self) -> Schema:
        """The root, a choice even on Antigravity: what becomes of that depends on its use."""
        return self.node(self._root, frozenset(), 0) or dict(_NULL)

    def node(self, schema: object, followed: frozenset[str], depth: int) -> Schema | None:
        """None for a schema that only null, or nothing, satisfies."""
        if schema is False:
            return None
        if depth > MAX_DEPTH or self.cost > MAX_COST:
            return {"type": "object", "description": "(too deep or too much to be described)"}
        partial = self._partial(schema if isinstance(schema, dict) else {}, followed, depth)
        return None if partial.get("type") == "null" else _finished(partial)

    def _partial(self, schema: Schema, followed: frozenset[str], depth: int) -> Schema:
        self.cost += 1
        if depth > MAX_DEPTH or self.cost > MAX_COST:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            # The keywords beside a reference win over what it stands for.
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            result = self._partial(beside, followed, depth + 1)
            _merge(result, self._referred(reference, followed, depth))
            return result
        result = self._own(schema, followed, depth)
        for branch in _list(schema.get("allOf")):
            if isinstance(branch, dict):
                _merge(result, self._partial(branch, followed, depth + 1))
        branches = _list(schema.get("anyOf")) + _list(schema.get("oneOf"))
        if not branches:
            return result
        if "type" in result or "properties" in result:
            self._fold(result, branches, followed, depth)
        else:
            self._choose(result, branches, followed, depth)
        return result

    # ------------------------------------------------------------ references

    def _referred(self, reference: str, followed: frozenset[str], depth: int) -> Schema:
        """What a ``$ref`` stands for; an object of which only the name is told where it is
        recursive, remote or too much."""
        target = None if reference in followed else self._target(reference)
        if target is None:
            return {"type": "object", "description": f"(see {reference.rsplit('/', 1)[-1][:100]})"}
        return self._partial(target, followed | {reference}, depth + 1)

    def _target(self, reference: str) -> Schema | None:
        """The object that a local JSON pointer names, while there is room to inline it."""
        if self._room < 0 or not reference.startswith("#/"):
            return None
        target: object = self._root
        for step in reference.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and step.isdecimal() and len(step) < 6:
                target = target[int(step)] if int(step) < len(target) else None
            else:
                target = target.get(step) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            return None
        size = max(len(msgspec.json.encode(target)), 32)
        self._room -= size
        self.cost += size // 32
        return target if self._room >= 0 else None

    # --------------------------------------------------- one object's keywords

    def _own(self, schema: Schema, followed: frozenset[str], depth: int) -> Schema:
        """What the object itself says, apart from its references and branches."""
        result: Schema = {}
        hints: list[str] = []
        self._set_type(schema.get("type"), result)
        for key in ("title", "description", "pattern"):
            if isinstance(schema.get(key), str):
                result[key] = schema[key]
        for key in _COUNTS:
            if (count := _count(schema.get(key))) is not None:
                result[key] = count
        for key in ("minimum", "maximum"):
            if _is_number(schema.get(key)):
                result[key] = schema[key]
        if schema.get("nullable") is True:
            result["nullable"] = True
        for key in ("default", "example"):
            if schema.get(key) is not None:
                result[key] = schema[key]
        form = schema.get("format")
        if form in _STRING_FORMATS:
            result["format"] = form
        elif isinstance(form, str) and form:
            hints.append(f"format: {form[:50]}")
        if "const" in schema:
            _enumerate([schema["const"]], result, hints)
        elif values := _list(schema.get("enum")):
            _enumerate(values, result, hints)
        for key in _HINTS:
            value = schema.get(key)
            if _is_number(value) or value is True:
                hints.append(f"{key}: {_json(value)}")
        _hint(result, hints)
        self._add_children(schema, result, followed, depth)
        return result

    def _set_type(self, told: object, result: Schema) -> None:
        """``type`` as one name, or a list of several that `_finished` makes a choice of."""
        names = [told] if isinstance(told, str) else [name for name in _list(told) if isinstance(name, str)]
        kinds = list(dict.fromkeys(kind for name in names if (kind := name.lower()) in _TYPES))
        if "number" in kinds and "integer" in kinds:
            kinds.remove("integer")
        if any(name.lower() == "null" for name in names):
            if not kinds:
                result["type"] = "null"
                return
            result["nullable"] = True
        if kinds:
            one = len(kinds) == 1 or self._antigravity
            result["type"] = min(kinds, key=_TYPES.index) if one else kinds

    def _add_children(self, schema: Schema, result: Schema, followed: frozenset[str], depth: int) -> None:
        properties = schema.get("properties")
        if isinstance(properties, dict):
            result["properties"] = {
                name: self.node(value, followed, depth + 1) or dict(_NULL)
                for name, value in properties.items()
                if value is not False
            }
        items = schema.get("items")
        if tuple_of := _list(schema.get("prefixItems")):
            items = [*tuple_of, items] if isinstance(items, dict) else tuple_of
        if isinstance(items, list):
            items = {"anyOf": items}  # a tuple
        if items is not None:
            result["items"] = self.node(items, followed, depth + 1) or dict(_NULL)
        for key in ("required", "propertyOrdering"):
            if names := [name for name in _list(schema.get(key)) if isinstance(name, str)]:
                result[key] = names

    # ---------------------------------------------------- anyOf and oneOf

    def _fold(self, result: Schema, branches: list[Any], followed: frozenset[str], depth: int) -> None:
        """Take what the branches add to the type that stands beside them, since Gemini wants
        one or the other: their properties, as optional ones, or their enums."""
        partials = [
            self._partial(branch, followed, depth + 1) for branch in branches if isinstance(branch, dict)
        ]
        if result.get("type", "object") == "object":
            for one in _objects(partials):
                _merge(result, {"properties": one["properties"]})
        elif result["type"] == "string" and partials and all("enum" in partial for partial in partials):
            _merge(result, {"enum": [name for partial in partials for name in partial["enum"]]})

    def _choose(self, result: Schema, branches: list[Any], followed: frozenset[str], depth: int) -> None:
        """Put the branches into ``result``: as one schema where that is possible."""
        different: dict[bytes, Schema] = {}
        for branch in branches:
            choice = self.node(branch, followed, depth + 1)
            if choice is not None:
                different.setdefault(msgspec.json.encode(choice), choice)
            elif branch is not False:
                result["nullable"] = True
        choices = list(different.values())
        if not choices:
            result["type"] = "null"
        elif all("enum" in choice for choice in choices):
            names = (name for choice in choices for name in choice["enum"])
            _merge(result, {"type": "string", "enum": list(dict.fromkeys(names))})
        elif len(choices) == 1 or (self._antigravity and depth > 0):
            _merge(result, _best(choices))
        else:
            result["anyOf"] = choices


def _finished(partial: Schema) -> Schema:
    """A whole schema: one type, what goes with it, and what Gemini insists on beside it."""
    kind = partial.get("type") or _implied_type(partial)
    common = {key: partial[key] for key in _ANY_TYPE if key in partial}
    if isinstance(kind, list):
        pieces = {key: value for key, value in partial.items() if key not in _ANY_TYPE}
        partial = {"anyOf": [_finished({**pieces, "type": one}) for one in kind]}
        kind = None
    if kind is None:
        return {"anyOf": partial["anyOf"], **common}
    result: Schema = {"type": kind, **common}
    for key in _BY_TYPE[kind]:
        if key in partial:
            result[key] = partial[key]
    if kind == "array":
        result.setdefault("items", {"type": "string"})
    elif kind == "object":
        properties = result.get("properties", {})
        for key in ("properties", "required", "propertyOrdering"):
            if key != "properties":
                result[key] = [name for name in dict.fromkeys(result.get(key, ())) if name in properties]
            if not result.get(key):
                result.pop(key, None)
    return result


def _implied_type(partial: Schema) -> str | None:
    """The type that the other keywords speak of. Vertex refuses a schema without one; a
    string can hold any value. None for a choice, which has none of its own."""
    if "properties" not in partial and "anyOf" in partial:
        return None
    for kind in _TYPES:
        if any(key in partial for key in _BY_TYPE[kind]):
            return kind
    return "string"


def _merge(result: Schema, other: Schema) -> None:
    """Add what ``other`` says; where both say something, ``result`` stands."""
    for key, value in other.items():
        if key == "properties" and key in result:
            for name, schema in value.items():
                result[key].setdefault(name, schema)
        elif key == "required" and key in result:
            result[key] += value
        else:
            result.setdefault(key, value)


def _objects(choices: Iterable[Schema]) -> Iterator[Schema]:
    """Those with properties, choices within choices included."""
    for choice in choices:
        if "properties" in choice:
            yield choice
        else:
            yield from _objects(choice.get("anyOf", ()))


def _folded(choices: list[Schema]) -> Schema:
    """One object with the properties of all: required are those that every one requires."""
    result: Schema = {"type": "object"}
    required: dict[str, int] = {}
    objects = list(_objects(choices))
    for one in objects:
        _merge(result, {"properties": dict(one["properties"])})
        for name in one.get("required", ()):
            required[name] = required.get(name, 0) + 1
    if common := [name for name, count in required.items() if count == len(objects)]:
        result["required"] = common
    return result


def _best(choices: Iterable[Schema]) -> Schema:
    """The choice that says most: an object, else an array, else a scalar."""
    ranks = {"object": 0, "array": 1}
    return min(choices, key=lambda choice: ranks.get(choice.get("type", ""), 2))


def _enumerate(values: list[Any], result: Schema, hints: list[str]) -> None:
    """An enum as strings, where the type is one; any other can only be told in words."""
    if None in values:
        values = [value for value in values if value is not None]
        if not values:
            result["type"] = "null"
            return
        result["nullable"] = True
    told = result.get("type")
    kind = told if isinstance(told, str) else _type_of(values)
    if kind is not None:
        result["type"] = kind
    if kind == "string":
        names = dict.fromkeys(value if isinstance(value, str) else _json(value) for value in values)
        names.pop("", None)  # refused in an enum
        if names:
            result["enum"] = list(names)
    else:
        hints.append(f"one of: {', '.join(map(_json, values))[:MAX_ENUM_HINT]}")


def _type_of(values: list[Any]) -> str | None:
    if all(isinstance(value, bool) for value in values):
        return "boolean"
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    if all(_is_number(value) for value in values):
        return "number"
    return None if any(isinstance(value, dict | list) for value in values) else "string"


def _hint(result: Schema, hints: list[str]) -> None:
    if hints:
        told = f"({'; '.join(hints)})"
        result["description"] = f"{result['description']} {told}" if result.get("description") else told


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -(2**63) <= value <= 2**63


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
