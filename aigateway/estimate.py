"""Token counts for when a provider tells none: a rough guess, always marked as one.

Four bytes of UTF-8 a token is right to within some tens of per cent for prose, code
and Chinese alike, and costs nothing. Media are counted flat: what a provider charges
for an image depends on its size in pixels, which would have to be decoded.
"""

from __future__ import annotations

import msgspec

from .events import (
    AudioBlock,
    ChatReply,
    ChatRequest,
    DocumentBlock,
    ImageBlock,
    RedactedThinkingBlock,
    RequestBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

BYTES_PER_TOKEN = 4
MEDIA_TOKENS = 1_000
MESSAGE_TOKENS = 4


def prompt_tokens(chat: ChatRequest) -> int:
    """Tokens that the prompt may come to; at least 1."""
    size = sum(_bytes(block.text) for block in chat.system)
    media = 0
    for message in chat.messages:
        for block in message.content:
            block_size, block_media = _measure(block)
            size += block_size
            media += block_media
    for tool in chat.tools:
        size += len(tool.name) + len(tool.description or "")
        if tool.input_schema is not None:
            size += len(msgspec.json.encode(tool.input_schema))
    return max(size // BYTES_PER_TOKEN + media * MEDIA_TOKENS + len(chat.messages) * MESSAGE_TOKENS, 1)


def output_tokens(size: int) -> int:
    """Tokens that ``size`` bytes of answer (JSON text, UTF-8) may come to."""
    return -(-size // BYTES_PER_TOKEN)


def size_of(reply: ChatReply) -> int:
    """The bytes that `output_tokens` counts, of a whole answer."""
    return sum(_measure(block)[0] for block in reply.content)


def usage(chat: ChatRequest, size: int) -> Usage:
    return Usage(prompt_tokens(chat), output_tokens(size), estimated=True)


def _measure(block: RequestBlock) -> tuple[int, int]:
    """(bytes of text, number of media) in a block."""
    match block:
        case TextBlock(text=text):
            return _bytes(text), 0
        case ThinkingBlock(thinking=text):
            return _bytes(text), 0
        case ToolUseBlock(name=name, input=text):
            return len(name) + _bytes(text), 0
        case ToolResultBlock(content=content):
            inner = [_measure(part) for part in content]
            return sum(size for size, _ in inner), sum(media for _, media in inner)
        case DocumentBlock(text=str(text)):
            return _bytes(text), 0
        case RedactedThinkingBlock(data=data):
            return len(data), 0
        case ImageBlock() | DocumentBlock() | AudioBlock():
            return 0, 1
        case _:
            return 0, 0


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
