"""Made-up answers: any sequence of events that the grammar allows, with hostile text in it."""

from __future__ import annotations

from hypothesis import strategies as st

from aigateway.errors import UpstreamError, UpstreamTruncated
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    Event,
    Failed,
    Finished,
    InputDelta,
    SignatureDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    Usage,
    UsageReported,
)

HOSTILE = '"\\\r\n\0\u2028\u2029\u0085\x0b\x0c\x1e\ud800\udc00😀data: event: [DONE]{}'
"""What could forge an event, or break one, if it went out as it is."""

_hostile = st.text(st.sampled_from(HOSTILE) | st.characters(codec="utf-8"), max_size=6)
_some = _hostile.filter(bool)
_usages = st.builds(Usage, *[st.integers(0, 10**9)] * 5)
_reasons = st.sampled_from(
    ["end_turn", "max_tokens", "refusal", "model_context_window_exceeded", "pause_turn"]
)


@st.composite
def _text(draw: st.DrawFn, id: str) -> list[Event]:
    deltas: list[Event] = [TextDelta(text) for text in draw(st.lists(_hostile, max_size=3))]
    deltas.append(TextDelta(draw(_some)))
    if draw(st.integers(0, 3)) == 0:
        deltas.append(SignatureDelta(draw(_some)))
    return [BlockStarted("text"), *deltas, BlockEnded()]


@st.composite
def _thinking(draw: st.DrawFn, id: str) -> list[Event]:
    deltas: list[Event] = [ThinkingDelta(text) for text in draw(st.lists(_some, max_size=3))]
    if not deltas or draw(st.booleans()):
        deltas.append(SignatureDelta(draw(_some)))
    return [BlockStarted("thinking"), *deltas, BlockEnded()]


@st.composite
def _redacted(draw: st.DrawFn, id: str) -> list[Event]:
    return [BlockStarted("redacted_thinking", data=draw(_some)), BlockEnded()]


@st.composite
def _call(draw: st.DrawFn, id: str) -> list[Event]:
    pieces = draw(st.lists(_hostile, max_size=3))
    return [BlockStarted("tool_use", id, draw(_some)), *map(InputDelta, pieces), BlockEnded()]


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """The events of one answer, whole or failed at any place."""
    events: list[Event] = [Started(draw(_hostile), draw(_hostile), draw(st.none() | _usages))]
    called = False
    for place in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from([_text, _thinking, _redacted, _call]))
        events += draw(kind(f"{draw(_hostile)}{place}"))
        called = called or kind is _call
        if draw(st.booleans()):
            events.append(UsageReported(draw(_usages)))
    if draw(st.integers(0, 3)) == 0:
        error: UpstreamError = UpstreamTruncated(draw(_hostile.map("cut: {}".format).map(_storable)))
        return [*events[: draw(st.integers(0, len(events)))], Failed(error)]
    if called:
        reason = draw(st.sampled_from(["tool_use", "max_tokens", "refusal"]))
        return [*events, Finished(reason)]
    if draw(st.integers(0, 4)) == 0:
        return [*events, Finished("stop_sequence", draw(_hostile))]
    return [*events, Finished(draw(_reasons))]


def _storable(text: str) -> str:
    """``text`` as an error's message may be: what was read from JSON holds no lone surrogate."""
    return text.encode("utf-8", "replace").decode()
