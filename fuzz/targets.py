"""The fuzz targets: functions of bytes that return if a promise holds and raise if it is broken.

What a provider or a client sent may be refused, by an error of the gateway's own tree; any other
exception is a fault, and so is an answer that breaks its dialect's grammar, JSON that is none, or
an answer that depends on how its bytes were cut. They need no fuzzer: the tests call them, too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from aigateway import estimate
from aigateway.check import CHECKS, BrokenGrammar, check, strict_json
from aigateway.check.__main__ import guess
from aigateway.check.common import strict_frames
from aigateway.config import ConfigError, parse
from aigateway.dialects import DIALECTS
from aigateway.dialects.base import Rendered
from aigateway.dialects.claude import is_claude_body
from aigateway.dialects.claude import parse_request as parse_claude
from aigateway.dialects.gemini import parse_count_request
from aigateway.dialects.gemini import parse_request as parse_gemini
from aigateway.errors import GatewayError, MalformedRequest, UpstreamError, UpstreamTruncated
from aigateway.events import ChatRequest, Message, TextBlock, Thinking, Usage, events_of
from aigateway.providers import KINDS
from aigateway.providers.base import Credential, Kind
from aigateway.providers.glm_claude import GLMClaude
from aigateway.providers.openai import OpenAI
from aigateway.providers.openai_responses import OpenAIResponses
from aigateway.report import field_report
from aigateway.secret import Secret
from aigateway.sse import FrameTooLarge, SSEDecoder
from aigateway.translate import Answering, Framing, Stream, with_names
from tests.grammar import check_events

from .given import Given

NOW = 1_780_000_000
FRAMING = Framing(line=20_000, event=40_000, whole=60_000)
"""Limits so low that inputs can reach them."""
ASKED: Mapping[str, Kind] = {
    **{name: make(None) for name, make in KINDS.items()},
    "glm-claude": GLMClaude(None),
    "openai-responses": OpenAIResponses(OpenAI(None)),
}
"""Every kind of provider, with the other dialects that some of them speak."""
MODELS = (
    "gpt-4o",
    "o3-mini",
    "gpt-5",
    "glm-4.7",
    "gemini-2.5-flash",
    "gemini-3-pro-preview",
    "claude-sonnet-4-5",
    "claude-3-haiku-20240307",
    "deepseek-reasoner",
    'm/ "\n😀',
)
CREDENTIAL = Credential(Secret("sk-of-the-fuzzer"), "a-project")
COUNTS = 2**53
"""Tokens that nobody believes."""
STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 529, 200, 303, 599)
HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-reset-requests")

# Ids that are made up on the way, and so differ from run to run.
_MADE_UP = re.compile(rb"\b(toolu|call|fc|rs|msg|ctc|resp)_[0-9a-f]{20,32}\b")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class Broken(AssertionError):
    """A promise that an input breaks."""


def hold(promise: object, message: str, *seen: object) -> None:
    if not promise:
        raise Broken(message + "".join(f"\n    {shown!r:.1000}" for shown in seen))


# ------------------------------------------------------------------- streams


def decoder(data: bytes) -> None:
    """The same frames however the bytes are cut; none holds a line end but LF."""
    given = Given(data)
    limits = given.choose([(FRAMING.line, FRAMING.event), (40, 80), (80, 40)])
    pieces = given.cut()
    whole, cut = _frames([given.text], limits), _frames(pieces, limits)
    if whole is None or cut is None:
        return  # over a limit: how far the reading came by then does depend on the pieces
    hold(whole == cut, "the frames depend on how the bytes were cut", whole, cut)
    for event, told in whole:
        hold(b"\r" not in told and not {10, 13} & set(event), "a line end inside a frame", told)


def _frames(pieces: Sequence[bytes], limits: tuple[int, int]) -> list[tuple[bytes, bytes]] | None:
    reading = SSEDecoder(*limits)
    try:
        frames = [frame for piece in pieces for frame in reading.feed(piece)]
        frames += reading.close()
    except FrameTooLarge:
        return None
    return [(frame.event, frame.data) for frame in frames]


def readers(data: bytes) -> None:
    """Any frames become events that obey their grammar, ended once and for all."""
    given = Given(data)
    reader = given.choose(list(ASKED.values())).reader()
    frames = SSEDecoder(FRAMING.line, FRAMING.event)
    try:
        told = [*frames.feed(given.text), *frames.close()]
    except FrameTooLarge:
        return
    events = [event for frame in told for event in reader.feed(frame)]
    events += reader.end()
    check_events(events)
    hold(not reader.end(), "events after the end")
    hold(not [event for frame in told[:3] for event in reader.feed(frame)], "events after the end")
    _plausible(reader.usage)


def streams(data: bytes) -> None:
    """Any provider's bytes become a stream of the client's dialect, whole or ended by an error; the
    same however they were cut."""
    given = Given(data)
    kind = given.choose(list(ASKED.values()))
    dialect = given.choose(list(DIALECTS))
    kept = given.choose([False, True]) and kind.dialect == dialect
    fault = given.choose([None, None, UpstreamTruncated("cut")])
    flags = given.choose(range(16))
    chat = ChatRequest(
        dialect=dialect,
        model="the-model",
        messages=(Message("user", (TextBlock("hi"),)),),
        stream=True,
        include_usage=bool(flags & 1),
        thinking=Thinking("enabled"),
        json_array=dialect == "gemini" and bool(flags & 2),
    )
    renamed = {"get_weather": "weather", "x": "a.b"} if flags & 4 else {}
    rendered = Rendered(b"", kept=kept, renamed=renamed)
    answering = Answering(chat, rendered, "req_1", NOW, FRAMING, bool(flags & 8), kind.family("claude-x"))
    cut = given.cut()
    whole = _translated(kind, answering, [given.text], fault)
    if len(cut) > 1:
        pieces = _translated(kind, answering, cut, fault)
        hold(pieces == whole, "the answer depends on how its bytes were cut", whole, pieces)


def _translated(
    kind: Kind, answering: Answering, pieces: Sequence[bytes], fault: UpstreamError | None
) -> tuple[object, ...]:
    """What a client sees of an answer that comes in ``pieces``, and what is known of it then."""
    chat = answering.chat
    writer = DIALECTS[chat.dialect].writer(chat, answering.id, answering.created)
    stream = kind.stream(answering, writer)
    parts = [stream.feed(piece) for piece in pieces]
    parts.append(stream.end(fault))
    hold(stream.ended, "no end")
    hold(not stream.feed(b'data: {"x":1}\n\n') and not stream.end(), "bytes after the end")
    raw = answering.raw and answering.passes
    if not chat.json_array and not raw:
        for part in parts:
            hold(not part or part.endswith(b"\n\n"), "a part of a frame", part)
    shown = b"".join(parts)
    hold(shown or stream.failure is not None, "an answer of nothing")
    if shown and stream.failure is not None:
        shown += writer.fail(stream.failure)
    if shown and not raw and not (answering.passes and not _obeys(chat, pieces)):
        _grammatical(stream, chat, shown, lenient=answering.passes)
    if answering.passes and not chat.json_array:
        _framed(shown)
    usage = stream.usage()
    _plausible(usage)
    ids: dict[bytes, bytes] = {}
    plain = _MADE_UP.sub(lambda found: ids.setdefault(found[0], b"made-up-%d" % len(ids)), shown)
    return plain, _known(stream.failure), _known(stream.late_error), stream.stop_reason, usage, stream.begun


def _known(error: UpstreamError | None) -> tuple[object, ...] | None:
    """What must be the same of an error. JSON's place in a body may count the blanks before it or not."""
    return None if error is None else (type(error), re.sub(r"\(byte \d+\)", "", error.message))


