"""Events -> Gemini's chunks (``streamGenerateContent``); and whole answers.

A chunk is a ``GenerateContentResponse`` with one part; the last has the finish reason and the
counts. With ``alt=sse`` each is an event, without it they are the elements of one JSON array. The
official SDKs take every line that does not begin with ``data: `` for JSON, comments included, so
what keeps a client waiting is a blank line (``google.genai._api_client``, ``responseLineRE`` in
``@google/genai``).
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import msgspec

from ... import estimate
from ...errors import GatewayError
from ...events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    ChatRequest,
    Finished,
    InputDelta,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
)
from ...jsontext import encode, escape_line_ends, json_string
from .. import signed
from ..pieces import Pieces
from ..writer import EventWriter
from .errors import error_object
from .usage import render_usage

BLANK = b"\n"
_URL_SAFE = str.maketrans("-_", "+/")

FINISH_REASONS = {
    "max_tokens": "MAX_TOKENS",
    "model_context_window_exceeded": "MAX_TOKENS",
    "compaction": "MAX_TOKENS",
    "refusal": "SAFETY",
}
"""Gemini's word where it is not STOP, which ends calls, too."""


class GeminiWriter(EventWriter):
    """Implements `aigateway.dialects.base.Writer`. Thoughts are shown to a client that asked for
    them; a call is told at its end, for Gemini knows no pieces of one.

    Gemini signs a call or a text, Claude what it thought: `_held` is a signature of which the
    next block shows whose it is.
    """

    def __init__(self, chat: ChatRequest, id: str, created: int) -> None:
        super().__init__(chat, id)
        self._array = chat.json_array
        self._first = True
        self._shows = shows_thoughts(chat)
        self._named = b""  # the end of every chunk
        self._rest = b""  # what a chunk has behind its part
        self._block = BlockStarted("")
        self._thought = False  # the thinking block has a text
        self._held = ""
        self._input = Pieces()

    def fail(self, error: GatewayError) -> bytes:
        # The array ends even so: who reads it whole finds the error in it.
        return self.frame(escape_line_ends(encode(error_object(error)))) + self.close()

    def keep_alive(self) -> bytes:
        return BLANK

    def frame(self, chunk: bytes) -> bytes:
        """One chunk, JSON text in one line, as the client wants it."""
        if not self._array:
            return b"data: %b\n\n" % chunk
        before, self._first = b"[" if self._first else b",\n", False
        return before + chunk

    def close(self) -> bytes:
        """What ends the stream, after its last chunk."""
        if not self._array:
            return b""
        return b"[]\n" if self._first else b"\n]\n"

    # ---------------------------------------------------------------- events

    def _start(self, event: Started) -> bytes:
        self._usage = event.usage
        # The first chunk tells what the prompt came to; as far as it is known, or guessed.
        prompt = event.usage.prompt_tokens if event.usage else estimate.prompt_tokens(self._chat)
        counts = b',"usageMetadata":%b' % render_usage(Usage(input_tokens=prompt))
        self._named = b',"modelVersion":%b,"responseId":%b}' % (
            json_string(self._chat.model),
            json_string(event.id or self._id),
        )
        self._rest = b'],"role":"model"},"index":0}]' + counts + self._named
        return b""

    def _part(self, part: bytes) -> bytes:
        frame = self.frame(b'{"candidates":[{"content":{"parts":[' + part + self._rest)
        self._rest = b'],"role":"model"},"index":0}]' + self._named
        return frame

    def _start_block(self, event: BlockStarted) -> bytes:
        self._block = event
        self._thought = False
        self._input = Pieces()
        return b"" if event.type == "tool_use" else self._release()

    def _write_text(self, event: TextDelta) -> bytes:
        text = json_string(event.text)
        self.size += len(text) - 2
        return self._part(b'{"text":%b}' % text)

    def _write_thinking(self, event: ThinkingDelta) -> bytes:
        text = json_string(event.text)
        self.size += len(text) - 2
        self._thought = True
        return self._part(b'{"text":%b,"thought":true}' % text) if self._shows else b""

    def _write_signature(self, event: SignatureDelta) -> bytes:
        if not _is_base64(event.signature):
            return b""
        if self._block.type == "text":
            return self._part(_alone(event.signature, False))
        if self._thought and signed.for_gemini(event.signature) is None:
            # Where thoughts are not shown it proves a text that the client does not have.
            return self._part(_alone(event.signature, True)) if self._shows else b""
        self._held = event.signature
        return b""

    def _write_input(self, event: InputDelta) -> bytes:
        self.size += len(event.json)
        self._input.add(event.json)
        return b""

    def _end_block(self, event: BlockEnded) -> bytes:
        block = self._block
        if block.type != "tool_use":
            return b""
        call = render_call(ToolUseBlock(block.id, block.name, self._input.text()), self._held)
        self._held = ""
        return self._part(call)

    def _release(self) -> bytes:
        """The signature that no call came for, as Gemini sends one that stands alone."""
        held, self._held = self._held, ""
        return self._part(_alone(held, self._shows)) if held else b""

    def _finish(self, event: Finished) -> bytes:
        usage = self._usage or estimate.usage(self._chat, self.size)
        reason = FINISH_REASONS.get(event.stop_reason, "STOP")
        # An empty text, as Gemini has it here: without a part chats take the turn for a failed one.
        end = b'{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"%b",' % (
            reason.encode()
        )
        return (
            self._release()
            + self.frame(end + b'"index":0}],"usageMetadata":%b' % render_usage(usage) + self._named)
            + self.close()
        )


