"""What the writers of all dialects share: each event goes to the method for its type.

Leaves to the dialects every byte that is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import GatewayError
from ..events import (
    BlockEnded,
    BlockStarted,
    ChatRequest,
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


class EventWriter(ABC):
    """Implements `aigateway.dialects.base.Writer` but for the frames. The newest usage that was
    told is kept for the end of the stream."""

    def __init__(self, chat: ChatRequest, id: str) -> None:
        self._chat = chat
        self._id = id
        self._usage: Usage | None = None
        self.size = 0
        # By type: a dozen kinds of event, told apart in one lookup.
        self._writes: dict[type, Callable[[Any], bytes]] = {
            Started: self._start,
            BlockStarted: self._start_block,
            TextDelta: self._write_text,
            ThinkingDelta: self._write_thinking,
            SignatureDelta: self._write_signature,
            InputDelta: self._write_input,
            BlockEnded: self._end_block,
            UsageReported: self._report,
            Finished: self._finish,
            Failed: self._failed,
        }

    def write(self, events: Sequence[Event]) -> bytes:
        writes = self._writes
        if len(events) == 1:
            event = events[0]
            return writes[event.__class__](event)
        return b"".join([writes[event.__class__](event) for event in events])

    def _report(self, event: UsageReported) -> bytes:
        self._usage = event.usage
        return b""

    def _failed(self, event: Failed) -> bytes:
        return self.fail(event.error)

    @abstractmethod
    def fail(self, error: GatewayError) -> bytes: ...

    @abstractmethod
    def keep_alive(self) -> bytes: ...

    @abstractmethod
    def _start(self, event: Started) -> bytes: ...

    @abstractmethod
    def _start_block(self, event: BlockStarted) -> bytes: ...

    @abstractmethod
    def _write_text(self, event: TextDelta) -> bytes: ...

    @abstractmethod
    def _write_thinking(self, event: ThinkingDelta) -> bytes: ...

    @abstractmethod
    def _write_signature(self, event: SignatureDelta) -> bytes: ...

    @abstractmethod
    def _write_input(self, event: InputDelta) -> bytes: ...

    @abstractmethod
    def _end_block(self, event: BlockEnded) -> bytes: ...

    @abstractmethod
    def _finish(self, event: Finished) -> bytes: ...
