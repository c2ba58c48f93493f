"""Which targets a model name leads to, in the order to try them.

The configuration alone decides. Which account of a provider is asked, and what happens
after a failure, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from .config import ClientKey, Config, Route, Target
from .config.values import MAX_MODEL_NAME
from .errors import MalformedRequest, UnknownModel

MAX_CACHED = 1024
MAX_LISTED = 20

# Without [[routes]]: a pattern and the kinds that serve it; the first configured one does.
DEFAULT_ROUTES = (
    ("gpt-*", ("openai",)),
    ("o1*", ("openai",)),
    ("o3*", ("openai",)),
    ("o4*", ("openai",)),
    ("chatgpt-*", ("openai",)),
    ("glm-*", ("glm",)),
    ("gemini-*", ("antigravity", "gemini")),
    ("claude-*", ("anthropic", "antigravity")),
)


class Resolved(msgspec.Struct, frozen=True):
    """Where a request for a model goes: ``targets`` are pairs of a provider's name and the
    model that it is asked for, in the order to try them."""

    route: Route
    targets: tuple[tuple[str, str], ...]


class Router:
    """The routes of one configuration.

    The first that matches wins: those configured, then the exact names in the providers'
    ``models`` (every provider that lists the name is a target), then, where no routes are
    configured, `DEFAULT_ROUTES`.
    """

    def __init__(self, config: Config) -> None:
        self._routes = config.routes
        self._listed = _listed(config)
        self._defaults = () if config.routes else tuple(_defaults(config))
        # Unknown names raise and so are never kept; those that a pattern takes are, for a while.
        self._resolved = lru_cache(MAX_CACHED)(self._resolve)

    def targets(self, model: str) -> Resolved:
        """Where to ask for ``model``. Raises `MalformedRequest` for what cannot be a model's
        name, `UnknownModel` where no route takes it."""
        if not model:
            raise MalformedRequest("model: names no model", param="model")
        if len(model) > MAX_MODEL_NAME:
            raise MalformedRequest(f"model: longer than {MAX_MODEL_NAME} characters", param="model")
        if not model.isprintable():
            raise MalformedRequest("model: holds a character that cannot be printed", param="model")
        return self._resolved(model)

    def models(self) -> tuple[tuple[str, str], ...]:
        """Every model that has an exact name, with the provider that is asked for it first.
        Patterns are not among them."""
        exact = [route.model for route in self._routes if not _is_pattern(route.model)]
        return tuple(
            (name, self._route(name).targets[0].provider) for name in dict.fromkeys([*exact, *self._listed])
        )

    def allowed(self, key: ClientKey | None, model: str) -> bool:
        """Whether a client with ``key`` may ask for ``model``; without keys, anybody may."""
        return key is None or not key.models or any(_matches(pattern, model) for pattern in key.models)

    def _resolve(self, model: str) -> Resolved:
        route = self._route(model)
        return Resolved(route, tuple((target.provider, target.model or model) for target in route.targets))

    def _route(self, model: str) -> Route:
        for route in self._routes:
            if _matches(route.model, model):
                return route
        if listed := self._listed.get(model):
            return listed
        for route in self._defaults:
            if _matches(route.model, model):
                return route
        raise UnknownModel(
            f'no target serves model "{model}"; known: {self._known()}',
            param="model",
            code="model_not_found",
        )

    def _known(self) -> str:
        routes = (*self._routes, *self._listed.values(), *self._defaults)
        names = list(dict.fromkeys(route.model for route in routes))
        more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        return (", ".join(names[:MAX_LISTED]) or "none") + more


def _matches(pattern: str, model: str) -> bool:
    # A name may look like a pattern and not match itself: Claude Code asks for "claude-opus-4-6[1m]".
    return pattern == model or fnmatchcase(model, pattern)


def _is_pattern(model: str) -> bool:
    return any(character in model for character in "*?[")


def _listed(config: Config) -> dict[str, Route]:
    """A route for each name in the providers' ``models``."""
    owners: dict[str, list[Target]] = {}
    for provider in config.providers.values():
        for model in provider.models:
            owners.setdefault(model, []).append(Target(provider.name))
    return {model: Route(model=model, targets=tuple(targets)) for model, targets in owners.items()}


def _defaults(config: Config) -> Iterator[Route]:
    if config.demo and config.providers:
        # Any model of a simulated provider, its faults above all; and one to fall back to.
        second = Target("anthropic", "claude-haiku-4-5")
        yield Route(model="failover/*", targets=(Target("openai"), second))
        for provider in config.providers:
            yield Route(model=f"{provider}/*", targets=(Target(provider),))
    for pattern, kinds in DEFAULT_ROUTES:
        for kind in kinds:
            if name := _provider_of(config, kind):
                yield Route(model=pattern, targets=(Target(name),))
                break


def _provider_of(config: Config, kind: str) -> str | None:
    """The provider of a kind: the one that has its name, else the first of that kind."""
    names = [provider.name for provider in config.providers.values() if provider.kind == kind]
    return kind if kind in names else next(iter(names), None)
