"""What a simulated model says: a pure function from what was asked, in no provider's terms.

The wire formats, time and sockets are in the other modules. Tokens are counted as a
quarter of the characters, rounded up: near enough for English, and every sum comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from json import JSONDecoder

import msgspec

MAX_COUNT = 1000
MAX_QUOTE = 200
MAX_SCHEMA_DEPTH = 8

_COUNT = re.compile(
    r"\bcount\s+(?:from\s+(?:1|one)\s+)?(?:up\s+)?to\s+(\d{1,9})|数到\s*(\d{1,9})", re.I | re.A
)
_USE_THE_TOOL = re.compile(r"use the tool|[使调]?用(?:这个)?工具", re.I)
_USE_THE_TOOL_NAMED = re.compile(r"use the tool\s+[`'\"]?([^\s`'\",;]+)[`'\"]?", re.I)
_WITH = re.compile(r"\s+with\s+(?=\{)", re.I)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_HAS_CJK = re.compile(f"[{_CJK}]")
# Two characters a piece where there are no spaces, else a word with the blanks before it.
_PIECE = re.compile(rf"\s*(?:[{_CJK}，。：、“”]{{1,2}}|[^\s{_CJK}，。：、“”]+)|\s+")


class Image(msgspec.Struct, frozen=True):
    """An image in a prompt: its type and size in bytes, or neither where only a URL came."""

    media_type: str = ""
    size: int = 0


class OfferedTool(msgspec.Struct, frozen=True):
    """A tool that may be called. A ``custom`` one takes a text instead of arguments; some stand
    in a ``namespace`` (Codex's, in Responses)."""

    name: str
    schema: dict[str, object] | None = None
    custom: bool = False
    namespace: str = ""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks.

    ``text`` is the last user text; ``said`` is all that the user said since the model last
    spoke, where an agent puts more around it; ``tool_results`` are those that came since then.
    ``tools`` are those that may be called, ``forced`` if one of them must be. ``schema`` is
    that of the JSON which the whole answer must be, empty where any object will do. ``begun`` is
    the beginning of the answer, which is to be gone on with.
    """

    text: str = ""
    said: str = ""
    tokens: int = 0
    images: tuple[Image, ...] = ()
    tools: tuple[OfferedTool, ...] = ()
    forced: bool = False
    tool_results: tuple[str, ...] = ()
    think: bool = False
    max_tokens: int | None = None
    schema: dict[str, object] | None = None
    begun: str = ""


class Call(msgspec.Struct, frozen=True):
    """A tool call; ``arguments`` is the text of a JSON object, or a ``custom`` tool's input."""

    name: str
    arguments: str
    custom: bool = False
    namespace: str = ""


class Answer(msgspec.Struct, frozen=True):
    """An answer in the pieces in which it is to be streamed. ``cut``: max_tokens ended it."""

    thinking: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    call: Call | None = None
    cut: bool = False

    @property
    def thinking_tokens(self) -> int:
        return tokens("".join(self.thinking))

    @property
    def spoken_tokens(self) -> int:
        """Tokens of all but the thinking."""
        called = tokens(self.call.name + self.call.arguments) if self.call else 0
        return tokens("".join(self.text)) + called


def tokens(text: str) -> int:
    return (len(text) + 3) // 4


def answer(prompt: Prompt) -> Answer:
    """What the simulated model answers.

    The rules, the first that fits: "use the tool NAME with {json}" calls the tool of exactly
    that name with that object, "use the tool NAME" with sample arguments, and "use the tool",
    or a forced tool, calls the first one, all of these only until its result has come; where
    JSON is demanded, a sample of it; a tool result is quoted; images are acknowledged; "count
    to N" counts, one number a piece; anything else is quoted back. Text that answers Chinese,
    Japanese or Korean is Chinese. A tool call is never cut by ``max_tokens``. An answer that was
    begun goes on behind its beginning, where that is what would have been said; else it is said whole.
    """
    chinese = _HAS_CJK.search(prompt.text) is not None
    thinking = _pieces(_thinking(chinese)) if prompt.think else ()
    if not prompt.tool_results and (call := _call(prompt)) is not None:
        return Answer(thinking, call=call)
    text = _text(prompt, chinese) if prompt.schema is None else _pieces(_json(prompt, prompt.schema, chinese))
    if prompt.begun:
        text = _pieces("".join(text).removeprefix(prompt.begun))
    if prompt.max_tokens is None:
        return Answer(thinking, text)
    kept_thinking = _keep(thinking, prompt.max_tokens)
    left = prompt.max_tokens - tokens("".join(kept_thinking))
    kept_text = _keep(text, left)
    return Answer(kept_thinking, kept_text, cut=(kept_thinking, kept_text) != (thinking, text))


def _call(prompt: Prompt) -> Call | None:
    """The call that the prompt asks for in words or by force; None where it asks for none."""
    for name, given in reversed(list(_named_calls(prompt.said or prompt.text))):
        for tool in prompt.tools:
            if tool.name == name:
                return _call_of(tool, given)
    if prompt.tools and (prompt.forced or _USE_THE_TOOL.search(prompt.text)):
        return _call_of(prompt.tools[0])
    return None


def _named_calls(text: str) -> Iterator[tuple[str, dict[str, object] | None]]:
    """Each tool that ``text`` says to use, with the JSON object to use it with."""
    for match in _USE_THE_TOOL_NAMED.finditer(text):
        given = _WITH.match(text, match.end())
        # As it stands and, where a sentence ends with it, without its full stop.
        for name in dict.fromkeys((match[1], match[1].rstrip(".:!?"))):
            yield name, None if given is None else _object_at(text, given.end())


def _object_at(text: str, place: int) -> dict[str, object] | None:
    """The JSON object that begins there; None where it is none."""
    try:
        _, end = JSONDecoder().raw_decode(text, place)
        value = msgspec.json.decode(text[place:end])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _call_of(tool: OfferedTool, given: dict[str, object] | None = None) -> Call:
    match given:
        case {"input": str(text), **rest} if tool.custom and not rest:
            arguments = text
        case None:
            arguments = "sample input" if tool.custom else sample_arguments(tool.schema)
        case _:
            arguments = msgspec.json.encode(given).decode()
    return Call(tool.name, arguments, tool.custom, tool.namespace)


def _json(prompt: Prompt, schema: dict[str, object], chinese: bool) -> str:
    """An answer that is JSON: a sample that fits ``schema``, or the usual text in an object."""
    if not schema:
        return msgspec.json.encode({"answer": "".join(_text(prompt, chinese))}).decode()
    return msgspec.json.encode(_sample("answer", schema, schema, MAX_SCHEMA_DEPTH)).decode()


def sample_arguments(schema: dict[str, object] | None) -> str:
    """Arguments that fit ``schema``: its required properties, each with a simple value."""
    if not schema:
        return "{}"
    value = _sample("argument", schema, schema, MAX_SCHEMA_DEPTH)
    return msgspec.json.encode(value if isinstance(value, dict) else {}).decode()


def _sample(name: str, schema: dict[str, object], root: dict[str, object], depth: int) -> object:
    """A value that ``schema`` allows; past ``depth`` (schemas may refer to themselves) null."""
    if depth == 0:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        return _sample(name, _resolve(reference, root), root, depth - 1)
    if "const" in schema:
        return schema["const"]
    for key in ("enum", "examples"):
        if isinstance(values := schema.get(key), list) and values:
            return values[0]
    for key in ("default", "example"):
        if key in schema:
            return schema[key]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(choices := schema.get(key), list) and choices:
            return _sample(name, _schema(choices[0]), root, depth - 1)
    match _type_name(schema):
        case "object":
            return _sample_object(schema, root, depth)
        case "array":
            return [_sample(name, _schema(schema.get("items")), root, depth - 1)]
        case "integer":
            return schema.get("minimum", 1)
        case "number":
            return schema.get("minimum", 1.5)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return f"sample {name}"


def _sample_object(schema: dict[str, object], root: dict[str, object], depth: int) -> dict[str, object]:
    properties = _schema(schema.get("properties"))
    required = schema.get("required")
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    return {name: _sample(name, _schema(properties.get(name)), root, depth - 1) for name in names}


def _type_name(schema: dict[str, object]) -> str:
    """The (first) type in lower case: Google writes ``STRING`` where others write ``string``."""
    type_name = schema.get("type")
    if isinstance(type_name, list):
        type_name = next((one for one in type_name if one != "null"), "null")
    if isinstance(type_name, str):
        return type_name.lower()
    return "object" if "properties" in schema else ""


def _resolve(reference: str, root: dict[str, object]) -> dict[str, object]:
    found: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = _schema(found).get(step)
    return _schema(found)


def _schema(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _thinking(chinese: bool) -> str:
    if chinese:
        return "用户在等待回答。我是模拟器，用一句话回答。"
    return "The user is waiting for an answer. I am a simulator: one sentence will do."


def _text(prompt: Prompt, chinese: bool) -> tuple[str, ...]:
    if not (prompt.tool_results or prompt.images):
        if (last := _counts_to(prompt.text)) is not None:
            return ("1", *(f", {number}" for number in range(2, last + 1)))
        return _pieces(_echo(prompt.text, chinese))
    sentences = []
    if prompt.tool_results:
        results = "; ".join(_quotation(result) for result in prompt.tool_results)
        sentences.append(f"工具的结果是：“{results}”。" if chinese else f'The tool answered: "{results}".')
    if prompt.images:
        sentences.append(_images(prompt.images, chinese))
    sentences.append("这是模拟回答。" if chinese else "This is a simulated answer.")
    return _pieces(("" if chinese else " ").join(sentences))


def _counts_to(text: str) -> int | None:
    if (match := _COUNT.search(text)) is None:
        return None
    last = int(match[1] or match[2])
    return min(last, MAX_COUNT) if last else None


def _echo(text: str, chinese: bool) -> str:
    if chinese:
        return f"这是模拟回答，没有询问任何模型。您写的是：“{_quotation(text)}”。"
    if not text.strip():
        return "This is a simulated answer; the message held no text."
    return f'This is a simulated answer: no model was asked. You wrote: "{_quotation(text)}"'


def _images(images: Sequence[Image], chinese: bool) -> str:
    if chinese:
        sizes = "；".join(f"{i.media_type}，{i.size} 字节" if i.media_type else "网址" for i in images)
        return f"我看到 {len(images)} 张图片（{sizes}）。"
    sizes = "; ".join(f"{i.media_type}, {i.size} bytes" if i.media_type else "by URL" for i in images)
    return f"I see {len(images)} image{'s' if len(images) > 1 else ''} ({sizes})."


def _quotation(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "…"


def _pieces(text: str) -> tuple[str, ...]:
    return tuple(_PIECE.findall(text))


def _keep(pieces: tuple[str, ...], limit: int) -> tuple[str, ...]:
    """The beginning of ``pieces`` that has ``limit`` tokens."""
    room = 4 * max(limit, 0)
    kept = []
    for piece in pieces:
        if not room:
            break
        kept.append(piece[:room])
        room -= len(kept[-1])
    return tuple(kept)
