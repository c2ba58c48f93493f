"""Which dialect a request is answered in: by its path, and where that leaves it open, its head."""

from __future__ import annotations

import re

from .client_request import GatewayRequest
from .config import ClientKey, Config
from .dialects import CLAUDE, DIALECTS, GEMINI, OPENAI, RESPONSES
from .dialects.base import ClientDialect
from .errors import MalformedRequest

SDK_AGENTS = (b"OpenAI/", b"AsyncOpenAI/")

# The first that a path begins with.
_BY_PATH = (
    (b"/v1/messages", CLAUDE),
    (b"/anthropic/", CLAUDE),
    (b"/v1/responses", RESPONSES),
    (b"/openai/v1/responses", RESPONSES),
    (b"/openai/", OPENAI),
    (b"/v1beta/", GEMINI),
)


_GEMINI_METHODS = (b":generateContent", b":streamGenerateContent", b":countTokens")
"""What paths of Gemini's API end in, whichever version of it the client asks for."""


class DialectRules:
    """The rules of one configuration."""

    def __init__(self, config: Config) -> None:
        self._default = DIALECTS[config.chat_completions_dialect]
        self._keys_decide = any(key.dialect is not None for key in config.keys)

    def of_chat_completions(self, request: GatewayRequest) -> ClientDialect:
        """The dialect of an answer on ``/v1/chat/completions``: the first rule that applies."""
        if (asked := said_dialect(request)) in (CLAUDE, OPENAI):
            return asked
        key = key_of(request)
        if key is not None and key.dialect is not None:
            return DIALECTS[key.dialect]
        return OPENAI if is_openai_sdk(request) else self._default

    def of_path(self, path: bytes, request: GatewayRequest | None) -> ClientDialect:
        """The dialect to speak on a path, where there may be no request to ask."""
        for prefix, dialect in _BY_PATH:
            if path.startswith(prefix):
                return dialect
        if path.startswith(b"/v1/models/") and path.endswith(_GEMINI_METHODS):
            return GEMINI
        if request is not None:
            if request.requestHeaders.hasHeader(b"anthropic-version"):
                return CLAUDE
            if path.startswith(b"/v1/models") and request.requestHeaders.hasHeader(b"x-goog-api-key"):
                return GEMINI
        if path == b"/v1/chat/completions" and request is not None:
            return self.of_chat_completions(request)
        if path.startswith(b"/v1/models") or (request is not None and is_openai_sdk(request)):
            return OPENAI
        return self._default

    def at_a_glance(self, path: bytes, head: bytes) -> ClientDialect | None:
        """The dialect of an answer on ``path`` by no more than the bytes of the request's head; None
        where it takes more."""
        if path == b"/v1/chat/completions":
            if self._keys_decide or _SAYS_DIALECT.search(head):
                return None
            return OPENAI if _OPENAI_SDK.search(head) else self._default
        for prefix, dialect in _BY_PATH:
            if path.startswith(prefix):
                return dialect
        return None


# As `said_dialect`, `of_path` and `is_openai_sdk` find it among the headers.
_SAYS_DIALECT = re.compile(rb"\n(?:x-aigateway-dialect|anthropic-version):", re.IGNORECASE)
_OPENAI_SDK = re.compile(rb"\n(?i:x-stainless-)|\n(?i:user-agent: *)(?:Async)?OpenAI/")


def check_said(request: GatewayRequest, *known: ClientDialect) -> None:
    """Raises `MalformedRequest` for a header ``X-AIGateway-Dialect`` that names none of ``known``."""
    if request.getHeader(b"x-aigateway-dialect") is not None and said_dialect(request) not in known:
        names = ", ".join(dialect.name for dialect in known)
        raise MalformedRequest(f"X-AIGateway-Dialect: expected one of {names} here")


def said_dialect(request: GatewayRequest) -> ClientDialect | None:
    """The dialect that the header ``X-AIGateway-Dialect`` names."""
    asked = request.getHeader(b"x-aigateway-dialect")
    return None if asked is None else DIALECTS.get(asked.decode("latin-1").strip().lower())


def key_of(request: GatewayRequest) -> ClientKey | None:
    """The key that the client came with."""
    return request.client_key


def is_openai_sdk(request: GatewayRequest) -> bool:
    """Whether the caller is an official OpenAI SDK, by the headers that it always sends."""
    agent = request.getHeader(b"user-agent") or b""
    return agent.startswith(SDK_AGENTS) or any(
        name.lower().startswith(b"x-stainless-") for name, _ in request.requestHeaders.getAllRawHeaders()
    )
