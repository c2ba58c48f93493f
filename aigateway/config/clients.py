"""``[[routes]]`` and ``[[keys]]``: what clients may name, and who they are."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from . import values
from .reading import Table
from .records import ClientKey, Route, Target, Timeouts

DIALECTS = ("claude", "openai")
BUDGETS_FAIL = ("closed", "open")


def read_routes(tables: Iterable[Table], providers: Collection[str]) -> Iterable[Route]:
    """The routes, with targets among ``providers``."""
    places: dict[str, str] = {}
    for table in tables:
        if "model" not in table:
            table.problem("model", 'is missing; expected a name or a pattern such as "gpt-*"')
        model = table.word("model")
        table.check("model", values.model, model)
        if model and places.setdefault(model, table.place) != table.place:
            table.problem("model", f"is never reached: {places[model]} has the same pattern")
        targets = tuple(_targets(table, providers))
        timeouts = table.table("timeouts").all_numbers(Timeouts)
        numbers = table.numbers(Route)
        continuation = table.flag("continuation", False)
        table.close()
        yield Route(model=model, targets=targets, timeouts=timeouts, continuation=continuation, **numbers)


def _targets(route: Table, providers: Collection[str]) -> Iterable[Target]:
    words = route.words("targets")
    if not words:
        route.problem("targets", 'there are none; expected such as ["openai", "glm/glm-4-flash"]')
    for index, word in enumerate(words):
        name, slash, model = word.partition("/")
        place = f"targets[{index}]"
        if name not in providers:
            known = f"there are {', '.join(providers)}" if providers else "there is none"
            route.problem(place, f'"{name}" names no provider{values.nearest(name, providers)}; {known}')
        elif slash and not model:
            route.problem(place, f'"{word}" names no model; expected "{name}" or "{name}/MODEL"')
        elif word in words[:index]:
            route.problem(place, f'"{word}" stands there twice')
        route.check(place, values.model, model)
        yield Target(name, model or None)


def read_keys(tables: Iterable[Table], *, stored: bool) -> Iterable[ClientKey]:
    """The clients' keys, of which only digests are kept. ``stored``: what they use outlives the process."""
    names: set[str] = set()
    places: dict[bytes, str] = {}
    for number, table in enumerate(tables, 1):
        name = table.own_name(str(number), names)
        digest = _digest(table)
        if digest and places.setdefault(digest, table.place) != table.place:
            table.problem("", f"is the same key as {places[digest]}")
        dialect = table.choice("dialect", DIALECTS) or None
        models = table.words("models")
        if "models" in table and not models:
            table.problem("models", "allows no model; leave it out to allow all")
        limits = table.numbers(ClientKey)
        if limits.get("tokens_per_day") and not stored:
            table.note("tokens_per_day", "begins anew with each start, since no `state` is configured")
        table.close()
        yield ClientKey(name=name, digest=digest, dialect=dialect, models=models, **limits)


def _digest(table: Table) -> bytes:
    secret = table.secret("key")
    digest = table.checked("key_hash", values.digest)
    if ("key" in table) == ("key_hash" in table):
        table.problem("", "expected key or key_hash, one of them")
    if secret is not None:
        return hashlib.sha256(secret.reveal().encode()).digest()
    return digest or b""
