"""What becomes of a field: a request with it and one without, both rendered, and the difference.

A dialect's probes are four tables. ``base`` is a small body. ``contexts`` give, by the path of a
member of a union (or of a field that means nothing alone), the top-level fields that bring it
about; ``fields`` a value for a single field, put into the longest context that its path begins
with. Both are probes: a context is compared to the one around it. ``whole`` are contexts that
stand for all that may be in them: what only the dialect's own provider runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from aigateway.config import Account, Provider
from aigateway.dialects import DIALECTS, fields
from aigateway.dialects.base import Rendered
from aigateway.dialects.gemini.parse import parse_request as parse_gemini
from aigateway.dialects.spelling import told
from aigateway.errors import MalformedRequest
from aigateway.events import ChatRequest
from aigateway.providers import KINDS, Kind
from aigateway.providers.antigravity import Antigravity
from aigateway.providers.base import Credential
from aigateway.report import ANSWER, VERDICTS, Leaf, Named, field_report, leaves, upstream
from aigateway.secret import Secret

from . import claude, gemini, openai, responses

LOST = "LOST"
"""Neither went up nor was named: what must not be."""


Fragment: TypeAlias = dict[str, Any]
Context: TypeAlias = Fragment | tuple[Fragment, Fragment]


class Probes(NamedTuple):
    """The tables of one dialect; ``beyond`` are the fields that the vendor's SDK does not have."""

    dialect: str
    base: dict[str, Any]
    contexts: dict[str, Context]
    fields: dict[str, Any]
    whole: tuple[str, ...]
    unsaid: dict[str, str]
    beyond: tuple[str, ...]

    def paths(self) -> list[str]:
        return [*self.contexts, *self.fields]


class Probe(NamedTuple):
    """One field: a body with it, and one without."""

    path: str
    given: bytes
    absent: bytes


class Column(NamedTuple):
    """A target. ``title`` is how the table calls it."""

    title: str
    kind: Kind
    model: str


class Verdict(NamedTuple):
    """What became of a field; ``why`` it was refused, unless for what it is in, or needs no word."""

    word: str
    why: str = ""


_MODULES = {"claude": claude, "openai": openai, "responses": responses, "gemini": gemini}
PROBES: dict[str, Probes] = {
    dialect: Probes(dialect, it.BASE, it.CONTEXTS, it.FIELDS, it.WHOLE, it.UNSAID, it.BEYOND)
    for dialect, it in _MODULES.items()
}

_CREDENTIAL = Credential(Secret("no-key"), "a-project")


@cache
def columns() -> tuple[Column, ...]:
    local = Provider(
        name="local", kind="openai", base_urls=("http://127.0.0.1:8000/v1",), accounts=(Account(name="a"),)
    )
    antigravity = Antigravity(make_uuid=lambda: UUID(int=7))
    return (
        Column("openai gpt-4o", KINDS["openai"](None), "gpt-4o"),
        Column("openai gpt-5.2", KINDS["openai"](None), "gpt-5.2"),
        Column("compatible llama-3.3-70b", KINDS["openai"](local), "llama-3.3-70b"),
        Column("glm glm-4.7", KINDS["glm"](None), "glm-4.7"),
        Column("anthropic claude-sonnet-4-5", KINDS["anthropic"](None), "claude-sonnet-4-5"),
        Column("anthropic claude-opus-4-8", KINDS["anthropic"](None), "claude-opus-4-8"),
        Column("gemini gemini-2.5-flash", KINDS["gemini"](None), "gemini-2.5-flash"),
        Column("gemini gemini-3-pro", KINDS["gemini"](None), "gemini-3-pro-preview"),
        Column("antigravity gemini-3-flash", antigravity, "gemini-3-flash"),
        Column("antigravity claude-sonnet-4-6", antigravity, "claude-sonnet-4-6"),
    )


# ------------------------------------------------------------------------- bodies


def probes(tables: Probes) -> Iterator[Probe]:
    for path, context in tables.contexts.items():
        given, absent = context if isinstance(context, tuple) else (context, None)
        around = _around(tables, path) if absent is None else {**tables.base, **absent}
        yield Probe(path, _raw({**tables.base, **given}), _raw(around))
    for path, value in tables.fields.items():
        given = _around(tables, path)
        assert _put(given, path, value), f"{path}: its context does not hold what it is in"
        yield Probe(path, _raw(given), _raw(_around(tables, path)))


def _around(tables: Probes, path: str) -> dict[str, Any]:
    """The body of the longest context that ``path`` is in, a copy."""
    contexts = [context for context in tables.contexts if is_in(path, context) and path != context]
    found = tables.contexts[max(contexts, key=len)] if contexts else {}
    found = found[0] if isinstance(found, tuple) else found
    body: dict[str, Any] = json.loads(json.dumps({**tables.base, **found}))
    return body