def _obeys(chat: ChatRequest, pieces: Sequence[bytes]) -> bool:
    """Whether a provider's stream is what its own dialect says. One that is not goes on to a client of
    that dialect with what is wrong in it, but for framing, roles, ids, usage and the end."""
    try:
        answer = check(chat.dialect, b"".join(pieces), lenient=True)
    except BrokenGrammar:
        return False
    return answer.error is None


def _framed(shown: bytes) -> None:
    """Whole frames of one line of JSON each, whatever is in it."""
    try:
        for frame in strict_frames(shown):
            if frame.data not in (None, "[DONE]"):
                json.loads(frame.data or "")
    except (BrokenGrammar, ValueError) as error:
        raise Broken(f"frames that are none: {error}\n    {shown!r:.3000}") from None


def _grammatical(stream: Stream, chat: ChatRequest, shown: bytes, *, lenient: bool) -> None:
    options = {"include_usage": chat.include_usage} if chat.dialect == "openai" else {}
    try:
        answer = check(chat.dialect, shown, lenient=lenient, **options)
    except BrokenGrammar as broken:
        raise Broken(f"the stream is not {chat.dialect}'s: {broken}\n    {shown!r:.3000}") from None
    failed = stream.failure is not None
    hold((answer.error is not None) == failed, "an error shown and none had, or the other way", shown)
    # What a provider called its failure (MALFORMED_FUNCTION_CALL) a client of its own dialect sees, too.
    hold(
        (answer.stop is None) == failed or lenient, "a failed answer that ends well, or the other way", shown
    )


