"""What the servers of OpenAI's dialect take in a request: data, one row each.

A `Profile` is a kind of server; what single models take is in `families`. `SERVERS` has them by the
name that the configuration's ``server`` gives, `HOSTS` by where they are. Sources are with each row:
the vendor's reference, and where that is silent the errors that clients report. Leaves to `render`
and `kept` what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urlsplit

import msgspec

replace = msgspec.structs.replace


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of server takes. The defaults are OpenAI's own.

    The booleans up to ``seed`` are those that ``takes`` in the configuration sets.
    """

    stream_options: bool = True
    """Gives the usage of a stream when asked by ``stream_options``; else unasked, or not at all."""
    max_completion_tokens: bool = True
    """Knows that name for the token limit; else it is ``max_tokens``, whatever the model."""
    developer_role: bool = True
    """Knows the role; else instructions are the system's."""
    list_content: bool = True
    """Takes content as a list of parts; else a string only."""
    null_content: bool = True
    """Wants null as the content of a message of calls alone; else ``""``."""
    images: bool = True
    files: bool = True
    audio: bool = True
    reasoning_content: bool = False
    """Takes an assistant's earlier thinking back, under that name."""
    custom_tools: bool = True
    """Takes tools of free text; else they are functions of one string."""
    parallel_tool_calls: bool = True
    strict: bool = True
    """Takes ``strict`` on a tool."""
    tool_choice: bool = True
    """Heeds it at all."""
    tool_choice_required: bool = True
    """Can be made to call some tool."""
    tool_choice_named: bool = True
    """Can be made to call one tool; else only that one is offered, and some call required."""
    tool_choice_none: bool = True
    """Takes ``"none"``; else the tools are left out."""
    json_schema: bool = True
    """Takes a JSON schema as the response format; else the schema is told in words."""
    penalties: bool = True
    seed: bool = True
    prefill: bool = False
    """Goes on, word for word, with an answer that a last message of the assistant's begins."""

    keeps_openai_bodies: bool = True
    """An OpenAI client's body goes on as it came, but for what the server refuses."""
    refused: tuple[str, ...] = ()
    """Fields that the server answers with an error; those of a message begin with ``messages.``."""
    thinking: Literal["effort", "field", "reasoning"] = "effort"
    """How it is told to think: ``reasoning_effort`` alone; a ``thinking`` field besides, for the
    families that have it; OpenRouter's ``reasoning``, whatever the model."""
    clears_thinking: bool = False
    """Forgets what comes back of earlier thinking unless told not to."""
    wants_thinking: bool = False
    """Refuses a call in the history without the thinking before it, while the model thinks."""
    forced_or_thinking: bool = False
    """Refuses a forced tool choice while the model thinks."""
    required_word: str = "required"
    nine_letter_ids: bool = False
    """A call's id must be nine letters and digits."""
    turns_alternate: bool = False
    """Refuses a user's message after a tool's, an assistant's as the last, and a system's after either."""
    open_sampling: bool = False
    """Takes temperature and top_p between 0 and 1 only, both excluded; 0 is ``do_sample: false``."""
    seed_field: str = "seed"
    service_tiers: tuple[str, ...] = ("auto", "default", "flex", "priority", "scale")
    max_stop: int = 4
    user_field: str | None = "safety_identifier"
    user_length: tuple[int, int] = (1, 128)
    """The shortest and the longest name of a user; another is sent as its hash."""
    needs_user_message: bool = False
    prefill_base: str = ""
    """What the base URL must end in for that."""
    prefill_flag: str = ""
    """The field of that message which says so, where one must."""
    prefill_fields: Mapping[str, object] = {}
    """The fields of the request which say so, and those that turn thinking off."""
    echoes: bool = False
    """Its answer repeats the beginning that it was given."""
    extensions: tuple[str, ...] = ()
    """Fields of the server's own, passed on from clients that speak OpenAI's dialect."""


SWITCHES = Profile.__struct_fields__[: Profile.__struct_fields__.index("keeps_openai_bodies")]

OPENAI = Profile()

# What most servers take or ignore.
COMPATIBLE = Profile(custom_tools=False, service_tiers=(), user_field="user")

# No developer in the chat templates of most models, so that a server which renders with them
# answers 400 or 500 ("Unexpected message role").
_templates = replace(COMPATIBLE, developer_role=False, files=False)

_thinks_back = replace(
    _templates,
    audio=False,
    reasoning_content=True,
    wants_thinking=True,
    thinking="field",
    forced_or_thinking=True,
    parallel_tool_calls=False,
    strict=False,
    user_field=None,
)

# Templates that know no such word do not mind it.
_THINK_NOT: Mapping[str, object] = {"chat_template_kwargs": {"enable_thinking": False}}

