"""The grammar of an answer's events, checked in one place for every reader and writer."""

from __future__ import annotations

from collections.abc import Sequence

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
    UsageReported,
)

_BLOCKS = {"text", "thinking", "redacted_thinking", "tool_use"}
_DELTAS = {
    TextDelta: {"text"},
    ThinkingDelta: {"thinking"},
    SignatureDelta: {"thinking", "text"},
    InputDelta: {"tool_use"},
}


def check_events(events: Sequence[Event]) -> None:
    """Raise `AssertionError` unless ``events`` tell one whole answer, or one that failed.

    ``Started`` is first (a lone ``Failed`` may stand without it); blocks do not nest; a delta
    stands in a block of its own kind; a signature comes once, last in its block;
    ``Finished`` or ``Failed`` is last, and ``Finished`` leaves no block open.
    """
    assert events, "no events"
    last = events[-1]
    assert isinstance(last, Finished | Failed), f"ends with {last!r}"
    if isinstance(events[0], Failed):
        assert len(events) == 1, "events after Failed"
        return
    assert isinstance(events[0], Started), f"begins with {events[0]!r}"
    block: BlockStarted | None = None
    signed = False
    for place, event in enumerate(events[1:-1], 1):
        where = f"event {place}, {event!r}"
        if isinstance(event, BlockStarted):
            assert block is None, f"{where}: {block!r} is still open"
            assert event.type in _BLOCKS, f"{where}: no such block"
            if event.type == "tool_use":
                assert event.id, f"{where}: without an id"
                assert event.name, f"{where}: without a name"
            block, signed = event, False
        elif isinstance(event, BlockEnded):
            assert block is not None, f"{where}: no block is open"
            block = None
        elif not isinstance(event, UsageReported):
            kinds = _DELTAS.get(type(event))
            assert kinds is not None, f"{where}: not here"
            assert block is not None, f"{where}: outside a block"
            assert block.type in kinds, f"{where}: in a block of type {block.type}"
            assert not signed, f"{where}: after the signature"
            signed = isinstance(event, SignatureDelta)
    if isinstance(last, Finished):
        assert block is None, f"Finished while {block!r} is open"
        assert last.stop_reason, "no stop reason"
