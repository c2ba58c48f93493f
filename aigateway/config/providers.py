"""The tables under ``[providers]``: where each upstream is, and what it is authorized with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, cast

import msgspec

from ..secret import Secret
from . import values
from .reading import Table
from .records import GOOGLE_TOKEN_URL, Account, Provider, Timeouts

KINDS = ("openai", "glm", "antigravity", "gemini", "anthropic")

SERVERS = (
    "openai",
    "azure",
    "cerebras",
    "deepseek",
    "glm",
    "groq",
    "llamacpp",
    "mistral",
    "moonshot",
    "ollama",
    "openrouter",
    "vllm",
    "xai",
    "other",
)
"""The servers of OpenAI's dialect whose ways are known; `dialects.openai.servers` says what they take."""

TAKES = (
    "stream_options",
    "max_completion_tokens",
    "developer_role",
    "list_content",
    "null_content",
    "images",
    "files",
    "audio",
    "reasoning_content",
    "custom_tools",
    "parallel_tool_calls",
    "strict",
    "tool_choice",
    "tool_choice_required",
    "tool_choice_named",
    "tool_choice_none",
    "json_schema",
    "penalties",
    "seed",
    "prefill",
)
"""What a server may take otherwise than its kind does."""

_OAUTH = ("refresh_token", "client_id", "client_secret")
_SECRET_HEADER = re.compile(r"key|token|secret|auth|cookie|password|credential", re.IGNORECASE)


def read_provider(name: str, table: Table, shared: Timeouts) -> Provider:
    """The provider that a table describes; one with mistakes in it must not be used."""
    table.check("", values.name, name)
    kind = _kind(name, table)
    url = table.checked("base_url", values.base_url)
    if url and values.in_clear(url):
        table.note("base_url", "is not https: the account's credential crosses the network unencrypted")
    provider = Provider(
        name=name,
        kind=kind,
        base_urls=(url,) if url else (),
        accounts=tuple(_accounts(kind, table)),
        timeouts=msgspec.structs.replace(shared, **table.table("timeouts").all_numbers(Timeouts)),
        models=_models(table),
        supports_streaming=table.flag("supports_streaming", True),
        relay=cast(Literal["verified", "raw"], table.choice("relay", ("verified", "raw"), "verified")),
        headers=_headers(table),
        api_version=table.text("api_version"),
        deployments=table.strings("deployments"),
        server=table.choice("server", SERVERS),
        takes=_takes(table),
        responses=table.flag("responses", False) if "responses" in table else None,
        dialect=table.choice("dialect", ("openai", "claude")),
        affinity=table.flag("affinity", False),
    )
    if "dialect" in table and kind not in ("glm", ""):
        table.problem("dialect", f'is for kind "glm" alone, not for "{kind}"')
    if provider.dialect == "claude" and "takes" in table:
        table.problem("takes", 'is for dialect "openai" alone')
    if kind not in ("openai", ""):
        for key in ("api_version", "deployments", "server", "responses"):
            if key in table:
                of = " (Azure)" if key in ("api_version", "deployments") else ""
                table.problem(key, f'is for kind "openai"{of} alone, not for "{kind}"')
        if "takes" in table and kind != "glm":
            table.problem("takes", f'is for kinds "openai" and "glm" alone, not for "{kind}"')
    elif _is_azure(provider) and "base_url" not in table:
        table.problem("base_url", "is missing; Azure has one for each resource")
    elif provider.server not in ("", "azure"):
        for key in ("api_version", "deployments"):
            if key in table:
                table.problem(key, f'is for server "azure" alone, not for "{provider.server}"')
    table.close()
    return provider


def _kind(name: str, table: Table) -> str:
    kind = table.word("kind", "" if "kind" in table else name)
    known = ", ".join(f'"{word}"' for word in KINDS)
    if "kind" not in table and kind not in KINDS:
        table.problem("kind", f"is missing; expected one of {known}")
    elif kind and kind not in KINDS:
        table.problem("kind", f'"{kind}" is not known{values.nearest(kind, KINDS)}; expected one of {known}')
    return kind if kind in KINDS else ""


def _accounts(kind: str, provider: Table) -> Iterable[Account]:
    tables = provider.tables("accounts")
    if not tables:
        provider.problem(
            "accounts", 'there are none; expected such as [{ name = "a", api_key = "env:NAME" }]'
        )
    names: set[str] = set()
    for number, table in enumerate(tables, 1):
        account = Account(
            name=table.own_name(str(number), names),
            api_key=table.secret("api_key"),
            access_token=table.secret("access_token"),
            refresh_token=table.secret("refresh_token"),
            client_id=table.text("client_id"),
            client_secret=table.secret("client_secret"),
            project=table.text("project"),
            token_url=table.checked("token_url", values.token_url) or GOOGLE_TOKEN_URL,
            **table.numbers(Account),
        )
        if kind == "antigravity":
            _check_oauth(table)
        elif kind:
            _check_api_key(table, kind)
        table.close()
        yield account


def _check_api_key(table: Table, kind: str) -> None:
    if "api_key" not in table:
        table.problem("api_key", 'is missing; expected "env:NAME", "file:PATH" or the key itself')
    for key in ("access_token", *_OAUTH, "project", "token_url"):
        if key in table:
            table.problem(key, f'is for kind "antigravity"; kind "{kind}" takes api_key alone')


def _check_oauth(table: Table) -> None:
    missing = [key for key in _OAUTH if key not in table]
    if "api_key" in table:
        table.problem("api_key", 'kind "antigravity" takes access_token or refresh_token, no API key')
    elif 0 < len(missing) < len(_OAUTH):
        table.problem("", f"lacks {' and '.join(missing)}: {', '.join(_OAUTH)} go together")
    elif missing and "access_token" not in table:
        table.problem("", f"has no credential; expected access_token, or {', '.join(_OAUTH)}")


def _is_azure(provider: Provider) -> bool:
    named = bool(provider.api_version or provider.deployments)
    return provider.server == "azure" or (named and not provider.server)


def _takes(provider: Table) -> dict[str, bool]:
    table = provider.table("takes")
    found = {name: table.flag(name, True) for name in TAKES}
    table.close()
    return {name: takes for name, takes in found.items() if name in table}


def _models(provider: Table) -> tuple[str, ...]:
    models = provider.words("models")
    for index, model in enumerate(models):
        if "*" in model or "?" in model:
            provider.problem(
                f"models[{index}]", "is a pattern, and patterns go into [[routes]]; expected a name"
            )
        provider.check(f"models[{index}]", values.model, model)
    return tuple(dict.fromkeys(models))


def _headers(provider: Table) -> tuple[tuple[str, Secret | str], ...]:
    found: list[tuple[str, Secret | str]] = []
    seen: set[str] = set()
    for name, written in provider.strings("headers").items():
        place = f"headers.{name}"
        provider.check(place, values.header_name, name)
        if name.lower() in seen:
            provider.problem(place, "stands there twice")
        seen.add(name.lower())
        value = provider.resolve(place, written)
        if value is not None:
            provider.check(place, values.header_value, value)
            hidden = value != written or _SECRET_HEADER.search(name)
            found.append((name, Secret(value) if hidden else value))
    return tuple(found)