SERVERS: Mapping[str, Profile] = {
    "openai": OPENAI,
    # learn.microsoft.com/azure/ai-services/openai/reference: ``user``, no safety_identifier, no tiers;
    # what its version does not know it answers with "Unrecognized request argument supplied".
    "azure": replace(OPENAI, user_field="user", service_tiers=()),
    # docs.z.ai/api-reference and the zai SDK. Usage always comes.
    "glm": Profile(
        keeps_openai_bodies=False,
        max_completion_tokens=False,
        developer_role=False,
        null_content=False,
        files=False,
        audio=False,
        reasoning_content=True,
        thinking="field",
        clears_thinking=True,
        custom_tools=False,
        stream_options=False,
        parallel_tool_calls=False,
        strict=False,
        json_schema=False,
        tool_choice_none=False,
        open_sampling=True,
        penalties=False,
        seed=False,
        service_tiers=(),
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
    ),
    # docs.vllm.ai, "OpenAI-Compatible Server": unknown fields are ignored.
    # There too, ``continue_final_message``, which SGLang has from it.
    "vllm": replace(
        _templates,
        prefill=True,
        prefill_fields={"continue_final_message": True, "add_generation_prompt": False, **_THINK_NOT},
    ),
    # docs.ollama.com/api/openai-compatibility, "Supported request fields": tool_choice, user and
    # parallel_tool_calls are not among them, nor is max_completion_tokens; what is not, is ignored.
    # Whether it goes on with an answer depends on the model's template (ollama#5890, #6778).
    "ollama": replace(
        _templates,
        audio=False,
        max_completion_tokens=False,
        parallel_tool_calls=False,
        strict=False,
        tool_choice=False,
        user_field=None,
    ),
    # github.com/ggml-org/llama.cpp, tools/server/README.md: tool_choice is one of three words.
    # It goes on with an answer (llama.cpp#13174), unless the template thinks: then it answers 400,
    # "Assistant response prefill is incompatible with enable_thinking".
    "llamacpp": replace(
        _templates,
        strict=False,
        tool_choice_named=False,
        user_field=None,
        prefill=True,
        prefill_fields=_THINK_NOT,
    ),
    # console.groq.com/docs/openai, "Currently unsupported": answered with 400. So is what it does not
    # know ("property 'reasoning_content' is unsupported"). console.groq.com/docs/prefilling.
    "groq": replace(
        _templates,
        audio=False,
        prefill=True,
        service_tiers=("auto", "flex"),
        refused=(
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "messages.name",
            "messages.reasoning_content",
            "messages.reasoning",
        ),
    ),
    # The same wording from Cerebras, for the same field.
    "cerebras": replace(
        _templates, images=False, audio=False, refused=("messages.reasoning_content", "messages.reasoning")
    ),
    # api-docs.deepseek.com, "Create Chat Completion" and "Thinking Mode": what the model thought before
    # a call must come back, the role is one of four, the format text or json_object ("This
    # response_format type is unavailable now"); a forced tool_choice is refused while it thinks. "Chat
    # Prefix Completion (Beta)": "prefix is only available when using beta api".
    "deepseek": replace(
        _thinks_back,
        prefill=True,
        prefill_base="/beta",
        prefill_flag="prefix",
        max_completion_tokens=False,
        images=False,
        json_schema=False,
        penalties=False,
        seed=False,
    ),
    # platform.kimi.ai/docs/api/chat: "reasoning_content is missing in assistant tool call message",
    # "tool_choice 'required' is incompatible with thinking enabled". There too, "Partial Mode".
    "moonshot": replace(_thinks_back, seed=False, prefill=True, prefill_flag="partial"),
    # docs.mistral.ai/api: "Extra inputs are not permitted" (422) for what it does not name; "Tool call
    # id was ... but must be a-z, A-Z, 0-9, with a length of 9"; "Unexpected role 'user' after role
    # 'tool'", "Unexpected role 'system' after role 'assistant'"; "Expected last role User or Tool (or
    # Assistant with prefix True)". Usage always comes. docs.mistral.ai, "Prefix": the answer has it, too.
    "mistral": replace(
        _templates,
        prefill=True,
        prefill_flag="prefix",
        echoes=True,
        stream_options=False,
        max_completion_tokens=False,
        audio=False,
        required_word="any",
        nine_letter_ids=True,
        turns_alternate=True,
        seed_field="random_seed",
        user_field=None,
        refused=(
            "logit_bias",
            "logprobs",
            "modalities",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "top_logprobs",
            "user",
            "verbosity",
            "web_search_options",
            "messages.name",
            "messages.reasoning_content",
            "messages.refusal",
        ),
    ),
    # openrouter.ai/docs/api-reference: takes all that some model takes, and leaves out the rest. Whether
    # an answer is gone on with depends on who serves the model in the end.
    "openrouter": replace(COMPATIBLE, thinking="reasoning"),
    # docs.x.ai: what single models refuse is in `families`.
    "xai": replace(_templates, audio=False),
    "other": COMPATIBLE,
}
GLM = SERVERS["glm"]

HOSTS: tuple[tuple[str, str], ...] = (
    ("api.openai.com", "openai"),
    ("*.openai.azure.com", "azure"),
    ("*.services.ai.azure.com", "azure"),
    ("*.cognitiveservices.azure.com", "azure"),
    ("api.z.ai", "glm"),
    ("open.bigmodel.cn", "glm"),
    ("api.groq.com", "groq"),
    ("api.cerebras.ai", "cerebras"),
    ("api.deepseek.com", "deepseek"),
    ("api.moonshot.ai", "moonshot"),
    ("api.moonshot.cn", "moonshot"),
    ("api.kimi.com", "moonshot"),
    ("*.mistral.ai", "mistral"),
    ("openrouter.ai", "openrouter"),
    ("api.x.ai", "xai"),
    ("ollama.com", "ollama"),
)


def server_at(base_url: str) -> str:
    """The name of the server at ``base_url``, by its host; ``"other"`` for one that is not known."""
    host = urlsplit(base_url).hostname or ""
    return next((server for glob, server in HOSTS if fnmatchcase(host, glob)), "other")
