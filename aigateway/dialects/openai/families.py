"""What servers and model families of OpenAI's dialect take in a request: data, and how to read it.

A `Profile` is a kind of server, a `Family` a group of models that take the same. Sources:
OpenAI's model pages and API errors (``unsupported_parameter``, ``unsupported_value``),
docs.z.ai and the official zai SDK. Leaves to `render` what follows from it.
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
    stop: bool = True
    thinks: bool = False
    """Whether it thinks when the request says nothing of it."""
    efforts: tuple[str, ...] = ()
    """The values of ``reasoning_effort`` that it takes, the least first."""
    off: str | None = None
    """The effort that comes closest to no thinking; None: it has none."""
    thinking_field: bool = False
    """GLM: takes ``thinking: {"type": ...}`` and ``reasoning_content`` of earlier turns."""
    can_stop_thinking: bool = True
    """GLM: takes ``thinking: {"type": "disabled"}``."""

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
    thinks=True,
    efforts=_LOW_TO_HIGH,
)
_gpt_5 = Family(
    token_field="max_completion_tokens",
    most_output=128_000,
    sampling="never",
    stop=False,
    thinks=True,
    efforts=("minimal", *_LOW_TO_HIGH),
    off="minimal",
)
_gpt_5_1 = Family(
    token_field="max_completion_tokens",
    most_output=128_000,
    sampling="without thinking",
    stop=False,
    efforts=("none", *_LOW_TO_HIGH),
    off="none",
)
_glm = Family(thinking_field=True, thinks=True)

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


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of server takes. The defaults are OpenAI's own."""

    keeps_openai_bodies: bool = True
    """An OpenAI client's body goes on as it came, but for the model and the streaming."""
    token_field: str | None = None
    """The one name of the token limit; None: the family's."""
    system_role: str | None = None
    """The one role of instructions; None: the family's."""
    null_content: bool = True
    """Wants null as the content of a message of calls alone; else ``""``."""
    files: bool = True
    audio: bool = True
    reasoning_content: bool = False
    """Takes an assistant's earlier thinking back."""
    stream_options: bool = True
    """Gives the usage of a stream only when asked."""
    parallel_tool_calls: bool = True
    strict: bool = True
    """Takes ``strict`` on a tool."""
    json_schema: bool = True
    """Takes a JSON schema as the response format; else the schema is told in words."""
    tool_choice_none: bool = True
    """Takes ``tool_choice: "none"``; else the tools are left out."""
    open_sampling: bool = False
    """Takes temperature and top_p between 0 and 1 only, both excluded; 0 is ``do_sample: false``."""
    penalties: bool = True
    seed: bool = True
    service_tier: bool = True
    max_stop: int = 4
    user_field: str = "safety_identifier"
    user_length: tuple[int, int] = (1, 128)
    """The shortest and the longest name of a user; another is sent as its hash."""
    needs_user_message: bool = False
    extensions: tuple[str, ...] = ()
    """Fields of the server's own, passed on from clients that speak OpenAI's dialect."""


OPENAI = Profile()

GLM = Profile(
    keeps_openai_bodies=False,
    token_field="max_tokens",
    system_role="system",
    null_content=False,
    files=False,
    audio=False,
    reasoning_content=True,
    stream_options=False,  # usage always comes
    parallel_tool_calls=False,
    strict=False,
    json_schema=False,
    tool_choice_none=False,
    open_sampling=True,
    penalties=False,
    seed=False,
    service_tier=False,
    max_stop=1,
    user_field="user_id",
    user_length=(6, 128),
    needs_user_message=True,
    extensions=(
        "do_sample",
        "meta",
        "request_id",
        "sensitive_word_check",
        "tool_stream",
        "user_id",
        "watermark_enabled",
    ),
)
