"""What Anthropic refuses in a request to its Messages, in its words.

Pure. The texts are the real ones, as recorded or as clients quote them in public issues.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .claude_rules import FORCED_WHILE_THINKING, invalid_signature, missing_signature, thinking_expected
from .messages import Block, Body, Message, blocks_of
from .signatures import Signer

_DOCS = (
    "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
)
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")
LEAST_BUDGET = 1024
NO_PREFILL = re.compile(r"claude-[a-z]+-(?:4-[6-9]|[5-9])(?![0-9])")
"""Models that go on with no answer; the older ones do."""
PREFILL_REFUSED = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)


def missing_in(value: dict[str, object], required: tuple[str, ...], known: frozenset[str]) -> str | None:
    """What is said of names that must be there and are not, or may not be there and are."""
    for name in required:
        if name not in value:
            return f"{name}: Field required"
    return next((f"{name}: Extra inputs are not permitted" for name in value if name not in known), None)


def fault_in(body: Body, signer: Signer) -> str | None:
    """The first thing that is wrong with ``body``; None where all is well."""
    faults = [
        *(fault for rule in _RULES for fault in rule(body)),
        *_signatures(body, signer),
        *_thinking_first(body),
    ]
    return faults[0] if faults else None


def _numbers(body: Body) -> Iterator[str]:
    if body.max_tokens is not None and body.max_tokens < 1:
        yield "max_tokens: Input should be greater than or equal to 1"
    if not body.messages:
        yield "messages: at least one message is required"


def _contents(body: Body) -> Iterator[str]:
    for block in blocks_of(body.system):
        if block.text == "":
            yield "system: text content blocks must be non-empty"
    last = len(body.messages) - 1
    for number, message in enumerate(body.messages):
        if message.role not in ("user", "assistant", "system"):
            yield f"messages.{number}.role: Input should be 'user' or 'assistant'"
        if not message.content and (number < last or message.role != "assistant"):
            yield (
                f"messages.{number}: all messages must have non-empty content except for the optional "
                "final assistant message"
            )
        for block in _given(message):
            if block.type == "text" and not block.text:
                yield "messages: text content blocks must be non-empty"
            elif block.type == "text" and not (block.text or "").strip():
                yield "messages: text content blocks must contain non-whitespace text"


def _given(message: Message) -> Iterator[Block]:
    """The blocks that the client wrote as such, those in results of tools included."""
    for block in message.content if isinstance(message.content, list) else ():
        yield block
        if block.type == "tool_result" and isinstance(block.content, list):
            yield from block.content


def _tools(body: Body) -> Iterator[str]:
    for number, tool in enumerate(body.tools or ()):
        if not tool.client:
            continue
        place = f"tools.{number}.custom"
        if not _TOOL_NAME.match(tool.name):
            yield f"{place}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        if tool.input_schema is None:
            yield f"{place}.input_schema: Field required"
        elif "type" not in tool.input_schema:
            yield f"{place}.input_schema.type: Field required"


def _calls(body: Body) -> Iterator[str]:
    """Each call is answered at the beginning of the next message, and nothing else is."""
    seen: set[str] = set()
    calls: list[str] = []
    for number, message in enumerate(body.messages):
        yield from _answers(number, message, calls)
        calls = []
        for place, block in enumerate(message.blocks):
            if block.type != "tool_use" or message.role != "assistant":
                continue
            id_ = block.id or ""
            if not _CALL_ID.match(id_):
                yield (
                    f"messages.{number}.content.{place}.tool_use.id: String should match pattern "
                    "'^[a-zA-Z0-9_-]+$'"
                )
            if block.input is None:
                yield f"messages.{number}.content.{place}.tool_use.input: Field required"
            if id_ in seen:
                yield "messages: `tool_use` ids must be unique"
            seen.add(id_)
            calls.append(id_)
    yield from _unanswered(len(body.messages) - 1, calls)


def _answers(number: int, message: Message, calls: list[str]) -> Iterator[str]:
    leading = 0
    for block in message.blocks:
        if block.type != "tool_result":
            break
        leading += 1
    given = [block.tool_use_id or "" for block in message.blocks[:leading]]
    yield from _unanswered(number - 1, [id_ for id_ in calls if id_ not in given])
    for place, block in enumerate(message.blocks):
        if block.type == "tool_result" and block.tool_use_id not in calls:
            yield (
                f"messages.{number}.content.{place}: unexpected `tool_use_id` found in `tool_result` "
                f"blocks: {block.tool_use_id}. Each `tool_result` block must have a corresponding "
                "`tool_use` block in the previous message."
            )


def _unanswered(number: int, calls: list[str]) -> Iterator[str]:
    if calls:
        yield (
            f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` "
            "block in the next message."
        )


def _thinking(body: Body) -> Iterator[str]:
    """What does not go with a budget for thinking."""
    if body.thinking is None or body.thinking.type != "enabled":
        return
    budget = body.thinking.budget_tokens
    if budget is None:
        yield "thinking.enabled.budget_tokens: Field required"
    elif budget < LEAST_BUDGET:
        yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    elif body.max_tokens is not None and body.max_tokens <= budget:
        yield (
            "`max_tokens` must be greater than `thinking.budget_tokens`. "
            f"{_DOCS}#max-tokens-and-context-window-size"
        )
    if body.forces_tool:
        yield FORCED_WHILE_THINKING
    if body.temperature not in (None, 1):
        yield f"`temperature` may only be set to 1 when thinking is enabled. {_DOCS}"
    if body.top_k is not None:
        yield f"`top_k` must be unset when thinking is enabled. {_DOCS}"
    if body.top_p is not None and body.top_p < 0.95:
        yield f"`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled. {_DOCS}"


def _signatures(body: Body, signer: Signer) -> Iterator[str]:
    """Thinking is taken back only as it was given, in old turns too."""
    for number, message in enumerate(body.messages):
        for place, block in enumerate(message.blocks):
            if block.type == "redacted_thinking":  # none was ever given out
                yield f"messages.{number}.content.{place}: Invalid `data` in `redacted_thinking` block"
            if block.type != "thinking":
                continue
            if block.signature is None:
                yield missing_signature(number, place)
            elif block.signature.startswith("R") or not signer.issued("claude", block.signature):
                yield invalid_signature(number, place)


def _thinking_first(body: Body) -> Iterator[str]:
    """With a budget, a turn under way that has called tools begins with its thinking. Adaptive
    thinking asks for no such order."""
    if body.thinking is None or body.thinking.type != "enabled":
        return
    turn: list[tuple[int, list[Block]]] = []
    for number, message in enumerate(body.messages):
        if message.role == "assistant":
            turn.append((number, message.blocks))
        elif message.role == "user" and not any(block.type == "tool_result" for block in message.blocks):
            turn = []
    if not any(block.type == "tool_use" for _, blocks in turn for block in blocks):
        return
    number, blocks = turn[0]
    found = blocks[0].type if blocks else "text"
    if found not in ("thinking", "redacted_thinking"):
        yield thinking_expected(number, found)


def _prefill(body: Body) -> Iterator[str]:
    """What a last message of the assistant's, which begins the answer, must be like."""
    last = body.messages[-1] if body.messages else None
    if last is None or last.role != "assistant" or any(block.type == "tool_use" for block in last.blocks):
        return
    if NO_PREFILL.match(body.model):
        yield PREFILL_REFUSED
    elif last.blocks and (last.blocks[-1].text or "").rstrip() != (last.blocks[-1].text or ""):
        yield "messages: final assistant content cannot end with trailing whitespace"


_RULES: tuple[Callable[[Body], Iterator[str]], ...] = (
    _numbers,
    _contents,
    _tools,
    _calls,
    _thinking,
    _prefill,
)
