"""JSON Schema cut down to what Gemini and Antigravity take."""

from __future__ import annotations

import json
import unittest
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.dialects.gemini.schema import MAX_COST, MAX_INLINED, clean, declared, simplify

COUNTS = ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"]
ALLOWED = {
    *("type", "format", "title", "description", "nullable", "enum", "items", "properties", "required"),
    *("anyOf", "minimum", "maximum", "pattern", "default", "example", "propertyOrdering"),
    *COUNTS,
}
TYPES = {"object", "array", "string", "number", "integer", "boolean"}


def properties_of(antigravity: bool = False, **properties: Any) -> dict[str, Any]:
    """The cleaned properties of an object that has these."""
    result = clean({"type": "object", "properties": properties}, antigravity=antigravity)
    assert result is not None
    cleaned = result["properties"]
    assert isinstance(cleaned, dict)
    return cleaned


def one(schema: Any, antigravity: bool = False) -> Any:
    return properties_of(antigravity, x=schema)["x"]


def check_allowed(schema: Any) -> None:
    """Only allowed keywords stand where keywords do, with values of the right kind."""
    assert isinstance(schema, dict)
    assert set(schema) <= ALLOWED, set(schema) - ALLOWED
    if "anyOf" in schema:
        assert "type" not in schema
        assert "properties" not in schema
        for branch in schema["anyOf"]:
            check_allowed(branch)
        return
    assert schema["type"] in TYPES
    for key, kind in (("description", str), ("title", str), ("pattern", str), ("nullable", bool)):
        assert isinstance(schema.get(key, kind()), kind)
    for key in COUNTS:
        assert isinstance(schema.get(key, 0), int)
    if "enum" in schema:
        assert schema["type"] == "string"
        assert schema["enum"]
        assert all(isinstance(value, str) and value for value in schema["enum"])
    assert schema.get("format", "enum") in ("enum", "date-time")
    if schema["type"] == "array":
        check_allowed(schema["items"])
    if "properties" in schema:
        for value in schema["properties"].values():
            check_allowed(value)
    assert set(schema.get("required", ())) <= set(schema.get("properties", ()))