def _plausible(usage: Usage | None) -> None:
    if usage is not None:
        counts = (
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        )
        hold(all(0 <= count < COUNTS for count in counts), "absurd usage", usage)


# ------------------------------------------------------------- whole answers


def replies(data: bytes) -> None:
    """Any body of HTTP 200 is an answer, which each dialect can tell whole and as a stream, or one of
    the provider's errors."""
    given = Given(data)
    kind = given.choose(list(ASKED.values()))
    dialect = DIALECTS[given.choose(list(DIALECTS))]
    kept = given.choose([False, True]) and kind.dialect == dialect.name
    chat = ChatRequest(
        dialect=dialect.name,
        model="the-model",
        messages=(Message("user", (TextBlock("hi"),)),),
        include_usage=given.choose([False, True]),
        thinking=Thinking("enabled"),
    )
    try:
        _plausible_count(kind, given.text)
        reply = kind.parse_reply(given.text)
    except UpstreamError as error:
        _tellable(error)
        return
    _plausible(reply.usage)
    events = events_of(reply)
    check_events(events)
    hold(estimate.size_of(reply) >= 0, "an answer of less than nothing")
    whole = dialect.render_reply(with_names(reply, {"x": "a.b"}), chat, "req_1", NOW)
    hold(isinstance(_json(whole), dict), "no object", whole)
    answering = Answering(chat, Rendered(b"", kept=kept), "req_1", NOW)
    try:
        passed = kind.pass_reply(given.text, reply, answering)
    except UpstreamError as error:
        _tellable(error)
        return
    if passed is not None:
        hold(isinstance(json.loads(passed), dict), "no object", passed)  # names twice are the provider's
    told = dialect.writer(msgspec.structs.replace(chat, stream=True), "req_1", NOW).write(events)
    options = {"include_usage": chat.include_usage} if dialect.name == "openai" else {}
    try:
        check(dialect.name, told, **options)
    except BrokenGrammar as broken:
        raise Broken(
            f"a whole answer, streamed, is not {dialect.name}'s: {broken}\n    {told!r:.3000}"
        ) from None


def _plausible_count(kind: Kind, body: bytes) -> None:
    try:
        hold(0 <= kind.parse_count(body) < COUNTS, "an absurd count", body)
    except UpstreamError as error:
        _tellable(error)


def errors(data: bytes) -> None:
    """Any body of any other status is one of the provider's errors, which each dialect can tell."""
    given = Given(data)
    kind = given.choose(list(ASKED.values()))
    status = given.choose(STATUSES)
    name = given.choose(HEADERS)
    value, newline, body = given.text.partition(b"\n")
    if not newline:
        value, body = b"", given.text
    headers = {name: value.decode("latin-1")} if value else {}
    error = kind.parse_error(status, headers, body, now=float(NOW))
    _tellable(error)
    # Untagged, that of a stream.
    chat = ChatRequest(dialect="claude", model="m", messages=())
    for dialect in DIALECTS.values():
        frame = dialect.writer(chat, "req_1", NOW).fail(error)
        try:
            hold(check(dialect.name, frame).error, "an error frame that is none", frame)
        except BrokenGrammar as broken:
            raise Broken(f"an error frame that is not {dialect.name}'s: {broken}\n    {frame!r}") from None


def _tellable(error: GatewayError) -> None:
    """``error`` is an upstream's, with a sane wait, and fit for every client."""
    hold(isinstance(error, UpstreamError), "a provider's error that is not one", type(error))
    wait = error.retry_after
    hold(wait is None or (math.isfinite(wait) and wait >= 0), "an absurd wait", wait)
    for dialect in DIALECTS.values():
        answer = dialect.render_error(error, "req_1")
        hold(400 <= answer.status < 600, "an error that is no error", answer.status)
        hold(isinstance(_json(answer.body), dict | list), "no object", answer.body)
        for name, value in answer.headers:
            sound = _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
            hold(sound, "a header that is none", name, value)


