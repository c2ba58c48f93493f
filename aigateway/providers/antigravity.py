"""Antigravity (Google's Code Assist): Gemini's body in an envelope, an OAuth token, and a
project that has to be found out first.

Hosts, paths, envelope and headers are those of Google's own command-line client, as
captured in August 2026 (``tests/fixtures/antigravity/agy-cli-stream-request-shape.json``).
Refreshing the token is `aigateway.providers.oauth`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NoReturn
from uuid import UUID, uuid4

import msgspec

from .. import jsontext
from ..config import Provider
from ..dialects.base import Rendered
from ..dialects.gemini import render_request
from ..dialects.gemini.kept import body_of
from ..dialects.gemini.shapes import camel
from ..errors import UpstreamGarbled
from ..events import ChatRequest, TextBlock
from . import google
from .base import Credential, UpstreamRequest

# The list of models depends on it: an old version is refused the newer ones.
USER_AGENT = b"antigravity/cli/1.1.13 (aidev_client; os_type=linux; arch=amd64; auth_method=consumer)"

# The fields of a request that its own client sends; others it does not know, or (safetySettings) want.
_KNOWN = (
    "contents",
    "systemInstruction",
    "cachedContent",
    "tools",
    "toolConfig",
    "labels",
    "generationConfig",
    "sessionId",
)

# Who asks, for project discovery.
_METADATA = {"ideType": "ANTIGRAVITY"}
_FREE_TIERS = ("free-tier", "legacy-tier")


class Antigravity(google.Google):
    """Implements `aigateway.providers.base.Kind`; ``make_uuid`` names the requests."""

    name = "antigravity"
    enveloped = True
    base_urls = (
        "https://daily-cloudcode-pa.googleapis.com",
        "https://cloudcode-pa.googleapis.com",
    )

    def __init__(self, config: Provider | None = None, make_uuid: Callable[[], UUID] = uuid4) -> None:
        super().__init__(config)
        self._make_uuid = make_uuid

    def family(self, model: str) -> str:
        family = super().family(model)
        return f"{family}@antigravity" if family else ""

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        request: dict[str, Any]
        if _keeps(chat, model):
            request, dropped = _kept(chat, model)
            rendered = Rendered(b"", dropped, kept=True)
        else:
            request, rendered = render_request(chat, model, antigravity=True)
            request["sessionId"] = _session_id(request["contents"])
        envelope = {
            "project": credential.project,
            "requestId": f"agent-{self._make_uuid()}",
            "request": request,
            "model": model.removeprefix("models/"),
            "userAgent": "antigravity",
            "requestType": "agent",
        }
        return msgspec.structs.replace(rendered, body=jsontext.encode(envelope))

    def request(
        self, base_url: str, model: str, credential: Credential, rendered: Rendered, *, stream: bool
    ) -> UpstreamRequest:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return _post(base_url, method, credential, rendered.body)

    def count(
        self, base_url: str, model: str, credential: Credential, chat: ChatRequest
    ) -> UpstreamRequest | None:
        if model.startswith("claude-"):
            return None  # it would be counted as Gemini counts
        asked = (
            _kept(chat, model)[0] if _keeps(chat, model) else render_request(chat, model, antigravity=True)[0]
        )
        prompt: dict[str, Any] = msgspec.json.decode(jsontext.encode(asked))
        contents = prompt.get("contents")
        contents = contents if isinstance(contents, list) else [contents]
        # It counts contents alone; what else is in the prompt is told there.
        if beside := [prompt[name] for name in ("systemInstruction", "tools") if prompt.get(name)]:
            contents.insert(0, {"role": "user", "parts": [{"text": jsontext.encode(beside).decode()}]})
        request = {"model": f"models/{model.removeprefix('models/')}", "contents": contents}
        return _post(base_url, "countTokens", credential, jsontext.encode({"request": request}))


def _keeps(chat: ChatRequest, model: str) -> bool:
    """Whether the request goes up as it came; Claude's models want it otherwise than Gemini's."""
    return chat.is_all("gemini") and not model.removeprefix("models/").startswith("claude-")


def _kept(chat: ChatRequest, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A Gemini client's own request, and what is left out of it: Code Assist does not know it, and
    would refuse it."""
    body = msgspec.json.decode(camel(body_of(chat, model)), type=dict[str, msgspec.Raw])
    given = {name: value for name, value in body.items() if bytes(value) != b"null"}
    request: dict[str, Any] = {name: given[name] for name in _KNOWN if name in given}
    if bytes(given.get("systemInstruction", b""))[:1] == b'"':
        request["systemInstruction"] = {"parts": [{"text": given["systemInstruction"]}]}
    if "sessionId" not in request:
        texts = [block for message in chat.messages if message.role == "user" for block in message.content]
        parts = [{"text": block.text} for block in texts if isinstance(block, TextBlock)]
        request["sessionId"] = _session_id([{"role": "user", "parts": parts}])
    return request, tuple(name for name in given if name not in (*_KNOWN, "model"))


