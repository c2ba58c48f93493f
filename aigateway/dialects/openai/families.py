"""What the families of models take in a request of OpenAI's dialect: data, and how to read it.

A `Family` is a group of models that take the same, wherever they are served; what a server takes is
in `servers`. Sources: OpenAI's model pages and API errors (``unsupported_parameter``,
``unsupported_value``), docs.z.ai and the official zai SDK, "Thinking Mode" of api-docs.deepseek.com,
platform.kimi.ai, docs.x.ai and the errors that api.x.ai gives. Leaves to `render` what follows from it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

import msgspec

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every effort that some model knows, the least first."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What a group of models takes. The defaults are those of the oldest common ground, fit for
    the many servers that follow OpenAI."""

    token_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    most_output: int | None = None
    """The largest limit of tokens that it takes; more is refused. None: not known."""
    system_role: Literal["system", "developer", "user"] = "system"
    sampling: Literal["always", "never", "without thinking"] = "always"
    """Whether temperature, top_p and the penalties are taken."""
    penalties: bool = True
    stop: bool = True
    custom_tools: bool = False
    """Takes tools of free text."""
    parallel_tool_calls: bool = True
    """Takes that field."""
    thinks: bool = False
    """Whether it thinks when the request says nothing of it."""
    efforts: tuple[str, ...] = ()
    """The values of ``reasoning_effort`` that it takes, the least first."""
    off: str | None = None
    """The effort that comes closest to no thinking; None: it has none."""
    thinking_field: bool = False
    """Its maker's own server takes ``thinking: {"type": ...}``."""
    can_stop_thinking: bool = True
    """There, also ``{"type": "disabled"}``."""
    reasoning_content: bool = True
    """Has a use for its thinking of earlier turns, where the server takes that back."""

    def effort(self, wanted: str) -> str | None:
        """What to send for the effort ``wanted``: it, the next stronger one that the models take,
        or their strongest. None where there is nothing to send."""
        if wanted == "none":
            return self.off
        if wanted in self.efforts or wanted not in EFFORTS:
            return wanted if wanted in self.efforts else None
        efforts = [effort for effort in self.efforts if effort != "none"]
        stronger = [effort for effort in efforts if EFFORTS.index(effort) > EFFORTS.index(wanted)]
        return stronger[0] if stronger else efforts[-1] if efforts else None


_LOW_TO_HIGH = ("low", "medium", "high")
_o_series = Family(
    token_field="max_completion_tokens",
    most_output=100_000,
    system_role="developer",
    sampling="never",
    parallel_tool_calls=False,
    thinks=True,
    efforts=_LOW_TO_HIGH,
)
_gpt_5 = Family(
    token_field="max_completion_tokens",
    most_output=128_000,
    sampling="never",
    stop=False,
    thinks=True,
    custom_tools=True,
    efforts=("minimal", *_LOW_TO_HIGH),
    off="minimal",
)
_gpt_5_1 = Family(
    token_field="max_completion_tokens",
    most_output=128_000,
    sampling="without thinking",
    stop=False,
    custom_tools=True,
    efforts=("none", *_LOW_TO_HIGH),
    off="none",
)
_glm = Family(thinking_field=True, thinks=True)
_kimi = Family(thinking_field=True, thinks=True, sampling="never")
_grok = Family(thinks=True, stop=False, penalties=False)

replace = msgspec.structs.replace

# The first row that matches decides.
FAMILIES: tuple[tuple[str, Family], ...] = (
    # o1-mini has no place at all for instructions but the user's message.
    ("o1-mini*", replace(_o_series, system_role="user", efforts=(), most_output=65_536)),
    ("o1-preview*", replace(_o_series, system_role="user", efforts=(), most_output=32_768)),
    ("o3* o4-mini*", replace(_o_series, stop=False)),
    ("o1* o4*", _o_series),
    ("gpt-5-chat*", Family(most_output=16_384)),
    # Later chat models think as they see fit, and nothing can be said about it.
    ("gpt-5.?-chat*", replace(_gpt_5, efforts=(), off=None, most_output=16_384)),
    ("gpt-5.1-codex*", replace(_gpt_5, efforts=_LOW_TO_HIGH, off=None)),
    ("gpt-5-pro*", replace(_gpt_5, most_output=272_000)),
    ("gpt-5.?-pro*", replace(_gpt_5, efforts=("medium", "high"), off=None)),
    ("gpt-5.1*", _gpt_5_1),
    ("gpt-5.2* gpt-5.3* gpt-5.4*", replace(_gpt_5_1, efforts=("none", *_LOW_TO_HIGH, "xhigh"))),
    ("gpt-5 gpt-5-*", _gpt_5),
    # 5.5 and later think unless told not to.
    (
        "gpt-5.* gpt-[6-9]* gpt-1[0-9]*",
        replace(_gpt_5_1, efforts=("none", *_LOW_TO_HIGH, "xhigh"), thinks=True, most_output=None),
    ),
    ("glm-5.3*", replace(_glm, efforts=("low", "high", "max"), off="low", can_stop_thinking=False)),
    ("glm-5.2*", replace(_glm, efforts=EFFORTS, off="none")),
    ("glm-4.[5-9]* glm-[5-9]*", _glm),
    ("glm-4*", Family(reasoning_content=False)),
    ("gpt-oss*", Family(thinks=True, efforts=_LOW_TO_HIGH)),
    # The older names: the first does not think, the second cannot stop.
    ("deepseek-chat*", Family(reasoning_content=False)),
    ("deepseek-reasoner*", Family(thinking_field=True, thinks=True, can_stop_thinking=False)),
    ("deepseek-*", Family(thinking_field=True, thinks=True, efforts=("low", "high", "max"))),
    ("kimi-k2-thinking*", Family(thinking_field=True, thinks=True, can_stop_thinking=False)),
    ("kimi-k2.[5-9]* kimi-for-coding*", _kimi),
    ("kimi-k3*", replace(_kimi, thinking_field=False)),
    ("kimi-* moonshot-*", Family(reasoning_content=False)),
    ("grok-3-mini*", replace(_grok, efforts=("low", "high"))),
    ("grok-4.3*", replace(_grok, efforts=("none", *_LOW_TO_HIGH), off="none")),
    ("grok-*-non-reasoning*", Family(penalties=False)),
    ("grok-4* grok-code* grok-build*", _grok),
    ("mistral-small-latest", Family(efforts=("none", "high"), off="none")),
    ("gpt-4o-2024-05-13", Family(most_output=4_096)),
    ("gpt-4o gpt-4o-*", Family(most_output=16_384)),
    ("gpt-4.1 gpt-4.1-*", Family(most_output=32_768)),
    ("gpt-4 gpt-4-0613", Family(most_output=8_192)),
    ("gpt-4-turbo* gpt-4-*-preview gpt-3.5-turbo* gpt-35-turbo*", Family(most_output=4_096)),
    # All else: older GLM, and the models of other servers.
    ("*", Family()),
)


@lru_cache(maxsize=256)
def of(model: str) -> Family:
    """The family of ``model``: its name without a host's prefix (``z-ai/``) or a fine-tune's (``ft:``)."""
    name = model.rpartition("/")[2].removeprefix("ft:").lower()
    return next(
        family for globs, family in FAMILIES if any(fnmatchcase(name, glob) for glob in globs.split())
    )
