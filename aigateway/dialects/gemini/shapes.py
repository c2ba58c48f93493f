"""What a ``generateContent`` request looks like on the wire: records for a typed decode.

Google takes every name in camelCase and in snake_case; `camel` makes the first of the second, so
that the records need one. Only what the hub has a word for is named, and what must be told apart; null is
as good as absent. Leaves to `parse` what it all means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from ... import jsontext
from .. import fields

NULL = msgspec.Raw(b"null")


class Blob(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    data: str
    mimeType: str
    displayName: str | None = None


class FileData(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    fileUri: str
    mimeType: str | None = None


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    id: str | None = None
    args: msgspec.Raw = NULL


class ResultPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inlineData: Blob | None = None
    fileData: FileData | None = None


class FunctionResponse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    id: str | None = None
    response: msgspec.Raw = NULL
    parts: list[ResultPart] | None = None
    scheduling: object = None
    willContinue: object = None


class Part(msgspec.Struct, gc=False):
    # Other names stand for other kinds of parts, or say more of one of these.
    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    inlineData: Blob | None = None
    fileData: FileData | None = None
    functionCall: FunctionCall | None = None
    functionResponse: FunctionResponse | None = None


class Content(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str | None = None
    parts: msgspec.Raw = NULL


class Declaration(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    parametersJsonSchema: dict[str, object] | None = None
    response: object = None
    responseJsonSchema: object = None
    behavior: object = None


class Tool(msgspec.Struct, gc=False):
    functionDeclarations: list[Declaration] | None = None


class CallingConfig(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    mode: str | None = None
    allowedFunctionNames: list[str] | None = None
    streamFunctionCallArguments: bool | None = None


class ToolConfig(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    functionCallingConfig: CallingConfig | None = None


class ThinkingConfig(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    includeThoughts: bool | None = None
    thinkingBudget: int | None = None
    thinkingLevel: str | None = None


class Config(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    maxOutputTokens: int | None = None
    temperature: float | None = None
    topP: float | None = None
    topK: float | None = None
    stopSequences: list[str] | None = None
    seed: int | None = None
    presencePenalty: float | None = None
    frequencyPenalty: float | None = None
    responseMimeType: str | None = None
    responseSchema: dict[str, object] | None = None
    responseJsonSchema: dict[str, object] | None = None
    thinkingConfig: ThinkingConfig | None = None
    candidateCount: int | None = None
    responseLogprobs: bool | None = None
    responseModalities: list[str] | None = None


class Body(msgspec.Struct, gc=False):
    model: str | None = None
    contents: msgspec.Raw = NULL
    systemInstruction: msgspec.Raw = NULL
    tools: msgspec.Raw = NULL
    toolConfig: ToolConfig | None = None
    generationConfig: Config | None = None


class Counted(msgspec.Struct, gc=False):
    """What ``countTokens`` takes: contents alone, or a whole request."""

    generateContentRequest: msgspec.Raw = NULL


body_decoder = msgspec.json.Decoder(Body)
content_decoder = msgspec.json.Decoder(Content)
part_decoder = msgspec.json.Decoder(Part)
response_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
tool_decoder = msgspec.json.Decoder(Tool)
list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
string_decoder = msgspec.json.Decoder(str)
counted_decoder = msgspec.json.Decoder(Counted)


def names(*records: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(name for record in records for name in record.__struct_fields__)


# --------------------------------------------------------------------- names

Shape: TypeAlias = "Mapping[str, Shape]"
"""The names of an object's fields, and the shape of what is in them; empty where that is a value,
or the client's own (arguments, schemas)."""

_MEDIA: Shape = {
    "inlineData": {"mimeType": {}, "displayName": {}},
    "fileData": {"fileUri": {}, "mimeType": {}, "displayName": {}},
}
_CONTENT: Shape = {
    "parts": {
        **_MEDIA,
        "thoughtSignature": {},
        "functionCall": {"partialArgs": {}, "willContinue": {}},
        "functionResponse": {"parts": _MEDIA, "willContinue": {}},
        "executableCode": {},
        "codeExecutionResult": {},
        "toolCall": {},
        "toolResponse": {},
        "videoMetadata": {},
        "mediaResolution": {},
        "partMetadata": {},
    }
}
_BODY: Shape = {
    "contents": _CONTENT,
    "systemInstruction": _CONTENT,
    "tools": {
        "functionDeclarations": {"parametersJsonSchema": {}, "responseJsonSchema": {}},
        "googleSearch": {},
        "googleSearchRetrieval": {},
        "enterpriseWebSearch": {},
        "googleMaps": {},
        "codeExecution": {},
        "computerUse": {},
        "fileSearch": {},
        "urlContext": {},
        "mcpServers": {},
    },
    "toolConfig": {
        "functionCallingConfig": {"allowedFunctionNames": {}, "streamFunctionCallArguments": {}},
        "retrievalConfig": {},
        "includeServerSideToolInvocations": {},
    },
    "generationConfig": {
        **{name: {} for name in Config.__struct_fields__},
        "thinkingConfig": {name: {} for name in ThinkingConfig.__struct_fields__},
        "speechConfig": {},
        "imageConfig": {},
        "mediaResolution": {},
        "enableEnhancedCivicAnswers": {},
    },
    "safetySettings": {},
    "cachedContent": {},
    "serviceTier": {},
    "generateContentRequest": {},
}


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


def _all_names(shape: Shape) -> set[str]:
    return set(shape).union(*(_all_names(inner) for inner in shape.values()))


class _Spelled:
    """What the names of an object may be, and how they are spelled here, with what is in each."""

    def __init__(self, shape: Shape) -> None:
        self.names = {_snake(name): name for name in shape}
        self.inner = {name: _Spelled(inner) for name, inner in shape.items()}


_VALUE = _Spelled({})
_SPELLED = _Spelled(_BODY)
_SNAKES = {_snake(name).encode() for name in _all_names(_BODY) if _snake(name) != name}
_SNAKE = re.compile(rb'"([a-z]+_[a-z_]+)"')
_LONGEST = 2 + max(map(len, _SNAKES))


def camel(raw: bytes) -> bytes:
    """A body with the dialect's own names in camelCase; itself where no other stand in it."""
    if not any(name in _SNAKES for name in _snakes(raw)):
        return raw
    return jsontext.encode(_renamed(msgspec.Raw(raw.lstrip()), _SPELLED, ""))


def _snakes(raw: bytes) -> Iterator[bytes]:
    """What may be a name in snake_case; looked for in parts, since a search holds up all streams."""
    for start in range(0, len(raw), jsontext.WINDOW):
        for found in _SNAKE.finditer(raw, start, start + jsontext.WINDOW + _LONGEST):
            yield found[1]


def _renamed(value: msgspec.Raw, spelled: _Spelled, place: str) -> object:
    if not spelled.inner:
        return value
    first = fields.first_byte(value)
    if first == b"[":
        items = list_decoder.decode(value)
        return [_renamed(item, spelled, f"{place}[{index}]") for index, item in enumerate(items)]
    if first != b"{":
        return value
    found: dict[str, object] = {}
    for name, inner in response_decoder.decode(value).items():
        name = spelled.names.get(name, name)
        inside = f"{place}.{name}" if place else name
        if name in found:
            raise fields.wrong(inside, "given twice, in two spellings")
        found[name] = _renamed(inner, spelled.inner.get(name, _VALUE), inside)
    return found
