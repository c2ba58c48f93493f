"""The field report: what became of each field of a client's request on its way to a provider.

A field is *kept* (it went up under its own name, as it was), *mapped* (under another name, or in
other words), *emulated* (brought about by other means) or *dropped*; or it is for the *answer*: the
gateway itself heeds it. One that is *refused* never gets here: it is an error that names it.

Fields are told by their paths: ``messages[].content[image].source[base64].data``. In brackets is
what an object says of itself (its ``type``; Chat Completions messages have a ``role`` instead), or
nothing. Values are never told. The renderers say what they dropped and emulated; what they do not
name they have mapped, and the tests hold them to that for every field of the official SDKs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice, pairwise
from typing import TypeAlias

import msgspec

from .dialects.base import Rendered
from .dialects.gemini.shapes import camel
from .dialects.spelling import told
from .events import ChatRequest

MAX_FIELDS = 500
"""Paths that a report lists; a request may have any number."""
MAX_VALUES = 10_000
"""Values of a request that are looked at."""

VERDICTS = ("kept", "answer", "mapped", "emulated", "dropped")
"""Of several values at one path, the last of these that holds for one is told."""

TAGS: Mapping[str, tuple[str, ...]] = {
    "claude": ("type",),
    "openai": ("type", "role"),
    "responses": ("type",),
    "gemini": (),
}

# Which target is asked, and how its answer comes back: what such a field asks for, the client gets,
# whatever goes up.
ANSWER: Mapping[str, tuple[str, ...]] = {
    "claude": ("model", "stream"),
    "openai": ("model", "stream", "stream_options.include_usage", "stream_options.include_obfuscation"),
    "responses": ("model", "stream", "stream_options.include_obfuscation"),
    "gemini": ("model",),
}

# Fields whose inside is the client's own: names in it are no fields of the dialect.
_SCHEMAS = frozenset(
    (
        "args",
        "arguments",
        "input_examples",
        "input_schema",
        "output_schema",
        "parameters",
        "parametersJsonSchema",
        "response",
        "responseJsonSchema",
        "responseSchema",
        "schema",
    )
)
OPAQUE: Mapping[str, frozenset[str]] = {
    "claude": _SCHEMAS | {"input"},
    "openai": _SCHEMAS | {"logit_bias", "metadata"},
    "responses": _SCHEMAS | {"attributes", "client_metadata", "env", "headers", "metadata", "variables"},
    "gemini": _SCHEMAS | {"customConfigs", "headers", "labels", "partMetadata"},
}

# Claude has one name for both.
_FIELD_AND_BLOCK = ("thinking",)

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_WORD = re.compile(r"\[(-?[0-9]+)(:?)\]|([^.\[\]]+)")
_LONGEST_NAME = 64

Step: TypeAlias = str | tuple[int, int]
"""A field's name, what an object says that it is, or (place in a list, the list's length)."""


class Leaf(msgspec.Struct, frozen=True):
    """One value in a body: where it is, for a reader and step by step."""

    path: str
    steps: tuple[Step, ...]
    value: object


def field_report(chat: ChatRequest, rendered: Rendered) -> dict[str, str]:
    """A verdict for each field that the request carries, by its path."""
    rendered = told(chat, rendered)
    body = _decoded(camel(chat.raw) if chat.dialect == "gemini" else chat.raw)
    found = list(islice(leaves(body, chat.dialect), MAX_VALUES))
    going = islice(leaves(upstream(rendered.body), chat.dialect), 4 * MAX_VALUES)
    sent = {(leaf.path, _comparable(leaf.value)) for leaf in going}
    verdicts: dict[str, str] = {}
    named = [
        (Named(names, body.keys(), found), verdict)
        for names, verdict in ((rendered.dropped, "dropped"), (rendered.emulated, "emulated"))
    ]
    for leaf in found:
        kept = (leaf.path, _comparable(leaf.value)) in sent
        verdict = next((verdict for names, verdict in named if names.cover(leaf, kept)), "")
        if not verdict:
            verdict = "kept" if kept else "mapped"
            if leaf.path in ANSWER.get(chat.dialect, ()):
                verdict = "answer"
        worst = verdicts.get(leaf.path)
        if worst is None and len(verdicts) >= MAX_FIELDS:
            continue
        if worst is None or VERDICTS.index(verdict) > VERDICTS.index(worst):
            verdicts[leaf.path] = verdict
    # What is told of something that has no field of its own stands for itself.
    for names, verdict in named:
        verdicts.update(dict.fromkeys(names.strays[: max(MAX_FIELDS - len(verdicts), 0)], verdict))
    return verdicts


def upstream(body: bytes) -> dict[str, object]:
    """The request in a provider's body: that is all of it, but for Antigravity's envelope."""
    decoded = _decoded(body)
    inner = decoded.get("request")
    return inner if isinstance(inner, dict) and "contents" in inner else decoded


def leaves(body: Mapping[str, object], dialect: str) -> Iterator[Leaf]:
    """Every value in a body, each object's tag and what schemas hold aside."""
    if body:
        yield from _fields(body, "", (), "", TAGS.get(dialect, ()), OPAQUE.get(dialect, _SCHEMAS))


def _fields(
    value: Mapping[str, object],
    path: str,
    steps: tuple[Step, ...],
    tag: str,
    tags: tuple[str, ...],
    opaque: Collection[str],
) -> Iterator[Leaf]:
    """The leaves in an object; one that is nothing but its ``tag`` is a leaf itself."""
    for name, inner in value.items():
        if name == tag or inner is None:
            continue
        name = name[:_LONGEST_NAME]
        there = f"{path}.{name}" if path else name
        if name in opaque:
            yield Leaf(there, (*steps, name), inner)
        else:
            yield from _values(inner, there, (*steps, name), tags, opaque)
    if not value.keys() - {tag}:
        yield Leaf(path, steps, value)