class Keywords(unittest.TestCase):
    def test_unknown_keywords_go(self) -> None:
        """Keywords outside the list are dropped at every depth."""
        result = clean(
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "$id": "x",
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "a": {"type": "array", "items": {"type": "string", "deprecated": True, "x-y": 1}}
                },
                "if": {},
                "patternProperties": {"^a": {}},
            },
            antigravity=True,
        )
        self.assertEqual(
            result,
            {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
        )

    def test_property_names_survive(self) -> None:
        """A property that is called like a keyword is a name; defaults are not touched."""
        names = [
            "type",
            "format",
            "title",
            "const",
            "$ref",
            "properties",
            "required",
            "enum",
            "x-y",
            "default",
        ]
        schema: dict[str, object] = {
            "type": "object",
            "properties": {name: {"type": "string"} for name in names},
            "required": names,
            "default": {"const": 1, "$ref": "#", "additionalProperties": False},
        }
        result = clean(schema, antigravity=True)
        self.assertEqual(result, schema)

    def test_const_and_enum(self) -> None:
        """const is an enum of one; enums are strings, those of numbers are told in words."""
        self.assertEqual(one({"const": "a"}), {"type": "string", "enum": ["a"]})
        self.assertEqual(
            one({"type": "string", "enum": [1, "b", True]}), {"type": "string", "enum": ["1", "b", "true"]}
        )
        self.assertEqual(
            one({"type": "integer", "enum": [1, 2], "description": "n"}),
            {"type": "integer", "description": "n (one of: 1, 2)"},
        )
        self.assertEqual(one({"enum": ["a", "", None]}), {"type": "string", "nullable": True, "enum": ["a"]})

    def test_null_is_nullable(self) -> None:
        """A null among the types or branches makes the rest nullable."""
        self.assertEqual(one({"type": ["string", "null"]}), {"type": "string", "nullable": True})
        self.assertEqual(
            one({"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "X", "default": None}),
            {"type": "integer", "title": "X", "nullable": True},
        )
        self.assertEqual(
            one({"type": ["object", "null"], "properties": {"y": {"type": "string"}}})["properties"],
            {"y": {"type": "string"}},
        )

    def test_choices(self) -> None:
        """Gemini gets anyOf, each branch with its own keywords; Antigravity the best branch."""
        schema = {"type": ["string", "integer"], "minLength": 2, "minimum": 3}
        self.assertEqual(
            one(schema),
            {"anyOf": [{"type": "string", "minLength": 2}, {"type": "integer", "minimum": 3}]},
        )
        self.assertEqual(one(schema, True), {"type": "string", "minLength": 2})
        choice = {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"y": {"type": "string"}}}]}
        self.assertEqual(len(one(choice)["anyOf"]), 2)
        self.assertEqual(one(choice, True)["type"], "object")
        literals = {"anyOf": [{"const": "a"}, {"const": "b"}]}
        self.assertEqual(one(literals), {"type": "string", "enum": ["a", "b"]})
        self.assertEqual(one({"type": "string", **literals}), {"type": "string", "enum": ["a", "b"]})

    def test_branches_beside_a_type(self) -> None:
        """What anyOf adds to an object becomes optional properties of it."""
        schema = {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "anyOf": [{"required": ["b"]}, {"properties": {"c": {"type": "string"}}, "required": ["c"]}],
        }
        self.assertEqual(
            one(schema),
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "c": {"type": "string"}},
                "required": ["a"],
            },
        )

    def test_all_of(self) -> None:
        """allOf is put together: properties and required of all parts."""
        a = {"properties": {"a": {"type": "string"}}, "required": ["a"]}
        b = {"properties": {"b": {"type": "string"}}, "required": ["b"]}
        self.assertEqual(
            one({"allOf": [a, b]}),
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "required": ["a", "b"],
            },
        )

    def test_choice_at_the_root(self) -> None:
        """A choice of objects at the root becomes one with the properties of all."""
        a = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
        b = {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}
        both = {"a": {"type": "string"}, "b": {"type": "integer"}}
        choices: list[dict[str, Any]] = [
            {"anyOf": [a, b]},
            {"oneOf": [a, b, {"type": "null"}]},
            {"type": "object", "anyOf": [a, b]},
            {"anyOf": [{"anyOf": [a, {"type": "string"}]}, b]},
        ]
        for schema in choices:
            for antigravity in (True, False):
                with self.subTest(schema, antigravity=antigravity):
                    self.assertEqual(
                        clean(schema, antigravity=antigravity), {"type": "object", "properties": both}
                    )
        for antigravity in (True, False):
            nullable: dict[str, Any] = {"anyOf": [a, {"type": "null"}]}
            self.assertEqual(clean(nullable, antigravity=antigravity), a)
            self.assertEqual(simplify({"anyOf": [{"type": "string"}, a]}, antigravity=True), a)
        more = {**b, "properties": both, "required": ["a", "b"]}
        referred: dict[str, Any] = {"$ref": "#/$defs/C", "$defs": {"C": {"anyOf": [a, more]}}}
        self.assertEqual(
            clean(referred, antigravity=False), {"type": "object", "properties": both, "required": ["a"]}
        )

    def test_tuples(self) -> None:
        """The items of a tuple are a choice of its places and of what may follow."""
        places = [{"type": "string"}, {"type": "integer"}]
        for rest, expected in (
            ({"items": False}, places),
            ({"items": True}, places),
            ({}, places),
            ({"items": {"type": "boolean"}}, [*places, {"type": "boolean"}]),
        ):
            self.assertEqual(
                one({"type": "array", "prefixItems": places, **rest}),
                {"type": "array", "items": {"anyOf": expected}},
            )

    def test_numbers_beyond_all_bounds(self) -> None:
        """A number that no server holds is left out."""
        for number in (10**400, -(10**30), 1e300):
            self.assertEqual(
                one({"type": "number", "minimum": number, "maximum": 3}), {"type": "number", "maximum": 3}
            )
            self.assertEqual(one({"type": "integer", "multipleOf": number}), {"type": "integer"})
            one({"enum": [number, 1.5]})

    def test_hints(self) -> None:
        """What can be said in a phrase goes into the description."""
        self.assertEqual(
            one({"type": "integer", "description": "n", "exclusiveMinimum": 3, "multipleOf": 2}),
            {"type": "integer", "description": "n (exclusiveMinimum: 3; multipleOf: 2)"},
        )
        self.assertEqual(
            one({"type": "string", "format": "uri"}), {"type": "string", "description": "(format: uri)"}
        )
        self.assertEqual(one({"type": "string", "format": "date-time"})["format"], "date-time")

    def test_what_gemini_insists_on(self) -> None:
        """Every schema has a type, an array items; required names only what exists."""
        self.assertEqual(one({"type": "array"}), {"type": "array", "items": {"type": "string"}})
        self.assertEqual(one({}), {"type": "string"})
        self.assertEqual(one(True), {"type": "string"})
        self.assertEqual(
            clean(
                {"properties": {"a": {"type": "string"}}, "required": ["a", "b", "a", 3]}, antigravity=False
            ),
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        )

    def test_no_parameters(self) -> None:
        """An object without properties is no parameters at all."""
        empty: list[Any] = [None, {}, {"type": "object"}, {"type": "string"}, {"properties": {}}]
        for schema in empty:
            self.assertIsNone(clean(schema, antigravity=False))

    def test_output_schemas_may_be_arrays(self) -> None:
        """For structured output the root need not be an object."""
        self.assertEqual(
            simplify({"type": "array", "items": {"type": "integer"}}, antigravity=True),
            {"type": "array", "items": {"type": "integer"}},
        )


