"""What a client asks -> the body of Gemini's ``generateContent``.

Google refuses a request for a single field it does not know: the body is built from a
white list, and what has no place in it is reported as dropped. Address, authorization
and Antigravity's envelope are the provider kinds' business.
"""

from __future__ import annotations

from typing import Any

from ...errors import MalformedRequest
from ...events import ChatRequest, Message, TextBlock
from .. import free_text
from ..base import Rendered
from ..fields import message_place, spelling
from . import schema, thinking
from .contents import PLACEHOLDER, Contents, generation, tool_names

MOST_STOPS = 5

_MODES = {"auto": "AUTO", "any": "ANY", "tool": "ANY", "none": "NONE"}


def render_request(chat: ChatRequest, model: str, *, antigravity: bool) -> tuple[dict[str, Any], Rendered]:
    """The body that asks ``model`` what ``chat`` asks, before it is JSON (Antigravity puts it
    into an envelope), and what became of the client's fields. Raises `MalformedRequest`.
    """
    rendering = _Rendering(chat, model.removeprefix("models/"), antigravity)
    return rendering.body(), rendering.report()


class _Rendering:
    """One request on its way. ``_dropped`` keeps the order in which things were met."""

    def __init__(self, chat: ChatRequest, model: str, antigravity: bool) -> None:
        self._chat = chat
        self._model = model
        self._antigravity = antigravity
        self._claude = model.startswith("claude-")
        self._generation = generation(model)
        self._dropped: dict[str, None] = {}
        self._emulated: dict[str, None] = {}
        self._names = tool_names(chat, antigravity=antigravity)

    def report(self) -> Rendered:
        return Rendered(b"", tuple(self._dropped), tuple(self._emulated), renamed=self._names.renamed)

    def body(self) -> dict[str, Any]:
        chat = self._chat
        system = [block.text for block in chat.system if block.text]
        contents, may_think = self._contents(system)
        body: dict[str, Any] = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
        if chat.tools:
            body["tools"] = [{"functionDeclarations": self._declarations()}]
        if (choice := self._choice()) is not None:
            body["toolConfig"] = {"functionCallingConfig": choice}
        if config := self._config(may_think):
            body["generationConfig"] = config
        if chat.parallel_tools is False:
            self._drop("parallel_tools")
        for field in ("user", "service_tier"):
            if getattr(chat, field) is not None:
                self._drop(field)
        self._dropped.update(dict.fromkeys(chat.other + chat.unknown))
        return body

    def _drop(self, field: str) -> None:
        self._dropped[spelling(self._chat.dialect, field)] = None

    # -------------------------------------------------------------- contents

    def _contents(self, system: list[str]) -> tuple[list[dict[str, Any]], bool]:
        """The turns, and whether thinking may be on. Later system messages go to ``system``,
        except a Claude client's, which mean something at their place."""
        chat = self._chat
        contents = Contents(
            self._model,
            self._names,
            antigravity=self._antigravity,
            thoughts=chat.thoughts,
            foreign=chat.foreign,
        )
        numbered = chat.dialect == "claude"
        messages = [(message, message_place(chat, index)) for index, message in enumerate(chat.messages)]
        if not numbered:
            for message, place in messages:
                if message.role == "system":
                    system += _texts(message, contents, place)
            messages = [(message, place) for message, place in messages if message.role != "system"]
            # The newer ones continue no answer: the last word has to be the user's.
            end = 0
            while not chat.begun and messages and messages[-1][0].role == "assistant":
                messages.pop()
                end -= 1
                self._dropped[f"messages[{end}]"] = None
        for message, place in messages:
            if message.role != "system":
                contents.add(message, place)
            elif texts := _texts(message, contents, place):
                contents.add_text("<system>\n" + "\n\n".join(texts) + "\n</system>")
        finished = contents.finished()
        self._dropped.update(contents.dropped)
        if not finished:
            if not system:
                place = spelling(chat.dialect, "messages")
                raise MalformedRequest(
                    f"{place} holds nothing to answer: send a user message with some content", param=place
                )
            finished = [{"role": "user", "parts": [{"text": PLACEHOLDER}]}]
        return finished, contents.may_think()

    # ----------------------------------------------------------------- tools

    def _declarations(self) -> list[dict[str, Any]]:
        declarations = []
        room = schema.MAX_COST
        for tool in self._chat.tools:
            name = self._names.of(tool.name)
            declaration: dict[str, Any] = {"name": name}
            if description := free_text.description(tool):
                declaration["description"] = description
            if tool.free_text:
                self._emulated[spelling(self._chat.dialect, "free_text")] = None
            parameters: object = None
            if room > 0:
                parameters, cost = schema.declared(tool.input_schema, antigravity=self._antigravity)
                room -= cost
            else:
                self._dropped["tools.input_schema"] = None
            if parameters is None and self._claude:
                parameters = schema.PLACEHOLDER
            if parameters is not None:
                declaration["parameters"] = parameters
            if tool.strict:
                self._dropped["tools.strict"] = None
            declarations.append(declaration)
        return declarations

    def _choice(self) -> dict[str, Any] | None:
        choice = self._chat.tool_choice
        if not self._chat.tools:
            if choice is not None and choice.mode in ("any", "tool"):
                self._drop("tool_choice")
            return None
        mode = _MODES.get(choice.mode) if choice is not None else None
        if self._claude and mode in (None, "AUTO"):
            return {"mode": "VALIDATED"}  # AUTO is not checked against the schema there
        if choice is None or mode is None:
            return None
        if choice.mode == "tool" and choice.name is not None:
            return {"mode": mode, "allowedFunctionNames": [self._names.of(choice.name)]}
        return {"mode": mode}

    # ------------------------------------------------------ generationConfig

    def _config(self, may_think: bool) -> dict[str, Any]:
        chat = self._chat
        plan = thinking.plan(chat, self._model)
        forced = chat.tools and chat.tool_choice is not None and chat.tool_choice.mode in ("any", "tool")
        if self._claude and plan.config is not None and (forced or not may_think):
            # Claude refuses the two together; the tool is what the client cannot do without.
            plan = thinking.Plan(None, chat.max_tokens, ("thinking" if chat.thinking else "effort",))
        for field in plan.dropped:
            self._drop(field)
        config: dict[str, Any] = {}
        if plan.max_tokens is not None:
            most = thinking.family_of(self._model).most_output
            if chat.max_tokens is not None and chat.max_tokens > most:
                self._drop("max_tokens")
            # A Claude client's 0 only warms its cache.
            config["maxOutputTokens"] = max(min(plan.max_tokens, most), 1)
        self._sample(config, thinks=plan.config is not None)
        if chat.stop:
            config["stopSequences"] = list(chat.stop[:MOST_STOPS])
            if len(chat.stop) > MOST_STOPS:
                self._drop("stop")
        if plan.config is not None:
            config["thinkingConfig"] = plan.config
        self._format(config)
        return config

    def _sample(self, config: dict[str, Any], *, thinks: bool) -> None:
        chat = self._chat
        refused: tuple[str, ...] = ()
        temperature = chat.temperature
        if not thinking.family_of(self._model).penalties:
            refused = ("presence_penalty", "frequency_penalty")
        if self._claude:
            refused += ("seed",)
            if thinks:
                refused += ("temperature", "top_p", "top_k")
            elif temperature is not None:
                refused += ("top_p",)  # one of the two
                temperature = min(temperature, 1.0)
        for field, key, value in (
            ("temperature", "temperature", temperature),
            ("top_p", "topP", chat.top_p),
            ("top_k", "topK", chat.top_k),
            ("seed", "seed", chat.seed),
            ("presence_penalty", "presencePenalty", chat.presence_penalty),
            ("frequency_penalty", "frequencyPenalty", chat.frequency_penalty),
        ):
            if value is None:
                continue
            if field in refused:
                if value or not field.endswith("penalty"):  # none is what 0 says
                    self._drop(field)
            else:
                config[key] = value

    def _format(self, config: dict[str, Any]) -> None:
        form = self._chat.response_format
        if form is None:
            return
        if self._generation is None or (self._chat.tools and self._generation < 3):
            self._drop("response_format")
            return
        config["responseMimeType"] = "application/json"
        if form.schema is not None:
            if self._antigravity:
                config["responseSchema"] = schema.simplify(form.schema, antigravity=True)
            else:
                config["responseJsonSchema"] = form.schema


def _texts(message: Message, contents: Contents, place: str) -> list[str]:
    """The texts of a system message, which holds nothing else here."""
    texts = []
    for block in message.content:
        if not isinstance(block, TextBlock):
            contents.leave_out(block, place)
        elif block.text:
            texts.append(block.text)
    return texts