def is_in(path: str, outer: str) -> bool:
    """Whether ``path`` is ``outer`` or in it."""
    return path == outer or (path.startswith(outer) and path[len(outer)] in ".[")


_STEP = re.compile(r"\.?([^.\[\]]+)(?:\[([^\]]*)\])?")


def _put(body: dict[str, Any], path: str, value: object) -> bool:
    """Sets the field at ``path`` in the first place that has all that it is in; failing that, what
    it is in is made."""
    return _set(body, path, value, make=False) or _set(body, path, value, make=True)


def _set(at: dict[str, Any], path: str, value: object, *, make: bool) -> bool:
    step = _STEP.match(path)
    assert step is not None, path
    name, word, rest = step[1], step[2], path[step.end() :]
    if not rest:
        at[name] = value
        return True
    if at.get(name) is None:
        if not make:
            return False
        at[name] = {} if word is None else [{}] if word == "" else {"type": word}
    inner = at[name] if isinstance(at[name], list) else [at[name]]
    for item in inner:
        fits = not word or word in (item.get("type"), item.get("role"))
        if isinstance(item, dict) and fits and _set(item, rest, value, make=make):
            return True
    return False


def _raw(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


# ------------------------------------------------------------------------ verdicts


def parse(dialect: str, raw: bytes) -> ChatRequest:
    if dialect == "gemini":
        return parse_gemini(raw, "the-model")
    return DIALECTS[dialect].parse_request(raw)


def render(dialect: str, raw: bytes, column: Column) -> tuple[ChatRequest, Rendered]:
    """Raises `MalformedRequest`, as the gateway does on its way to a provider."""
    chat = parse(dialect, raw)
    rendered = column.kind.for_chat(chat).render(chat, column.model, _CREDENTIAL, stream=chat.stream)
    fields.refuse_needed(chat, rendered, column.kind.name)
    return chat, told(chat, rendered)


@cache
def observations(dialect: str) -> dict[str, list[Verdict]]:
    """The verdict of every probe, by its path, for each column."""
    tables = PROBES[dialect]
    return {probe.path: [observe(tables, probe, column) for column in columns()] for probe in probes(tables)}


def observe(tables: Probes, probe: Probe, column: Column) -> Verdict:
    """What became of the probed field."""
    dialect = tables.dialect
    try:
        _, given = render(dialect, probe.given, column)
    except MalformedRequest as error:
        refusal = f"{error.param or ''} {error}"
        try:
            render(dialect, probe.absent, column)
        except MalformedRequest:
            refusal = ""
        return Verdict("refused", refusal)
    _, absent = render(dialect, probe.absent, column)
    new = new_leaves(dialect, probe)
    body = json.loads(probe.given)
    found = list(leaves(body, dialect))
    for word, names, before in (
        ("dropped", given.dropped, absent.dropped),
        ("emulated", given.emulated, absent.emulated),
    ):
        if set(names) - set(before) or any(map(Named(names, body.keys(), found).cover, new)):
            return Verdict(word)
    if probe.path in ANSWER[dialect]:
        return Verdict("answer")
    if _body(given) == _body(absent):
        reason = tables.unsaid.get(probe.path)
        return Verdict(LOST) if reason is None else Verdict("mapped", reason)
    return Verdict("kept" if all(_has(given, leaf, dialect) for leaf in new) else "mapped")


def _body(rendered: Rendered) -> dict[str, object]:
    return {name: value for name, value in upstream(rendered.body).items() if name != "sessionId"}


def _has(rendered: Rendered, wanted: Leaf, dialect: str) -> bool:
    return any(
        leaf.path == wanted.path and leaf.value == wanted.value
        for leaf in leaves(upstream(rendered.body), dialect)
    )


def new_leaves(dialect: str, probe: Probe) -> list[Leaf]:
    """The values that the body with the field has, and the other has not."""
    before = [(leaf.path, leaf.value) for leaf in leaves(json.loads(probe.absent), dialect)]
    found = []
    for leaf in leaves(json.loads(probe.given), dialect):
        if (leaf.path, leaf.value) in before:
            before.remove((leaf.path, leaf.value))
        else:
            found.append(leaf)
    return found


def reported(dialect: str, probe: Probe, column: Column) -> str:
    """What the field report of the one request says of the probed field: of several values, the worst."""
    report = field_report(*render(dialect, probe.given, column))
    return max((report[leaf.path] for leaf in new_leaves(dialect, probe)), key=VERDICTS.index)
