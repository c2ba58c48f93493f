"""Faults in what a provider says: too little, too slowly, too much, or not what it should be.

Pure, and nothing is held that is not about to be written: what has no end is an iterator. Who
does which is listed in `faults`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, islice, repeat

import msgspec

from .answers import Answer
from .wire import Asked, Ending, Response, Wire, honest, media_type

SAID = 3
"""Tokens that are said before a fault, where its name does not say how many."""
PING_EVERY = 1.0
"""Seconds between pings, where there is nothing else."""
BYTE_EVERY = 0.001
TEXT_EVERY = 0.05
PIECE = 16 * 1024
"""Bytes that are written at once of what has no end."""
FORGED = '\r\n\r\nevent: forged\r\ndata: {"forged":true}\n\n\u2028data: [DONE]\u2029\n\n'
"""A text that would be events of its own, if it were let."""

_CHINESE = Answer(text=("这", "个", "回", "答", "不", "会", "完", "整"))
_NUMBER = re.compile(rb'"sequence_number":[0-9]+')
_COUNTS = frozenset({"usage", "usageMetadata"})
_ABSURD: tuple[object, ...] = (-7, None, "many", 10**30, 1.5, [], True)
_NAMED = frozenset({"id", "response_id", "responseId", "item_id", "model", "modelVersion", "name"})


# ------------------------------------------------------------------ silence and slowness


def silent(wire: Wire, asked: Asked) -> Response:
    return Response((), media_type(wire, asked), ending=Ending.NEVER)


def silent_after_headers(wire: Wire, asked: Asked) -> Response:
    return Response((b"",), media_type(wire, asked), ending=Ending.NEVER)


def silent_after(tokens: int, wire: Wire, asked: Asked) -> Response:
    return Response(_begun(wire, asked, tokens), media_type(wire, asked), ending=Ending.NEVER)


def ping_only(wire: Wire, asked: Asked) -> Response:
    """Signs of life for ever: pings or comments in a stream, blank lines before a whole answer
    (https://api-docs.deepseek.com/quick_start/rate_limit)."""
    pings = repeat(wire.ping if asked.stream else b"\n")
    head = list(islice(wire.frames(asked, Answer()), 1)) if asked.stream and wire.lead else []
    return Response(chain(head, pings), media_type(wire, asked), ending=Ending.NEVER, interval=PING_EVERY)


def slow(tokens_a_second: int, wire: Wire, asked: Asked) -> Response:
    """The honest answer, a frame at a time; a whole one a few bytes at a time."""
    pieces = honest(wire, asked) if asked.stream else _cut_up(honest(wire, asked), 4)
    return Response(pieces, media_type(wire, asked), interval=1 / tokens_a_second)


def byte_by_byte(wire: Wire, asked: Asked) -> Response:
    return Response(_cut_up(honest(wire, asked), 1), media_type(wire, asked), interval=BYTE_EVERY)


# --------------------------------------------------------------------------- cut short


def cut_after(tokens: int, wire: Wire, asked: Asked) -> Response:
    return Response(_begun(wire, asked, tokens), media_type(wire, asked), ending=Ending.CUT)


def cut_mid_utf8(wire: Wire, asked: Asked) -> Response:
    """Ends after the first byte of a character that has three."""
    if asked.stream:
        pieces = list(islice(wire.frames(_thoughtless(asked), _CHINESE), wire.lead + SAID))
    else:
        pieces = [wire.whole(asked, _CHINESE)]
    last = pieces.pop()
    cut = next(place for place, byte in enumerate(last) if byte >= 0x80) + 1
    return Response([*pieces, last[:cut]], media_type(wire, asked), ending=Ending.CUT)


def cut_mid_line(wire: Wire, asked: Asked) -> Response:
    """Inside the JSON of an event."""
    *pieces, last = _begun(wire, asked, SAID)
    return Response([*pieces, last[: len(last) * 2 // 3]], media_type(wire, asked), ending=Ending.CUT)


def cut_mid_frame(wire: Wire, asked: Asked) -> Response:
    """After an event's last line, before the blank one."""
    *pieces, last = _begun(wire, asked, SAID)
    if asked.stream:
        last = last.rstrip(b"\r\n") + b"\n"
    return Response([*pieces, last], media_type(wire, asked), ending=Ending.CUT)


def end_without_marker(wire: Wire, asked: Asked) -> Response:
    return Response(_begun(wire, asked, SAID), media_type(wire, asked))


# --------------------------------------------------------------- events that are not right


def error_in_stream(wire: Wire, asked: Asked) -> Response:
    """In the middle of a stream; asked for a whole answer, it is the error."""
    if not asked.stream:
        return Response((wire.error_body(),), wire.json_type)
    begun = _begun(wire, asked, SAID)
    return Response([*begun, wire.error_frame(asked, len(begun))], wire.stream_type)


def late_error(wire: Wire, asked: Asked) -> Response:
    """After the reason why the answer ended, before the stream's own end. Whole answers have no such
    place."""
    if not asked.stream:
        return Response(honest(wire, asked), wire.json_type)
    frames = list(honest(wire, asked))
    place = len(frames) - wire.trailer
    return Response([*frames[:place], wire.error_frame(asked, place), *frames[place:]], wire.stream_type)


def duplicate_start(wire: Wire, asked: Asked) -> Response:
    """What comes before the text comes twice, for GLM and Google the first of the text."""
    if not asked.stream:
        return Response(honest(wire, asked), wire.json_type)
    frames = list(honest(wire, asked))
    return Response([*frames[: wire.lead or 1], *frames], wire.stream_type)


def usage(value: object, wire: Wire, asked: Asked) -> Response:
    """Every count of tokens is ``value``."""
    return _remade(wire, asked, lambda told: _recounted(told, repeat(value)))


def usage_absurd(wire: Wire, asked: Asked) -> Response:
    """Each count is absurd in a way of its own."""
    values = islice(_round_and_round(_ABSURD), asked.serial % len(_ABSURD), None)
    return _remade(wire, asked, lambda told: _recounted(told, values))


def forge(wire: Wire, asked: Asked) -> Response:
    """Line ends and whole events in the text, and in every id and name."""
    said = Answer(text=("Before.", FORGED, "After."))
    return _remade(wire, asked, _renamed, said)


# ---------------------------------------------------------------------- without an end


def endless_line(wire: Wire, asked: Asked) -> Response:
    """A line of a stream, or a string in a whole answer, that never ends."""
    start = b'data: {"a":"' if asked.stream else b'{"a":"'
    return Response(chain((start,), repeat(b"x" * PIECE)), media_type(wire, asked), interval=0.0)


def huge_event(wire: Wire, asked: Asked) -> Response:
    """An event of more and more lines; for a whole answer, an array of more and more items."""
    line = b"data: " + b"x" * 1000 + b"\n" if asked.stream else b"[" + b"1," * 500 + b"1],\n"
    start = b"" if asked.stream else b'{"a":['
    pieces = chain((start,), repeat(line * (PIECE // len(line))))
    return Response(pieces, media_type(wire, asked), interval=0.0)


def endless_body(wire: Wire, asked: Asked) -> Response:
    """Text after text, for ever; for a whole answer, one text that is ever longer."""
    if not asked.stream:
        return endless_line(wire, asked)
    begun = _begun(wire, asked, 1)
    more = (_numbered(begun[-1], number) for number in count(len(begun)))
    return Response(chain(begun, more), wire.stream_type, interval=TEXT_EVERY)


# --------------------------------------------------------------------------- their parts


def _thoughtless(asked: Asked) -> Asked:
    """The same request, answered without thinking first: so it is known what comes when."""
    return msgspec.structs.replace(asked, prompt=msgspec.structs.replace(asked.prompt, think=False))


def _begun(wire: Wire, asked: Asked, tokens: int) -> list[bytes]:
    """The beginning of an answer: the frames of so many tokens, or half of a whole body."""
    counting = Answer(text=("1", *(f", {number}" for number in range(2, tokens + 3))))
    if asked.stream:
        return list(islice(wire.frames(_thoughtless(asked), counting), wire.lead + tokens))
    body = wire.whole(asked, counting)
    return [body[: len(body) // 2]]


def _numbered(frame: bytes, number: int) -> bytes:
    """``frame`` as the one of that number, where its dialect counts them (Responses)."""
    return _NUMBER.sub(b'"sequence_number":%d' % number, frame, 1)


def _cut_up(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), size):
            yield piece[start : start + size]


def _round_and_round(values: tuple[object, ...]) -> Iterator[object]:
    while True:
        yield from values


def _remade(
    wire: Wire, asked: Asked, change: Callable[[object], object], said: Answer | None = None
) -> Response:
    """The honest answer with the JSON of each frame changed."""
    pieces = (_changed(piece, change) for piece in honest(wire, asked, said))
    return Response(pieces, media_type(wire, asked))


def _changed(piece: bytes, change: Callable[[object], object]) -> bytes:
    """``piece`` is a frame with its JSON in one data line, ``[DONE]``, or a body that is all JSON."""
    before, marker, data = piece.partition(b"data: ") if piece[:1] not in b"{[" else (b"", b"", piece)
    told = data.rstrip(b"\r\n")
    if told == b"[DONE]":
        return piece
    changed = _encoder.encode(change(msgspec.json.decode(told)))
    return before + marker + changed + data[len(told) :]


_encoder = msgspec.json.Encoder(enc_hook=str)


def _recounted(told: object, values: Iterator[object]) -> object:
    """``told`` with other numbers wherever tokens are counted."""
    if isinstance(told, list):
        return [_recounted(one, values) for one in told]
    if not isinstance(told, dict):
        return told
    return {
        name: _numbers(one, values) if name in _COUNTS else _recounted(one, values)
        for name, one in told.items()
    }


def _numbers(told: object, values: Iterator[object]) -> object:
    if isinstance(told, dict):
        return {name: _numbers(one, values) for name, one in told.items()}
    if isinstance(told, list):
        return [_numbers(one, values) for one in told]
    if isinstance(told, int) and not isinstance(told, bool):
        value = next(values)
        return msgspec.Raw(str(value).encode()) if isinstance(value, int) and abs(value) > 2**63 else value
    return told


def _renamed(told: object) -> object:
    """``told`` with ids and names that would forge events."""
    if isinstance(told, list):
        return [_renamed(one) for one in told]
    if not isinstance(told, dict):
        return told
    return {
        name: one + FORGED if name in _NAMED and isinstance(one, str) else _renamed(one)
        for name, one in told.items()
    }