# ------------------------------------------------------------- project discovery


class Discovery(msgspec.Struct, frozen=True):
    """What Code Assist says of an account. Without a ``project`` it has to be onboarded to
    ``tier``; ``ineligible`` says why that cannot be done."""

    project: str | None
    tier: str | None
    ineligible: str | None = None


class _Project(msgspec.Struct):
    id: str | None = None


class _Tier(msgspec.Struct):
    id: str | None = None
    isDefault: bool | None = None


class _Ineligible(msgspec.Struct):
    # Its validationUrl is not read: it is for the account's owner alone.
    reasonCode: str | None = None
    reasonMessage: str | None = None


class _Loaded(msgspec.Struct):
    cloudaicompanionProject: str | _Project | None = None
    currentTier: _Tier | None = None
    allowedTiers: list[_Tier] | None = None
    ineligibleTiers: list[_Ineligible] | None = None


class _Onboarded(msgspec.Struct):
    cloudaicompanionProject: str | _Project | None = None


class _Operation(msgspec.Struct):
    done: bool | None = None
    response: _Onboarded | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


def discover_request(base_url: str, credential: Credential) -> UpstreamRequest:
    """``loadCodeAssist``: which project and tier an account has."""
    return _post(base_url, "loadCodeAssist", credential, jsontext.encode({"metadata": _METADATA}))


def parse_discovery(status: int, headers: Mapping[str, str], body: bytes, *, now: float = 0.0) -> Discovery:
    """Raises the `UpstreamError` that the answer really is."""
    if status != 200:
        raise google.parse_error(status, headers, body, now=now)
    try:
        loaded = msgspec.json.decode(body, type=_Loaded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _garbled("loadCodeAssist", error)
    project = _project_id(loaded.cloudaicompanionProject)
    tiers = loaded.allowedTiers or []
    tier = loaded.currentTier or next((tier for tier in tiers if tier.isDefault), None)
    ineligible = None
    if project is None and not tiers and loaded.ineligibleTiers:
        reason = loaded.ineligibleTiers[0]
        told = reason.reasonMessage or reason.reasonCode or "no reason was given"
        ineligible = google.without_links(told)
    return Discovery(project, tier.id if tier is not None else None, ineligible)


def onboard_request(base_url: str, credential: Credential, tier: str | None = None) -> UpstreamRequest:
    """``onboardUser``, to be repeated every few seconds until `parse_onboarding` gives a project.

    The free tiers must not name a project; theirs is made for them.
    """
    tier = tier or _FREE_TIERS[0]
    body: dict[str, Any] = {"tierId": tier, "metadata": _METADATA}
    if credential.project and tier not in _FREE_TIERS:
        body["cloudaicompanionProject"] = credential.project
    return _post(base_url, "onboardUser", credential, jsontext.encode(body))


def parse_onboarding(status: int, headers: Mapping[str, str], body: bytes, *, now: float = 0.0) -> str | None:
    """The project; None while the operation is not done. Raises the `UpstreamError` that the
    answer really is."""
    if status != 200:
        raise google.parse_error(status, headers, body, now=now)
    try:
        operation = msgspec.json.decode(body, type=_Operation)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _garbled("onboardUser", error)
    if operation.error != msgspec.Raw(b"null"):
        raise google.stream_error(body)
    if not operation.done:
        return None
    onboarded = operation.response or _Onboarded()
    project = _project_id(onboarded.cloudaicompanionProject)
    if project is None:
        raise UpstreamGarbled("onboardUser is done, but gave no project: name one as project of the account")
    return project


def _post(base_url: str, method: str, credential: Credential, body: bytes) -> UpstreamRequest:
    headers = (
        (b"authorization", b"Bearer " + credential.token.reveal().encode()),
        (b"content-type", b"application/json"),
        (b"user-agent", USER_AGENT),
    )
    return UpstreamRequest(f"{base_url}/v1internal:{method}".encode(), headers, body)


def _project_id(told: str | _Project | None) -> str | None:
    return (told.id if isinstance(told, _Project) else told) or None


def _garbled(method: str, error: Exception) -> NoReturn:
    raise UpstreamGarbled(
        f"the provider's answer to {method} is not what its API promises: {error}"
    ) from None


def _session_id(contents: list[dict[str, Any]]) -> str:
    """The same for every request of a conversation, which grows but keeps its beginning:
    a negative number below 2**63, from the first text that the user wrote."""
    texts = (
        part["text"]
        for content in contents
        if content["role"] == "user"
        for part in content["parts"]
        if "text" in part
    )
    digest = sha256(next(texts, "").encode()).digest()
    return f"-{int.from_bytes(digest[:8], 'big') >> 1}"