def _values(
    value: object, path: str, steps: tuple[Step, ...], tags: tuple[str, ...], opaque: Collection[str]
) -> Iterator[Leaf]:
    if isinstance(value, list) and value:
        for place, item in enumerate(value):
            inside = (*steps, (place, len(value)))
            if isinstance(item, dict):
                tag, word = _tag(item, tags)
                yield from _fields(
                    item, f"{path}[{word}]", (*inside, word) if word else inside, tag, tags, opaque
                )
            else:
                yield from _values(item, f"{path}[]", inside, tags, opaque)
    elif isinstance(value, dict):
        tag, word = _tag(value, tags)
        there = f"{path}[{word}]" if word else path
        yield from _fields(value, there, (*steps, word) if word else steps, tag, tags, opaque)
    else:
        yield Leaf(path, steps, value)


def _tag(value: Mapping[str, object], tags: tuple[str, ...]) -> tuple[str, str]:
    """Which field of an object says what it is, and what that says; empty for none."""
    for name in tags:
        word = value.get(name)
        if isinstance(word, str) and _TAG.fullmatch(word):
            return name, word
    return "", ""


class Named:
    """The names that a renderer gave, and the values that they mean.

    A name is a path, or the end of one, without what goes without saying: ``cache_control``,
    ``tools.strict``, ``tools[2]``, ``stop_sequences[4:]``. One that begins with a field at the top
    of the body means what is in that, if anything is. ``strays`` are those that mean none of the values.
    """

    def __init__(self, names: Collection[str], top: Collection[str], found: list[Leaf]) -> None:
        self._by_key: dict[object, list[tuple[Step, ...]]] = {}
        self._at_top: set[tuple[Step, ...]] = set()
        self._doubtful = False
        self.strays: list[str] = []
        by_key: dict[object, list[Leaf]] = {}
        for leaf in found:
            for key in set(_keys(leaf.steps)):
                by_key.setdefault(key, []).append(leaf)
        for name in islice(names, MAX_FIELDS):
            # A field at the top may be named anything.
            parts = (name[:_LONGEST_NAME],) if name in top else _parts(name)
            if parts and parts[0] in top:
                self._at_top.add(parts)
            if not self._add(parts, by_key):
                # Not from the top, then; or its last word is no field's (``inlineData.video``).
                self._at_top.discard(parts)
                shorter = parts[:-1]
                too_short = not shorter or (len(shorter) == 1 and shorter[0] in top)
                if not self._add(parts, by_key) and (too_short or not self._add(shorter, by_key)):
                    self.strays.append(name[:_LONGEST_NAME])

    def _add(self, parts: tuple[Step, ...], by_key: Mapping[object, list[Leaf]]) -> bool:
        """Note a name, if it is that of any value."""
        key = _key(parts)
        meant = by_key.get(key, ())
        if not any(self._fits(parts, leaf.steps) for leaf in meant):
            return False
        if parts == _FIELD_AND_BLOCK and any(leaf.steps[0] != key for leaf in meant):
            self._at_top.discard(parts)
            self._doubtful = True
        self._by_key.setdefault(key, []).append(parts)
        return True

    def cover(self, leaf: Leaf, kept: bool = False) -> bool:
        """Whether one of the names means ``leaf``, or what it is in; one that may mean something else
        does not mean what was ``kept``."""
        if kept and self._doubtful and leaf.steps[0] == _FIELD_AND_BLOCK[0]:
            return False
        return any(
            self._fits(parts, leaf.steps) for key in _keys(leaf.steps) for parts in self._by_key.get(key, ())
        )

    def _fits(self, parts: tuple[Step, ...], steps: tuple[Step, ...]) -> bool:
        """Whether ``parts`` are among ``steps``, in their order; a place in a list right behind it."""
        if parts in self._at_top and parts[0] != steps[0]:
            return False
        at = 0
        for part in parts:
            if isinstance(part, str):
                while at < len(steps) and steps[at] != part:
                    at += 1
            if at == len(steps) or not _is(part, steps[at]):
                return False
            at += 1
        return True


def _key(parts: tuple[Step, ...]) -> object:
    """What a value must have for a name to mean it: the item of a list, else the name's last word."""
    for word, place in pairwise(parts):
        if isinstance(place, tuple) and place[1] and place[0] >= 0:
            return word, place[0]
    return next((part for part in reversed(parts) if isinstance(part, str)), "")


def _keys(steps: tuple[Step, ...]) -> Iterator[object]:
    """Every key of a value."""
    for step, following in pairwise((*steps, "")):
        if isinstance(step, str):
            yield step
            if isinstance(following, tuple):
                yield step, following[0]


def _parts(name: str) -> tuple[Step, ...]:
    """``name`` in its parts; a place as (place, 1), all from a place on as (place, 0)."""
    return tuple(
        (int(place), 0 if rest else 1) if place else word for place, rest, word in _WORD.findall(name)
    )


def _is(part: Step, step: Step) -> bool:
    if isinstance(part, str) or isinstance(step, str):
        return part == step
    (wanted, one), (place, length) = part, step
    wanted += length if wanted < 0 else 0
    return place == wanted if one else place >= wanted


def _decoded(body: bytes) -> dict[str, object]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _comparable(value: object) -> object:
    return msgspec.json.encode(value, order="sorted") if isinstance(value, list | dict) else value
