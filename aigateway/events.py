"""What a client asks and what an answer is made of, in the gateway's own terms.

Every dialect translates to and from these records, never to another dialect:
N modules instead of N x M pairs. The block structure is Claude's, since every
provider's answer can be told in it. Records only: no parsing, no wire format.

An answer is a sequence of events that obeys one grammar::

    Started, (BlockStarted Delta* BlockEnded | UsageReported)*, Finished | Failed

A ``Reader`` produces it and tracks which block is open; a ``Writer`` consumes it.
``UsageReported`` may stand anywhere after ``Started``; a later one replaces an
earlier one. ``Failed`` may stand anywhere, first included, and is the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from .errors import UpstreamError

# ------------------------------------------------------------------ requests

# What a prompt may hold a hundred thousand of is out of the garbage collector's sight (``gc=False``): it
# would go through all of them while every stream waits. None can be part of a cycle.


class TextBlock(msgspec.Struct, frozen=True, gc=False):
    """``signature``: Gemini signs visible text, too. ``cache_control``, here and in the blocks
    below, is Claude's mark that a prompt may be cached up to here, as decoded."""

    text: str
    signature: str | None = None
    cache_control: dict[str, object] | None = None


class ImageBlock(msgspec.Struct, frozen=True, gc=False):
    """An image: base64 ``data`` with its ``media_type``, or a ``url``."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    cache_control: dict[str, object] | None = None


class DocumentBlock(msgspec.Struct, frozen=True, gc=False):
    """A document: base64 ``data`` with its ``media_type``, a ``url``, or plain ``text``."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    text: str | None = None
    title: str | None = None
    cache_control: dict[str, object] | None = None


class AudioBlock(msgspec.Struct, frozen=True, gc=False):
    """Audio input: base64 ``data`` in ``format`` (wav, mp3)."""

    data: str
    format: str


class ThinkingBlock(msgspec.Struct, frozen=True, gc=False):
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(msgspec.Struct, frozen=True, gc=False):
    data: str


class ToolUseBlock(msgspec.Struct, frozen=True, gc=False):
    """A call. ``input`` is the text of a JSON object; ``signature`` a Gemini thought signature."""

    id: str
    name: str
    input: str
    signature: str | None = None
    cache_control: dict[str, object] | None = None


class ToolResultBlock(msgspec.Struct, frozen=True, gc=False):
    tool_use_id: str
    content: tuple[RequestBlock, ...] = ()
    is_error: bool = False
    cache_control: dict[str, object] | None = None


class OtherBlock(msgspec.Struct, frozen=True, gc=False):
    """A block that only its own dialect knows (``type``); dropped elsewhere, and reported."""

    type: str


RequestBlock: TypeAlias = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | AudioBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | OtherBlock
)


class Message(msgspec.Struct, frozen=True, gc=False):
    """One turn. ``role`` is user, assistant or (mid-conversation) system."""

    role: str
    content: tuple[RequestBlock, ...]


class Tool(msgspec.Struct, frozen=True, gc=False):
    """A tool that the client runs. ``input_schema`` is a JSON schema as decoded.

    ``free_text``: an OpenAI custom tool, whose input is text in ``grammar`` (its ``format``).
    Elsewhere it is a function of one string, ``input``: that is its ``input_schema``.
    ``namespace``: a Responses client groups its tools; ``name`` is then that, two underscores and
    the name in the group.
    """

    name: str
    description: str | None = None
    input_schema: dict[str, object] | None = None
    strict: bool | None = None
    free_text: bool = False
    grammar: dict[str, object] | None = None
    cache_control: dict[str, object] | None = None
    namespace: str = ""


class ToolChoice(msgspec.Struct, frozen=True):
    """``mode``: auto, any, tool (then ``name`` says which) or none."""

    mode: str
    name: str | None = None


class Thinking(msgspec.Struct, frozen=True):
    """``mode``: enabled, adaptive or disabled; ``budget`` in tokens; ``hidden``: no text wanted."""

    mode: str
    budget: int | None = None
    hidden: bool = False


class ResponseFormat(msgspec.Struct, frozen=True):
    """``type``: json_object, or json_schema with its ``schema``."""

    type: str
    schema: dict[str, object] | None = None
    name: str | None = None
    strict: bool | None = None


