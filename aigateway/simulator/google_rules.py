"""What Google refuses in a request that is well-formed JSON: names, and thoughts unsigned.

Pure. The rules for thought signatures are those of
https://ai.google.dev/gemini-api/docs/thought-signatures: in the turn under way, the first
function call of each step must carry the signature that came with it. Claude models on
Antigravity have Claude's rule instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .claude_rules import FORCED_WHILE_THINKING, invalid_signature, missing_signature, thinking_expected
from .generate_content import Content, GenerateContent
from .signatures import Signer

NO_PREFILL = re.compile(r"gemini-(?:3\.[5-9]|[4-9])")
"""Models that go on with no answer (https://ai.google.dev/gemini-api/docs/latest-model)."""
PREFILL_REFUSED = "Requests ending with a model turn are not supported."

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""What stands for the signature of a call that Gemini never made."""


def unknown_names(value: Iterable[str], known: frozenset[str], where: str = "") -> Iterator[tuple[str, str]]:
    """Each name in ``value`` that is not among ``known``: the field that it stands in, and what
    Google says of it."""
    place = f" at '{where}'" if where else ""
    for name in value:
        if name not in known:
            message = f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.'
            yield where, message


def unsigned_call(contents: list[Content], signer: Signer) -> str | None:
    """What Gemini 3 says of a history whose calls do not carry their signatures."""
    signed = False
    for number, content in _turn(contents):
        if content.role != "model":
            signed = False  # a result: the next call begins a step
            continue
        for part in content.parts or ():
            if part.function_call is None or signed:
                continue
            if not part.thought_signature:
                return _missing(part.function_call.name, number + 1)
            if part.thought_signature != SKIP_SIGNATURE and not signer.issued(
                "gemini", part.thought_signature
            ):
                return "Corrupted thought signature."
            signed = True
    return None


def unthinking_claude(request: GenerateContent, contents: list[Content], signer: Signer) -> str | None:
    """What Claude says of a history without the thoughts that it must have."""
    if request.thinks and request.calling_mode == "ANY":
        return FORCED_WHILE_THINKING
    for number, content in enumerate(contents):
        for block, part in enumerate(content.parts or ()):
            given = part.thought_signature if part.thought else None
            if given and not signer.issued("claude", given):
                return invalid_signature(number, block)
    turn = [one for one in _turn(contents) if one[1].role == "model"]
    called = any(part.function_call for _, content in turn for part in content.parts or ())
    if not (request.thinks and called):
        return None
    number, content = turn[0]
    parts = content.parts or []
    if not (parts and parts[0].thought):
        return thinking_expected(number, "tool_use" if parts and parts[0].function_call else "text")
    if not any(part.thought and part.thought_signature for part in parts):
        return missing_signature(number, 0)
    return None


def _turn(contents: list[Content]) -> list[tuple[int, Content]]:
    """The turn under way: what follows the last message that a user wrote, with its number."""
    numbered = list(enumerate(contents))
    written = [
        number
        for number, content in numbered
        if content.role != "model" and not any(part.function_response for part in content.parts or ())
    ]
    return numbered[written[-1] + 1 if written else 0 :]


def _missing(name: str, position: int) -> str:
    return (
        "Function call is missing a thought_signature in functionCall parts. This is required for tools "
        "to work correctly, and missing thought_signature may lead to degraded model performance. "
        f"Additional data, function call `default_api:{name}` , position {position}. Please refer to "
        "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
    )
