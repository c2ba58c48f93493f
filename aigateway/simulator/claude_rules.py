"""What Claude's API says when a history breaks its rules, wherever Claude is served.

Pure. Who looks for the faults is `anthropic` and `google_rules`. The texts are the real ones,
as clients quote them in public issues.
"""

from __future__ import annotations

FORCED_WHILE_THINKING = "Thinking may not be enabled when tool_choice forces tool use."


def thinking_expected(message: int, found: str) -> str:
    """The turn under way begins, in message number ``message``, with another block."""
    return (
        f"messages.{message}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
        f"`{found}`. When `thinking` is enabled, a final `assistant` message must start with a thinking "
        "block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). We recommend you "
        "include thinking blocks from previous turns. To avoid this requirement, disable `thinking`. "
        "Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
    )


def invalid_signature(message: int, block: int) -> str:
    return f"messages.{message}.content.{block}: Invalid `signature` in `thinking` block"


def missing_signature(message: int, block: int) -> str:
    return f"messages.{message}.content.{block}.thinking.signature: Field required"
