"""From a client's HTTP request to a chat: its body, and what its head says of that.

What a body means is the dialects' business; who answers it, `aigateway.web`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import msgspec

from .client_request import GatewayRequest
from .dialect_rules import check_said
from .dialects import CLAUDE, GEMINI, OPENAI, RESPONSES
from .dialects.base import ClientDialect
from .dialects.claude import is_claude_body
from .dialects.claude import parse_request as parse_claude
from .dialects.fields import check, given
from .dialects.gemini import parse_request as parse_gemini
from .errors import MalformedRequest, UnsupportedMediaType
from .events import ChatRequest
from .offload import Offload, weight

CLIENT_HEADERS = ("anthropic-beta", "anthropic-version")
"""Headers of a Claude client's that go on to Anthropic, byte for byte."""


class _StreamField(msgspec.Struct):
    stream: bool | None = None


async def read_chat(
    offload: Offload,
    request: GatewayRequest,
    parse: Callable[[bytes], ChatRequest],
    known: Collection[ClientDialect] = (),
) -> ChatRequest:
    """The request's body as a chat, by ``parse``. ``known``: where the header `X-AIGateway-Dialect`
    counts, the dialects that it may name. Raises `MalformedRequest` or `UnsupportedMediaType`."""
    media = request.getHeader(b"content-type") or b""
    if media.split(b";", 1)[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType("send the body as JSON, with `Content-Type: application/json`")
    raw = request.body()
    if not raw:
        raise MalformedRequest("the request has no body; send a JSON object")
    if known:
        check_said(request, *known)
    asks_to_stream = _says_true((request.args or {}).get(b"stream", [b""])[-1])
    headers = tuple((name, value) for name in CLIENT_HEADERS for value in _sent(request, name))
    request.weight = weight(raw)
    return await offload.run(request.weight, partial(_chat, parse, raw, asks_to_stream, headers))


def parse_either(max_tokens: int, raw: bytes) -> ChatRequest:
    """The body of a Claude or an OpenAI client; ``max_tokens`` is for a Claude one that names none."""
    if is_claude_body(raw):
        return parse_claude(raw, max_tokens_default=max_tokens)
    return OPENAI.parse_request(raw)


def parse_any(
    max_tokens: int, said: ClientDialect | None, claude: bool, model: str, raw: bytes
) -> ChatRequest:
    """A body for ``/v1/explain``: in the dialect that was ``said``, else the one that it looks
    like. Gemini's has no model in it, so that may be in the query or beside it."""
    check(raw)
    top = given(raw)
    dialect = said
    if dialect is None and "contents" in top:
        dialect = GEMINI
    elif dialect is None and "input" in top:
        dialect = RESPONSES
    elif dialect is None and claude:
        dialect = CLAUDE
    if dialect is GEMINI:
        return parse_gemini(raw, model=model)
    if dialect is CLAUDE:
        return parse_claude(raw, max_tokens_default=max_tokens)
    return parse_either(max_tokens, raw) if dialect is None else dialect.parse_request(raw)


def _sent(request: GatewayRequest, name: str) -> list[str]:
    """The values of a header, as often as it was sent; none of one that is for this hop alone,
    since Connection names it (RFC 9110, 7.6.1)."""
    if name.encode() in request.hop_by_hop():
        return []
    try:
        return [value.decode() for value in request.requestHeaders.getRawHeaders(name.encode(), [])]
    except UnicodeDecodeError:
        raise MalformedRequest(f"the header {name} is not UTF-8") from None


def _chat(
    parse: Callable[[bytes], ChatRequest],
    raw: bytes,
    asks_to_stream: bool,
    headers: tuple[tuple[str, str], ...],
) -> ChatRequest:
    """The chat in ``raw``, with what the request says beside it: ``?stream=true`` counts where the body
    says nothing (a plain ``false`` there wins), and Claude's own ``headers``."""
    chat = parse(raw)
    unsaid = asks_to_stream and not chat.stream and chat.dialect != "gemini"
    if unsaid and msgspec.json.decode(raw, type=_StreamField).stream is None:
        chat = msgspec.structs.replace(chat, stream=True)
    return msgspec.structs.replace(chat, headers=headers) if chat.dialect == "claude" else chat


def is_strict(request: GatewayRequest) -> bool:
    """Whether a field without a place refuses the request."""
    return request.running.config.strict or _says_true(request.getHeader(b"x-aigateway-strict"))


def _says_true(text: bytes | None) -> bool:
    return text is not None and text.strip().lower() in (b"true", b"1")
