"""What Claude's model families take in a request: data, and how to read it.

Sources: Anthropic's model pages ("Extended thinking", "Adaptive thinking", "Effort", "Structured
outputs", "Prefill") and its API's errors. Leaves to `render` what follows from it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""Every effort that some model knows, the least first."""

LEAST_BUDGET = 1024
BUDGETS = {
    "minimal": LEAST_BUDGET,
    "low": 2048,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 1 << 20,
}
"""Tokens of thinking that an effort stands for, where the model takes a budget."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What a group of models takes. The defaults are those of servers that follow Anthropic."""

    most_output: int | None = None
    """The largest limit of tokens that it takes; more is refused. None: not known."""
    sampling: bool = True
    """Whether temperature, top_p and top_k are taken."""
    both_samplings: bool = True
    """Whether temperature and top_p are taken together."""
    budget: bool = True
    """Takes ``thinking: {"type": "enabled", "budget_tokens": ...}``."""
    adaptive: bool = False
    """Takes ``thinking: {"type": "adaptive"}``."""
    thinks: bool = False
    """Whether it thinks when the request says nothing of it."""
    efforts: tuple[str, ...] = ()
    """The values of ``output_config.effort`` that it takes, the least first."""
    effort_without_thinking: str = "max"
    """The most that it takes while thinking is disabled."""
    forced_choice: bool = True
    """Takes a ``tool_choice`` of any or tool."""
    structured: bool = False
    """Takes ``output_config.format``, and ``strict`` on a tool."""
    prefill: bool = True
    """Goes on from a last message of the assistant's; else it answers 400."""
    later_system: bool = False
    """Heeds a message of the role system between the others."""
    signed: bool = True
    """Signs its thinking, and takes it back only so."""

    def effort(self, wanted: str) -> str | None:
        """What to send for the effort ``wanted``: it, the next stronger one that it takes, or its
        strongest. None where there is nothing to send."""
        if wanted == "minimal":
            wanted = "low"
        if wanted not in EFFORTS or not self.efforts:
            return None
        rank = EFFORTS.index(wanted)
        return next((one for one in self.efforts if EFFORTS.index(one) >= rank), self.efforts[-1])


_LOW_TO_HIGH = ("low", "medium", "high")
_claude_3 = Family(budget=False, most_output=4_096)
_claude_4 = Family(both_samplings=False, most_output=64_000)
_claude_4_5 = msgspec.structs.replace(_claude_4, structured=True)
_claude_4_6 = msgspec.structs.replace(
    _claude_4_5, most_output=128_000, adaptive=True, prefill=False, efforts=(*_LOW_TO_HIGH, "max")
)
_claude_4_7 = msgspec.structs.replace(_claude_4_6, sampling=False, budget=False, efforts=EFFORTS)
_claude_5 = msgspec.structs.replace(_claude_4_7, thinks=True)

replace = msgspec.structs.replace

# The first row that matches decides.
FAMILIES: tuple[tuple[str, Family], ...] = (
    ("claude-3-7-sonnet*", replace(_claude_3, budget=True, most_output=64_000)),
    ("claude-3-5-*", replace(_claude_3, most_output=8_192)),
    ("claude-3-* claude-2* claude-instant*", _claude_3),
    ("claude-opus-4-1*", replace(_claude_4_5, most_output=32_000)),
    ("claude-opus-4 claude-opus-4-0 claude-opus-4-20*", replace(_claude_4, most_output=32_000)),
    ("claude-sonnet-4 claude-sonnet-4-0 claude-sonnet-4-20*", _claude_4),
    ("claude-opus-4-5*", replace(_claude_4_5, efforts=_LOW_TO_HIGH)),
    ("claude-*-4-5*", _claude_4_5),
    ("claude-*-4-6*", _claude_4_6),
    ("claude-*-4-7*", _claude_4_7),
    ("claude-opus-4-8*", replace(_claude_4_7, later_system=True)),
    ("claude-*-4-*", _claude_4_7),
    ("claude-opus-5*", replace(_claude_5, later_system=True, effort_without_thinking="high")),
    # It answers 200 to a system message between the others, and does not heed it.
    ("claude-sonnet-5*", _claude_5),
    ("claude-fable-5* claude-mythos-5*", replace(_claude_5, later_system=True, forced_choice=False)),
    ("claude-*", _claude_5),
    ("glm-5.3*", Family(adaptive=False, thinks=True, signed=False, efforts=("low", "high", "max"))),
    ("glm-*", Family(thinks=True, signed=False)),
    # The models of other servers that speak this dialect.
    ("*", Family(signed=False)),
)


@lru_cache(maxsize=256)
def of(model: str) -> Family:
    """The family of ``model``: its name without a host's prefix (``anthropic/``, ``anthropic.``), and
    by Anthropic's spelling (OpenRouter writes 4.5 for 4-5)."""
    name = model.rpartition("/")[2].lower()
    name = name[max(name.find("claude-"), 0) :]  # Bedrock: us.anthropic.claude-...
    if name.startswith("claude-"):
        name = name.replace(".", "-")
    return next(
        family for globs, family in FAMILIES if any(fnmatchcase(name, glob) for glob in globs.split())
    )
