"""The items of a Responses ``input``, as the turns of a conversation.

An item is a message, or a piece of one: a reasoning, a call, a call's output. What the assistant
did in a row of items is one message here, and so are the outputs that follow it; that is how
every provider wants calls and results paired. Items that only OpenAI's own tools make are named
in the report and left out.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ...events import (
    AudioBlock,
    DocumentBlock,
    ImageBlock,
    Message,
    OtherBlock,
    RedactedThinkingBlock,
    RequestBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from ...jsontext import encode
from .. import fields, strays
from ..openai.parse import arguments_text, data_url
from . import shapes
from .sealed import unseal

T = TypeVar("T")

ROLES = ("user", "assistant", "system", "developer")

# Items that stand for more than they hold; the rest of it lies with OpenAI.
_STORED = ("item_reference", "compaction", "compaction_summary", "context_compaction")


class Conversation:
    """Reads the items, one by one, into ``system`` and ``turns``.

    What has no word in the hub goes to ``reading``; ``needed`` names the items without which the
    conversation would be another one, and ``tools`` those that stand among the items, by place.
    """

    def __init__(self, reading: fields.Reading) -> None:
        self.system: list[TextBlock] = []
        self.turns: list[Message] = []
        self.needed: list[str] = []
        self.tools: list[tuple[str, msgspec.Raw]] = []
        self._reading = reading
        self._said: list[RequestBlock] = []  # by the assistant, in the items just before
        self._results: list[RequestBlock] = []

    def read(self, input: str | list[msgspec.Raw]) -> None:
        if isinstance(input, str):
            self.turns.append(Message("user", (TextBlock(input),)))
            return
        for index, raw in enumerate(input):
            self._item(raw, f"input[{index}]")
        self._end_turn()

    def _item(self, raw: msgspec.Raw, place: str) -> None:
        item = fields.decode(shapes.item_decoder, raw, place)
        type = item.type or ("message" if item.role is not None else "item_reference")
        match type:
            case "message":
                self._message(raw, place)
            case "reasoning":
                self._say(*self._reasoning(raw, place))
            case "function_call":
                call = self._decode(shapes.call_decoder, raw, place, "input.function_call")
                name = flat_name(call.namespace, call.name)
                self._made_by(call, "input.function_call")
                self._say(ToolUseBlock(call.call_id, name, arguments_text(call.arguments)))
            case "custom_tool_call":
                custom = self._decode(shapes.custom_call_decoder, raw, place, "input.custom_tool_call")
                name = flat_name(custom.namespace, custom.name)
                text = encode({"input": custom.input}).decode()
                self._made_by(custom, "input.custom_tool_call")
                self._say(ToolUseBlock(custom.call_id, name, text))
            case "function_call_output" | "custom_tool_call_output":
                self._output(raw, place, f"input.{type}")
            case "additional_tools":
                more = self._decode(shapes.additional_decoder, raw, place, "input.additional_tools").tools
                self.tools += [(f"{place}.tools[{number}]", tool) for number, tool in enumerate(more)]
            case _:
                # Its type, where it may be one: the report names it to the client.
                name = f"input.{type}" if type.isidentifier() and len(type) <= 64 else place
                self._reading.note(name)
                if type in _STORED:
                    self.needed.append(name)

    def _decode(self, decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, place: str, label: str) -> T:
        return strays.decode(decoder, raw, self._reading.note, place, label)

    def _made_by(self, item: shapes.Kept, label: str) -> None:
        if item.caller is not None and item.caller.type != "direct":
            self._reading.note(f"{label}.caller")  # a program that runs at OpenAI

    # ------------------------------------------------------------------ turns

    def _say(self, *blocks: RequestBlock) -> None:
        if self._results:
            self._end_turn()
        self._said += blocks

    def _end_turn(self) -> None:
        """The assistant's turn and the results that answer it are over."""
        if self._said:
            self.turns.append(Message("assistant", tuple(self._said)))
        if self._results:
            self.turns.append(Message("user", tuple(self._results)))
        self._said, self._results = [], []

    def _message(self, raw: msgspec.Raw, place: str) -> None:
        message = self._decode(shapes.message_decoder, raw, place, "input")
        role = fields.one_of(message.role, ROLES, f"{place}.role")
        content = self._parts(message.content, f"{place}.content")
        if role == "assistant":
            self._say(*content)
            return
        self._end_turn()
        if role == "user":
            self.turns.append(Message("user", content))
        elif self.turns:
            self.turns.append(Message("system", content))
        else:
            self.system += _texts(content, f"{place}.content")

    def _output(self, raw: msgspec.Raw, place: str, label: str) -> None:
        output = self._decode(shapes.output_decoder, raw, place, label)
        self._made_by(output, label)
        content = self._parts(output.output, f"{place}.output")
        self._results.append(ToolResultBlock(output.call_id, content))

    def _reasoning(self, raw: msgspec.Raw, place: str) -> tuple[RequestBlock, ...]:
        """A thought: its summary is its text, unless the model gave its very words."""
        item = self._decode(shapes.reasoning_decoder, raw, place, "input.reasoning")
        text = "\n\n".join(part.text for part in item.content or item.summary or ())
        sealed = unseal(item.encrypted_content or "")
        if sealed is None:
            if item.encrypted_content:
                self._reading.note("reasoning.encrypted_content")
            return (ThinkingBlock(text),) if text else ()
        if sealed.redacted is not None:
            return (RedactedThinkingBlock(sealed.redacted),)
        return (ThinkingBlock(text, sealed.signature),) if text or sealed.signature else ()

    # ------------------------------------------------------------------ parts

    def _parts(self, content: str | list[msgspec.Raw], place: str) -> tuple[RequestBlock, ...]:
        if isinstance(content, str):
            return (TextBlock(content),) if content else ()
        parts = (self._part(raw, f"{place}[{index}]") for index, raw in enumerate(content))
        return tuple(part for part in parts if part is not None)

    def _part(self, raw: msgspec.Raw, place: str) -> RequestBlock | None:
        """The part at ``place``; None for an empty text."""
        type = fields.decode(shapes.tag_decoder, raw, place).type
        match type:
            case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
                text = self._decode(shapes.text_decoder, raw, place, type).text
                return TextBlock(text) if text else None
            case "refusal":
                text = self._decode(shapes.refusal_decoder, raw, place, type).refusal
                return TextBlock(text) if text else None
            case "input_image":
                return self._image(self._decode(shapes.image_decoder, raw, place, type), place)
            case "input_file":
                return _document(self._decode(shapes.file_decoder, raw, place, type), place)
            case "input_audio":
                audio = self._decode(shapes.audio_decoder, raw, place, type).input_audio
                return AudioBlock(audio.data, audio.format)
            case _:
                return OtherBlock(type)

    def _image(self, image: shapes.Image, place: str) -> RequestBlock:
        if image.detail not in (None, "auto"):
            self._reading.note("input_image.detail")
        if image.image_url is None:
            if image.file_id is None:
                raise fields.wrong(f"{place}.image_url", "field required")
            return OtherBlock("image.file_id")
        if image.image_url[:5].lower() != "data:":
            return ImageBlock(url=image.image_url)
        media_type, data = data_url(image.image_url, f"{place}.image_url")
        return ImageBlock(media_type, data)


def flat_name(namespace: str | None, name: str) -> str:
    """The one name that a tool in a namespace goes by, where there are no namespaces."""
    return f"{namespace}__{name}" if namespace else name


def _document(file: shapes.File, place: str) -> RequestBlock:
    if file.file_url is not None:
        return DocumentBlock(url=file.file_url, title=file.filename)
    if file.file_data is None:
        if file.file_id is None:
            raise fields.wrong(f"{place}.file_data", "field required")
        return OtherBlock("file.file_id")
    if file.file_data[:5].lower() == "data:":
        media_type, data = data_url(file.file_data, f"{place}.file_data")
    else:
        media_type, data = "application/pdf", file.file_data
    return DocumentBlock(media_type, data, title=file.filename)


def _texts(content: tuple[RequestBlock, ...], place: str) -> list[TextBlock]:
    texts = [block for block in content if isinstance(block, TextBlock)]
    if len(texts) != len(content):
        raise fields.wrong(place, "expected parts of type input_text only in a system message")
    return texts