class References(unittest.TestCase):
    def test_inlined(self) -> None:
        """A local reference is replaced by what it names; keywords beside it win."""
        result = clean(
            {
                "properties": {"a": {"$ref": "#/$defs/A~1b%20c", "description": "mine"}},
                "$defs": {"A/b c": {"type": "integer", "description": "theirs"}},
            },
            antigravity=True,
        )
        assert result is not None
        self.assertEqual(result["properties"], {"a": {"type": "integer", "description": "mine"}})

    def test_recursive(self) -> None:
        """A recursive reference ends in an object that says what it stands for."""
        node = {"properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}}}
        result = clean(
            {"properties": {"n": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}, antigravity=True
        )
        assert result is not None
        self.assertEqual(
            result["properties"],
            {
                "n": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "integer"},
                        "next": {"type": "object", "description": "(see Node)"},
                    },
                }
            },
        )

    def test_remote_or_dangling(self) -> None:
        """A reference that leads nowhere here becomes an object."""
        for reference in ("http://x/y", "#/nowhere", "#/$defs/0/1", "#", "#/a/99", ""):
            self.assertEqual(one({"$ref": reference})["type"], "object")

    def test_explosion(self) -> None:
        """References that double at each level cost no more than a fixed amount of text."""
        defs: dict[str, Any] = {"d0": {"type": "string", "description": "x" * 100}}
        for level in range(1, 31):
            branch = {"$ref": f"#/$defs/d{level - 1}"}
            defs[f"d{level}"] = {"type": "object", "properties": {"l": branch, "r": branch}}
        schema: dict[str, Any] = {"properties": {"top": {"$ref": "#/$defs/d30"}}, "$defs": defs}
        for antigravity in (True, False):
            result = clean(schema, antigravity=antigravity)
            check_allowed(result)
            self.assertLess(len(json.dumps(result)), 4 * MAX_INLINED)

    def test_budget(self) -> None:
        """What one schema costs is bounded, by references or without them, and is the same
        whether it comes from the cache or not."""
        wide: dict[str, Any] = {"properties": {f"p{n}": {"type": "string"} for n in range(2 * MAX_COST)}}
        result, cost = declared(wide, antigravity=False)
        assert result is not None
        check_allowed(json.loads(bytes(result)))
        self.assertLess(cost, 2 * MAX_COST)
        defs: dict[str, Any] = {"d0": {"properties": {"a": {"type": "string"}}}}
        for level in range(1, 13):
            defs[f"d{level}"] = {"anyOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 2}
        grown: dict[str, Any] = {"properties": {"x": {"$ref": "#/$defs/d12"}}, "$defs": defs}
        first = declared(grown, antigravity=True)
        self.assertGreater(first.cost, 1000)
        self.assertEqual(declared(grown, antigravity=True), first)
        assert first.parameters is not None
        self.assertEqual(json.loads(bytes(first.parameters)), clean(grown, antigravity=True))
        self.assertEqual(declared({}, antigravity=True).parameters, None)

    def test_deep(self) -> None:
        """A chain of references, however long, does not exhaust the stack."""
        defs: dict[str, Any] = {
            f"d{level}": {"type": "object", "properties": {"n": {"$ref": f"#/$defs/d{level + 1}"}}}
            for level in range(2000)
        }
        schema: dict[str, Any] = {"properties": {"n": {"$ref": "#/$defs/d0"}}, "$defs": defs}
        check_allowed(clean(schema, antigravity=True))

    def test_wide(self) -> None:
        """Thousands of branches come out, none lost and none twice."""
        names = [f"p{n}" for n in range(4000)]
        branches = [{"type": "object", "properties": {name: {}}, "required": [name]} for name in names]
        self.assertEqual(len(one({"anyOf": branches + branches})["anyOf"]), len(names))
        self.assertEqual(one({"allOf": branches})["required"], names)
        self.assertEqual(len(one({"type": "object", "anyOf": branches})["properties"]), len(names))


KEYWORDS = [
    *sorted(ALLOWED),
    *("$ref", "$defs", "const", "allOf", "oneOf", "prefixItems", "not", "exclusiveMinimum"),
    *("additionalProperties", "patternProperties"),
]
SCALARS = st.sampled_from(
    [
        *(None, True, False, 0, -1, 3, 2.0, 1.5, 10**18),
        *("", "a", "string", "object", "array", "null", "date-time"),
        *("#", "#/$defs/a", "#/$defs/b", "#/properties/a"),
    ]
)
NAMES = st.sampled_from([*KEYWORDS, "a", "b"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


class AnySchema(unittest.TestCase):
    @settings(max_examples=400, deadline=None)
    @given(st.dictionaries(NAMES, JSON, max_size=6), st.booleans())
    def test_any_schema(self, schema: dict[str, Any], antigravity: bool) -> None:
        """Whatever comes in, what goes out has allowed keywords only, and a bounded size."""
        before = json.dumps(schema)
        result = clean(schema, antigravity=antigravity)
        if result is not None:
            check_allowed(result)
            self.assertEqual(result["type"], "object")
        whole = simplify(schema, antigravity=antigravity)
        check_allowed(whole)
        if antigravity:
            self.assertNotIn('"anyOf":', json.dumps(_keywords(whole)))
        self.assertLess(len(json.dumps(whole)), 8 * len(before) + 4 * MAX_INLINED)
        self.assertEqual(json.dumps(schema), before)


def _keywords(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema`` without default and example values, which hold anything."""
    kept = {key: value for key, value in schema.items() if key not in ("default", "example", "properties")}
    if "items" in kept:
        kept["items"] = _keywords(kept["items"])
    if "properties" in schema:
        kept["children"] = [_keywords(value) for value in schema["properties"].values()]
    return kept