def render_reply(reply: ChatReply, chat: ChatRequest, id: str, created: int) -> bytes:
    """A whole answer. Usage is always there; an estimate where none was told."""
    parts = _parts(reply, shows_thoughts(chat)) or [b'{"text":""}']
    usage = reply.usage or estimate.usage(chat, estimate.size_of(reply))
    content = {"parts": [msgspec.Raw(part) for part in parts], "role": "model"}
    reason = FINISH_REASONS.get(reply.stop_reason, "STOP")
    return encode(
        {
            "candidates": [{"content": content, "finishReason": reason, "index": 0}],
            "usageMetadata": msgspec.Raw(render_usage(usage)),
            "modelVersion": chat.model,
            "responseId": reply.id or id,
        }
    )


def _parts(reply: ChatReply, shows: bool) -> list[bytes]:
    """The parts of a whole answer; signatures go where `GeminiWriter` puts them."""
    parts: list[bytes] = []
    held = ""
    for block in reply.content:
        if isinstance(block, ToolUseBlock):
            parts.append(render_call(block, held))
            held = ""
            continue
        if held:
            parts.append(_alone(held, shows))
            held = ""
        if isinstance(block, TextBlock):
            parts.append(b'{"text":%b%b}' % (json_string(block.text), _signature(_own(block.signature))))
        elif isinstance(block, ThinkingBlock):
            signature = _own(block.signature)
            own = bool(block.thinking and signature) and signed.for_gemini(signature) is None
            if shows and block.thinking:
                proof = _signature(signature if own else "")
                parts.append(b'{"text":%b,"thought":true%b}' % (json_string(block.thinking), proof))
            held = "" if own else signature
    if held:
        parts.append(_alone(held, shows))
    return parts


def render_call(block: ToolUseBlock, signature: str) -> bytes:
    """The part of a call. What a model wrote as its arguments and is no object goes on under
    ``_raw``."""
    return b'{"functionCall":{"id":%b,"name":%b,"args":%b}%b}' % (
        json_string(block.id),
        json_string(block.name),
        _arguments(block.input),
        _signature(signature),
    )


def shows_thoughts(chat: ChatRequest) -> bool:
    """Whether the client asked for thoughts: Gemini shows none to others."""
    return chat.thinking is not None and chat.thinking.mode != "disabled" and not chat.thinking.hidden


def _arguments(text: str) -> bytes:
    try:
        raw = text.encode() or b"{}"
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return b'{"_raw":%b}' % json_string(text)
    # As it was written: a decoded number may not be the same again.
    return escape_line_ends(msgspec.json.format(raw, indent=-1))


def _alone(signature: str, thought: bool) -> bytes:
    """The part that has a signature and nothing else: of a thought, or of a text."""
    return b'{"text":""%b,"thoughtSignature":%b}' % (
        b',"thought":true' if thought else b"",
        json_string(signature),
    )


def _signature(signature: str) -> bytes:
    return b',"thoughtSignature":%b' % json_string(signature) if signature else b""


def _own(signature: str | None) -> str:
    """``signature`` where it can be told."""
    return signature if signature and _is_base64(signature) else ""


def _is_base64(signature: str) -> bool:
    """Whether it is base64, of either alphabet, padded or not: the field holds bytes, and the SDKs
    cannot read a chunk that has anything else there. Every family that wants its own back uses it."""
    text = signature.translate(_URL_SAFE)
    bare = text.rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    try:
        return text in (bare, padded) and b64encode(b64decode(padded, validate=True)).decode() == padded
    except ValueError:
        return False