# ------------------------------------------------------------------ requests


def requests(data: bytes) -> None:
    """Any client's body is a request that every kind can be asked, or a refusal that names why."""
    given = Given(data)
    parse_it = given.choose(_PARSERS)
    model = given.choose(MODELS)
    stream = given.choose([True, False])
    kinds = list(ASKED.values())
    kind = given.choose(kinds)
    try:
        chat = parse_it(given.text)
    except GatewayError as error:
        hold(isinstance(error, MalformedRequest), "a refusal of another kind", error)
        _fit_for_clients(error)
        return
    hold(estimate.prompt_tokens(chat) > 0, "a prompt of nothing")
    _ask(kind.for_chat(chat), chat, model, stream=stream)


def _either(raw: bytes) -> ChatRequest:
    if is_claude_body(raw):
        return parse_claude(raw, max_tokens_default=100)
    return DIALECTS["openai"].parse_request(raw)


_PARSERS: Sequence[Callable[[bytes], ChatRequest]] = (
    DIALECTS["claude"].parse_request,
    DIALECTS["openai"].parse_request,
    DIALECTS["responses"].parse_request,
    lambda raw: parse_gemini(raw, model="gemini-2.5-flash", stream=True),
    lambda raw: parse_count_request(raw, model="gemini-2.5-flash"),
    _either,
)


def _ask(kind: Kind, chat: ChatRequest, model: str, *, stream: bool) -> None:
    try:
        rendered = kind.render(chat, model, CREDENTIAL, stream=stream)
        counting = kind.count(kind.base_urls[0], model, CREDENTIAL, chat)
    except GatewayError as error:
        hold(error.status == 400, "a refusal of another kind", error)
        _fit_for_clients(error)
        return
    call = kind.request(kind.base_urls[0], model, CREDENTIAL, rendered, stream=stream)
    for one in (call, counting):
        if one is None:
            continue
        hold(isinstance(_json(one.body), dict), "a body that is no object", one.body)
        hold(re.fullmatch(rb"https://[!-~]+", one.url), "a URL that is none", one.url)
        for name, value in one.headers:
            sound = re.fullmatch(rb"[A-Za-z0-9-]+", name) and not re.search(rb"[\r\n\0]", value)
            hold(sound, "a header that is none", name, value)
    _json(msgspec.json.encode(field_report(chat, rendered)))


def _fit_for_clients(error: GatewayError) -> None:
    for dialect in DIALECTS.values():
        hold(isinstance(_json(dialect.render_error(error, "req_1").body), dict | list), "no object", error)


# --------------------------------------------------------------------- the rest


def config(data: bytes) -> None:
    """Any text is a configuration, or every mistake in it is told."""
    given = Given(data)
    try:
        text = given.text.decode()
    except UnicodeDecodeError:
        return
    environ = {"KEY": "sk-from-the-environment", "EMPTY": ""}
    try:
        read = parse(text, environ, origin="a.toml", read_file=_no_file)
    except ConfigError as error:
        hold(str(error), "a refusal without a reason")
        hold("sk-from-the-environment" not in str(error), "a secret told", str(error))
        return
    hold("sk-from-the-environment" not in repr(read), "a secret shown", read)


def _no_file(path: str) -> str:
    raise OSError(2, "No such file or directory")


def checks(data: bytes) -> None:
    """The written grammars call any bytes an answer or a broken rule."""
    given = Given(data)
    dialect = given.choose(list(CHECKS))
    lenient, whole = given.choose([False, True]), given.choose([False, True])
    for judge in (
        lambda: check(dialect, given.text, lenient=lenient, whole=whole),
        lambda: guess(given.text),
    ):
        try:
            judge()
        except BrokenGrammar as broken:
            hold(str(broken), "a broken rule without a name")


def _json(text: bytes) -> object:
    try:
        return strict_json(text.decode())
    except (UnicodeDecodeError, BrokenGrammar) as error:
        raise Broken(f"no JSON: {error}\n    {text!r:.2000}") from None


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "decoder": decoder,
    "readers": readers,
    "streams": streams,
    "replies": replies,
    "errors": errors,
    "requests": requests,
    "config": config,
    "checks": checks,
}
