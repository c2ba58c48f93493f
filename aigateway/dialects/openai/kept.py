"""An OpenAI client's own body for a server of its dialect: as it came, but for what that refuses.

Every field that is not in the way goes on byte for byte, unknown ones too. What the server has
another word for is renamed, what it answers with an error is left out and reported, and a message
is written anew only where something in it has to change. Leaves to `render` all other bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ... import jsontext
from ...events import ChatRequest, ToolUseBlock
from ..base import Rendered
from . import families, shapes
from .history import LOST, OK, call_id, in_words, said_later, thinking_before
from .servers import Profile

_ABSENT = msgspec.Raw(b"null")
_MESSAGE = "messages."
_INSTRUCTS = ("system", "developer")

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])


def as_it_came(chat: ChatRequest, model: str, profile: Profile, *, stream: bool) -> Rendered:
    """The body for ``model`` at a server of this ``profile``; ``stream`` is how it is asked."""
    body = _Body(chat, profile)
    body.adapt(stream)
    if chat.begun:
        body.go_on(families.of(model))
    encoded = jsontext.encode({**body.fields, "model": model})
    echoes = chat.begun and profile.echoes
    return Rendered(encoded, tuple(body.dropped), tuple(body.emulated), kept=True, echoes=echoes)


class _Body:
    def __init__(self, chat: ChatRequest, profile: Profile) -> None:
        self._chat = chat
        self._profile = profile
        # One for each of the assistant's messages in the body, in their order.
        self._said = (message for message in chat.messages if message.role == "assistant")
        self.fields: dict[str, object] = dict(_fields.decode(chat.raw))
        self.dropped: dict[str, None] = {}
        self.emulated: dict[str, None] = {}

    def adapt(self, stream: bool) -> None:
        self._names()
        self._tools()
        in_the_way = self._message_rules()
        words = self._response_format()
        if in_the_way or words:
            self._messages(in_the_way, words)
        self._streaming(stream)

    def go_on(self, family: families.Family) -> None:
        """Have the server go on with the last message, and not think first."""
        profile = self._profile
        if profile.prefill_flag:
            messages = _list.decode(self._text("messages"))
            last = _fields.decode(messages.pop())
            last[profile.prefill_flag] = msgspec.Raw(b"true")
            self.fields["messages"] = [*messages, last]
        for name, value in profile.prefill_fields.items():
            told = self._decoded(name)
            if isinstance(told, dict) and isinstance(value, Mapping):
                value = told | dict(value)
            self.fields[name] = value
        if profile.thinking == "field" and family.thinks and family.can_stop_thinking:
            self._leave_out("reasoning_effort")
            self.fields["thinking"] = {"type": "disabled"}

    # ------------------------------------------------------------- top level

    def _text(self, name: str) -> bytes:
        """The JSON text of a field; null where there is none."""
        value = self.fields.get(name, _ABSENT)
        return bytes(value) if isinstance(value, msgspec.Raw) else jsontext.encode(value)

    def _decoded(self, name: str) -> object:
        return msgspec.json.decode(self._text(name))

    def _leave_out(self, name: str, *, nothing: tuple[bytes, ...] = ()) -> None:
        """The field goes; it is a loss unless it said ``nothing`` more than its absence does."""
        said = self._text(name)
        if self.fields.pop(name, None) is not None and said not in (b"null", *nothing):
            self.dropped[name] = None

    def _names(self) -> None:
        profile, fields = self._profile, self.fields
        if not profile.max_completion_tokens and "max_completion_tokens" in fields:
            limit = fields.pop("max_completion_tokens")
            if self._text("max_tokens") == b"null":
                fields["max_tokens"] = limit
        if profile.seed_field != "seed" and "seed" in fields:
            fields.setdefault(profile.seed_field, fields.pop("seed"))
        if not profile.seed:
            self._leave_out("seed")
        if not profile.penalties:
            for name in ("presence_penalty", "frequency_penalty"):
                self._leave_out(name, nothing=(b"0", b"0.0"))
        if not profile.parallel_tool_calls:
            self._leave_out("parallel_tool_calls", nothing=(b"true",))
        for name in profile.refused:
            # Without what the client needs, it is better refused by the server than answered.
            if not name.startswith(_MESSAGE) and name not in self._chat.needed:
                self._leave_out(name)

    def _streaming(self, stream: bool) -> None:
        """A stream's usage is always asked for, beside the client's own options."""
        options = self._decoded("stream_options")
        options = options if isinstance(options, dict) else {}
        if stream:
            self.fields["stream"] = True
            if self._profile.stream_options:
                self.fields["stream_options"] = {**options, "include_usage": True}
                return
            self.dropped.update({f"stream_options.{n}": None for n in options if n != "include_usage"})
        elif "stream" in self.fields:
            self.fields["stream"] = False
        # Without a stream OpenAI refuses the options.
        self.fields.pop("stream_options", None)

    def _response_format(self) -> str:
        """What must be said in words of the response format, mostly nothing."""
        if self._profile.json_schema:
            return ""
        wanted = self._chat.response_format
        if wanted is None or wanted.schema is None:
            return ""
        self.fields["response_format"] = {"type": "json_object"}
        self.emulated["response_format"] = None
        return in_words(wanted.schema)

    # ----------------------------------------------------------------- tools

    def _tools(self) -> None:
        profile = self._profile
        if not profile.strict and b'"strict"' in self._text("tools"):
            self._unstrict()
        choice = self._chat.tool_choice
        if choice is None or "tool_choice" not in self.fields:
            return
        if choice.mode == "auto" and not profile.tool_choice:
            del self.fields["tool_choice"]
        elif choice.mode == "none" and not (profile.tool_choice and profile.tool_choice_none):
            for name in ("tool_choice", "tools", "parallel_tool_calls"):
                self.fields.pop(name, None)
        elif choice.mode == "any" and not (profile.tool_choice and profile.tool_choice_required):
            self._leave_out("tool_choice")
        elif choice.mode == "any" and self._text("tool_choice") == b'"required"':
            self.fields["tool_choice"] = profile.required_word
        elif choice.mode == "tool" and not (profile.tool_choice and profile.tool_choice_named):
            self._only(choice.name)

    def _unstrict(self) -> None:
        tools = self._decoded("tools")
        for tool in tools if isinstance(tools, list) else ():
            function = tool.get("function") if isinstance(tool, dict) else None
            if isinstance(function, dict) and function.pop("strict", None):
                self.dropped["tools.strict"] = None
        self.fields["tools"] = tools

    def _only(self, name: str | None) -> None:
        """Some call is required, and no tool but the one is there to be called."""
        tools = [] if self._text("tools") == b"null" else _list.decode(self._text("tools"))
        named = [tool for tool in tools if _name_of(tool) == name]
        if not (named and self._profile.tool_choice and self._profile.tool_choice_required):
            self._leave_out("tool_choice")
            return
        self.fields["tools"] = named
        self.fields["tool_choice"] = self._profile.required_word
        self.emulated["tool_choice"] = None

    # -------------------------------------------------------------- messages

    def _message_rules(self) -> list[Callable[[dict[str, msgspec.Raw], str], bool]]:
        """The rules that may have something to change: each says whether it did."""
        profile = self._profile
        rules: list[Callable[[dict[str, msgspec.Raw], str], bool]] = []
        if not profile.developer_role:
            rules.append(_no_developer)
        if not profile.list_content:
            rules.append(_no_list)
        if any(name.startswith(_MESSAGE) for name in profile.refused):
            rules.append(self._nothing_refused)
        if profile.nine_letter_ids:
            rules.append(_nine_letters)
        if profile.wants_thinking:
            rules.append(self._thinking)
        return rules

    def _messages(self, rules: list[Callable[[dict[str, msgspec.Raw], str], bool]], words: str) -> None:
        messages: list[object] = []
        before, touched = "", bool(words)
        if words:
            messages.append({"role": "system", "content": words})
        for raw in _list.decode(self._text("messages")):
            message = _fields.decode(raw)
            role: str = msgspec.json.decode(message["role"], type=str)
            changed = False
            for rule in rules:
                changed |= rule(message, role)
            if before not in ("", *_INSTRUCTS) and role in _INSTRUCTS and self._moved(message):
                role, changed = "user", True
            if self._profile.turns_alternate and before == "tool" and role == "user":
                messages.append(OK)
                touched = True
            messages.append(message if changed else raw)
            touched |= changed
            before = role
        if self._profile.turns_alternate and before == "assistant":
            last = _fields.decode(jsontext.encode(messages[-1]))
            if bytes(last.get("tool_calls", _ABSENT)) in (b"null", b"[]"):
                messages[-1] = {**last, "prefix": True}
                touched = True
                if not self._chat.begun:
                    self.emulated["messages"] = None
        if touched:
            self.fields["messages"] = messages

    def _moved(self, message: dict[str, msgspec.Raw]) -> bool:
        """Whether the user now says what the system said in mid-conversation."""
        if not self._profile.turns_alternate or (text := _text_of(message)) is None:
            return False
        message["role"] = msgspec.Raw(b'"user"')
        message["content"] = msgspec.Raw(jsontext.encode(said_later(text)))
        self.emulated["messages"] = None
        return True

    def _nothing_refused(self, message: dict[str, msgspec.Raw], role: str) -> bool:
        changed = False
        for name in self._profile.refused:
            field = name.removeprefix(_MESSAGE)
            if field == name or field not in message:
                continue
            if bytes(message.pop(field)) not in (b"null", b'""'):
                self.dropped[name] = None
            changed = True
        return changed

    def _thinking(self, message: dict[str, msgspec.Raw], role: str) -> bool:
        """What was thought before a call, as remembered, or that it is lost."""
        if role != "assistant":
            return False
        calls = [block for block in next(self._said).content if isinstance(block, ToolUseBlock)]
        if bytes(message.get("tool_calls", b"null")) in (b"null", b"[]"):
            return False
        if bytes(message.get("reasoning_content", b"null")) not in (b"null", b'""'):
            return False
        thought = thinking_before(self._chat, calls) or LOST
        message["reasoning_content"] = msgspec.Raw(jsontext.encode(thought))
        return True


def _name_of(tool: msgspec.Raw) -> str | None:
    function = msgspec.json.decode(tool, type=shapes.Tool).function
    return function.name if function is not None else None


def _no_developer(message: dict[str, msgspec.Raw], role: str) -> bool:
    if role != "developer":
        return False
    message["role"] = msgspec.Raw(b'"system"')
    return True


def _no_list(message: dict[str, msgspec.Raw], role: str) -> bool:
    """A list of texts as one string. Where there is more in it, the server must say what it thinks."""
    if bytes(message.get("content", _ABSENT))[:1] != b"[" or (text := _text_of(message)) is None:
        return False
    message["content"] = msgspec.Raw(jsontext.encode(text))
    return True


def _text_of(message: dict[str, msgspec.Raw]) -> str | None:
    """The text of a message that holds nothing else; None of others."""
    content = msgspec.json.decode(message.get("content", _ABSENT))
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    said = [text for text in texts if isinstance(text, str)]
    return "\n\n".join(said) if len(said) == len(texts) else None


def _nine_letters(message: dict[str, msgspec.Raw], role: str) -> bool:
    changed = False
    if (raw := message.get("tool_call_id")) is not None:
        id = msgspec.json.decode(raw)
        if isinstance(id, str) and (other := call_id(id)) != id:
            message["tool_call_id"] = msgspec.Raw(jsontext.encode(other))
            changed = True
    if bytes(message.get("tool_calls", b"null"))[:1] == b"[":
        calls = [_fields.decode(call) for call in _list.decode(message["tool_calls"])]
        for call in calls:
            id = msgspec.json.decode(call.get("id", b"null"))
            if isinstance(id, str) and (other := call_id(id)) != id:
                call["id"] = msgspec.Raw(jsontext.encode(other))
                changed = True
        if changed:
            message["tool_calls"] = msgspec.Raw(jsontext.encode(calls))
    return changed