class Thought(msgspec.Struct, frozen=True):
    """What a model thought right before a call, or before a text that it signed: what a provider
    may want back with it. ``blocks`` are in their order; the last may be empty but for a signature."""

    blocks: tuple[ThinkingBlock | RedactedThinkingBlock, ...]


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks: ``chat`` in the code.

    ``raw`` is the body as it came, in ``dialect``. ``other`` names the fields that the dialect
    knows and that have no word here, ``unknown`` the top-level ones that nobody knows; whoever
    renders the request for a provider says what became of both. ``needed`` are those of ``other``
    without which the answer would be another one: a provider that has no place for them cannot be
    asked. ``answer`` names the dialect of the answer where it is not that of the body.
    ``headers`` are the client's own that may go on to a provider of its dialect, by lower-case
    name. ``json_array``: a Gemini client wants its stream as one JSON array, not as events.
    ``thoughts`` is what the gateway remembers of the calls and texts in ``messages``, by
    `aigateway.signatures.call_key` and ``text_key``, as far as it is the asked model's own;
    ``foreign`` are the signatures in ``messages`` that it knows to be of another issuer's making.
    ``begun``: the last message is the beginning of the answer, and the provider is to go on with it
    (`aigateway.continuation`).
    """

    dialect: str
    model: str
    messages: tuple[Message, ...]
    system: tuple[TextBlock, ...] = ()
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    thinking: Thinking | None = None
    effort: str | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    service_tier: str | None = None
    other: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    raw: bytes = b""
    answer: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    json_array: bool = False
    thoughts: Mapping[str, Thought] = {}
    foreign: frozenset[str] = frozenset()
    begun: bool = False

    def is_all(self, dialect: str) -> bool:
        """Whether body and answer are both in ``dialect``."""
        return self.dialect == dialect and self.answer in ("", dialect)


# ------------------------------------------------------------------- answers


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer, counted Claude's way.

    ``input_tokens`` leaves out what was read from or written to the provider's
    prompt cache; ``output_tokens`` includes ``reasoning_tokens``. ``estimated``:
    the provider told none, and these are the gateway's own guess.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt, cached parts included: OpenAI's and Gemini's way of counting."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


class Started(msgspec.Struct, gc=False):
    """The answer begins. ``id`` and ``model`` as the provider gave them, perhaps empty."""

    id: str
    model: str
    usage: Usage | None = None


class BlockStarted(msgspec.Struct, gc=False):
    """``type``: text, thinking, redacted_thinking (with ``data``) or tool_use (``id``, ``name``)."""

    type: str
    id: str = ""
    name: str = ""
    data: str = ""


class TextDelta(msgspec.Struct, gc=False):
    text: str


class ThinkingDelta(msgspec.Struct, gc=False):
    text: str


class SignatureDelta(msgspec.Struct, gc=False):
    """The proof that goes with the open thinking block, or (Gemini) with the open text; once,
    last in its block.

    A thinking block that has a signature and no text carries the signature of the
    tool call after it (Gemini signs the call, not the thought).
    """

    signature: str


class InputDelta(msgspec.Struct, gc=False):
    """A piece of the JSON text of the open tool call's input."""

    json: str


class BlockEnded(msgspec.Struct, gc=False):
    pass


class UsageReported(msgspec.Struct, gc=False):
    usage: Usage


class Finished(msgspec.Struct, gc=False):
    """The answer is whole. ``stop_reason`` is one of Claude's ("Handling stop reasons" in Anthropic's
    documentation): end_turn, max_tokens, stop_sequence, tool_use, pause_turn, refusal or
    model_context_window_exceeded."""

    stop_reason: str
    stop_sequence: str | None = None


class Failed(msgspec.Struct):
    """The provider said, in its stream, that the answer ends here and is not whole."""

    error: UpstreamError


Event: TypeAlias = (
    Started
    | BlockStarted
    | TextDelta
    | ThinkingDelta
    | SignatureDelta
    | InputDelta
    | BlockEnded
    | UsageReported
    | Finished
    | Failed
)

ReplyBlock: TypeAlias = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock


class ChatReply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: what its events accumulate to."""

    id: str
    model: str
    content: tuple[ReplyBlock, ...]
    stop_reason: str
    stop_sequence: str | None = None
    usage: Usage | None = None


def events_of(reply: ChatReply) -> list[Event]:
    """The events that tell a whole answer: for a client that streams from a provider that does not."""
    events: list[Event] = [Started(reply.id, reply.model, reply.usage)]
    for block in reply.content:
        match block:
            case TextBlock():
                events += (BlockStarted("text"), TextDelta(block.text))
                if block.signature:
                    events.append(SignatureDelta(block.signature))
            case ThinkingBlock():
                events.append(BlockStarted("thinking"))
                if block.thinking:
                    events.append(ThinkingDelta(block.thinking))
                if block.signature:
                    events.append(SignatureDelta(block.signature))
            case RedactedThinkingBlock():
                events.append(BlockStarted("redacted_thinking", data=block.data))
            case ToolUseBlock():
                events += (BlockStarted("tool_use", block.id, block.name), InputDelta(block.input))
        events.append(BlockEnded())
    if reply.usage is not None:
        events.append(UsageReported(reply.usage))
    events.append(Finished(reply.stop_reason, reply.stop_sequence))
    return events


def reply_of(events: Iterable[Event]) -> ChatReply:
    """What the events of a whole answer add up to.

    Raises the error of a ``Failed``; ``ValueError`` where the events break the grammar.
    """
    id = model = ""
    usage: Usage | None = None
    content: list[ReplyBlock] = []
    opened: BlockStarted | None = None
    pieces: list[str] = []
    signature: str | None = None
    for event in events:
        match event:
            case Started():
                id, model, usage = event.id, event.model, event.usage
            case BlockStarted():
                opened, pieces, signature = event, [], None
            case TextDelta() | ThinkingDelta():
                pieces.append(event.text)
            case InputDelta():
                pieces.append(event.json)
            case SignatureDelta():
                signature = event.signature
            case BlockEnded():
                if opened is None:
                    raise ValueError("a block ends that has not begun")
                content.append(_block(opened, "".join(pieces), signature))
                opened = None
            case UsageReported():
                usage = event.usage
            case Failed():
                raise event.error
            case Finished():
                return ChatReply(
                    id=id,
                    model=model,
                    content=tuple(content),
                    stop_reason=event.stop_reason,
                    stop_sequence=event.stop_sequence,
                    usage=usage,
                )
    raise ValueError("the events end without Finished or Failed")


def _block(opened: BlockStarted, text: str, signature: str | None) -> ReplyBlock:
    match opened.type:
        case "text":
            return TextBlock(text, signature)
        case "thinking":
            return ThinkingBlock(text, signature)
        case "redacted_thinking":
            return RedactedThinkingBlock(opened.data)
        case _:
            return ToolUseBlock(opened.id, opened.name, text or "{}")
