"""Going on with an answer that broke off: another target says the rest, the client sees one stream.

`Continuation` follows what a client has been told, says whether that can be gone on with, makes the
request for the rest, and joins the rest to it. One answer from one target is a leg. Which target is
asked, when, and who carries the bytes, is not known here.

What was told of the text is the beginning of the rest's last message, which the next target is to go
on with word for word (`aigateway.providers.base.Kind.continues`). Where no text was told, only
thinking, any target is asked the same as the first, and its answer follows the thinking.

Left as they are: a model that begins anew although it was given the beginning says it twice, which
nobody can tell from a text that repeats itself; and a text goes on in a second block where the
broken answer had ended its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from .dialects.base import Writer
from .dialects.begun import begun_with
from .errors import GatewayError
from .events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    ChatRequest,
    Event,
    Finished,
    SignatureDelta,
    Started,
    TextDelta,
    Usage,
    UsageReported,
    events_of,
)
from .providers.base import Kind, translated
from .translate import Answering, Stream

MAX_TEXT = 1 << 20
"""Bytes of text that are kept. A longer answer, which no model gives at once, is not gone on with."""


class Continuation:
    """One answer to one client, by one or several targets in turn.

    It belongs to one writer, the client's: where an attempt failed before anything of it was sent,
    and the next has a writer of its own, that needs a fresh one of these, too.
    """

    def __init__(self, chat: ChatRequest) -> None:
        self._asked = chat
        self._obstacle = _obstacle(chat)
        self._told = bytearray()
        self.started = False  # the client knows that there is an answer
        self._block = ""  # the type of the block that is open at the client's
        self._signed = False  # it has had its signature, and so its end but for the name
        self._before: Usage | None = None  # of the legs that are over
        self._leg: Callable[[], Usage] | None = None  # of the one under way

    # ---------------------------------------------------------- what is possible

    @property
    def obstacle(self) -> str:
        """Why nobody can go on with the answer as it stands; ``""`` where somebody may."""
        return self._obstacle

    def may_ask(self, kind: Kind, model: str) -> bool:
        """Whether ``model`` at a provider of this ``kind`` can go on with the answer as it stands."""
        return not self._obstacle and (not self._beginning() or kind.continues(model))

    def chat(self) -> ChatRequest:
        """What to ask the next target: for the rest; or for all of it, where no text was told."""
        beginning = self._beginning()
        if not beginning:
            return self._asked
        return begun_with(self._asked, beginning, self.usage().output_tokens)

    def usage(self) -> Usage:
        """What the client is told of all legs: the prompt of the first, the output of each."""
        leg = self._leg() if self._leg is not None else Usage()
        return leg if self._before is None else _together(self._before, leg)

    # ----------------------------------------------------------------- the legs

    def stream(self, kind: Kind, answering: Answering, writer: Writer) -> Stream:
        """The next leg, the first included: its answer by way of the hub, never as it came.

        ``answering`` holds the request that this leg was asked with, `chat`'s from the second on;
        the stream's own usage is that of the leg. ``writer`` is the same for all.
        """
        leg = self._begin(writer, echoes=answering.rendered.echoes)
        stream = translated(kind, answering, leg)
        self._leg = stream.usage
        return stream

    def tell(self, reply: ChatReply, usage: Usage, writer: Writer, *, echoes: bool = False) -> bytes:
        """A leg from a provider that does not stream: the client's frames for all of it."""
        leg = self._begin(writer, echoes=echoes)
        self._leg = lambda: usage
        return leg.write(events_of(reply))

    def _begin(self, writer: Writer, *, echoes: bool) -> _Leg:
        if self._leg is None:
            return _Leg(self, writer)
        self._before = self.usage()
        text = self._text()
        beginning = text.rstrip()
        return _LaterLeg(self, writer, beginning if echoes else "", text[len(beginning) :])

    # ------------------------------------------------------ what the client was told

    def follow(self, event: Event) -> None:
        """Keep up with an event that the client is told."""
        kind = event.__class__
        if kind is TextDelta:
            if not self._obstacle:
                self._keep(event.text)  # type: ignore[union-attr]
        elif kind is BlockStarted:
            self._block, self._signed = event.type, False  # type: ignore[union-attr]
            if self._block == "tool_use":
                # A call may have been run by now; and where it was cut, its rest is not text.
                self._refuse("a tool has been called")
        elif kind is BlockEnded:
            self._block = ""
        elif kind is SignatureDelta:
            self._signed = True
        elif kind is Started:
            self.started = True

    def close(self) -> list[Event]:
        """What ends the block that is open at the client's, if there is one."""
        if not self._block:
            return []
        self._block = ""
        return [BlockEnded()]

    @property
    def takes_text(self) -> bool:
        """Whether the block that is open at the client's can have more text."""
        return self._block == "text" and not self._signed

    def _keep(self, text: str) -> None:
        self._told += text.encode("utf-8", "replace")
        if len(self._told) > MAX_TEXT:
            self._refuse(f"more than {MAX_TEXT} bytes of text have been told")

    def _refuse(self, obstacle: str) -> None:
        self._obstacle = self._obstacle or obstacle
        self._told.clear()

    def _text(self) -> str:
        return self._told.decode()

    def _beginning(self) -> str:
        """The text so far, as it is sent: Claude refuses one that ends in a blank, and to all models
        a blank is the beginning of the next word."""
        return self._text().rstrip()


class _Leg:
    """Implements `aigateway.dialects.base.Writer`, between a leg's translator and the client's
    writer. ``size`` is that of this leg."""

    def __init__(self, answer: Continuation, writer: Writer) -> None:
        self._answer = answer
        self._writer = writer
        self._size_before = writer.size
        self.size = 0

    def write(self, events: Sequence[Event]) -> bytes:
        for event in events:
            self._answer.follow(event)
        return self._pass(events)

    def fail(self, error: GatewayError) -> bytes:
        return self._writer.fail(error)

    def keep_alive(self) -> bytes:
        return self._writer.keep_alive()

    def _pass(self, events: Sequence[Event]) -> bytes:
        data = self._writer.write(events)
        self.size = self._writer.size - self._size_before
        return data


class _LaterLeg(_Leg):
    """What comes after a break: its beginning is left out, its text joined to the open block, and
    the usage at its end is that of the whole answer.

    ``echo`` is what the provider may say first although it was given it; ``blank`` the white space
    at the end of the text so far, which it was not given, so that it may say it, too.
    """

    def __init__(self, answer: Continuation, writer: Writer, echo: str, blank: str) -> None:
        super().__init__(answer, writer)
        self._echo = echo
        self._echoed = 0  # characters of it that have come
        self._blank = blank
        self._in_text = False  # the leg is in a text block
        self._opened = False  # and the client is in it, too

    def write(self, events: Sequence[Event]) -> bytes:
        out: list[Event] = []
        for event in events:
            kind = event.__class__
            if kind is TextDelta:
                self._say(self._joined(event.text), out)  # type: ignore[union-attr]
            elif kind is BlockStarted:
                self._start(event, out)  # type: ignore[arg-type]
            elif kind is BlockEnded:
                self._end(event, out)
            elif kind is SignatureDelta:
                if not self._in_text or self._opened:
                    self._tell(event, out)
            elif kind is Finished:
                out += self._answer.close()
                data = self._pass(out)  # before the usage, which may have to be estimated from it
                return data + self._pass([UsageReported(self._answer.usage()), event])
            elif kind is Started:
                if not self._answer.started:
                    self._tell(event, out)
            elif kind is not UsageReported:
                self._tell(event, out)
        return self._pass(out) if out else b""

    def _tell(self, event: Event, out: list[Event]) -> None:
        self._answer.follow(event)
        out.append(event)

    def _start(self, event: BlockStarted, out: list[Event]) -> None:
        """A text block is not begun before it says something: it may be the one that is open."""
        self._in_text, self._opened = event.type == "text", False
        if not self._in_text:
            out += self._answer.close()
            self._tell(event, out)

    def _end(self, event: Event, out: list[Event]) -> None:
        if self._in_text:
            echoed, self._echoed = self._echo[: self._echoed], 0
            self._echo = ""
            self._say(self._unblank(echoed), out)  # it was none: the text ends within it
        if not self._in_text or self._opened:
            self._tell(event, out)
        self._in_text = False

    def _say(self, text: str, out: list[Event]) -> None:
        if not text:
            return
        if not self._opened:
            self._opened = True
            if not self._answer.takes_text:
                out += self._answer.close()
                self._tell(BlockStarted("text"), out)
        self._tell(TextDelta(text), out)

    def _joined(self, text: str) -> str:
        """What is new in the leg's next piece of text."""
        if self._echo:
            rest = self._echo[self._echoed : self._echoed + len(text)]
            if rest == text and self._echoed + len(text) < len(self._echo):
                self._echoed += len(text)
                return ""
            repeats = text.startswith(rest)
            text = text[len(rest) :] if repeats else self._echo[: self._echoed] + text
            self._echo, self._echoed = "", 0
        return self._unblank(text)

    def _unblank(self, text: str) -> str:
        """``text`` without the blanks that the client has; once it has said anything else, as it is."""
        if not self._blank or not text:
            return text
        same = 0
        while same < min(len(text), len(self._blank)) and text[same] == self._blank[same]:
            same += 1
        self._blank = self._blank[same:] if same == len(text) else ""
        return text[same:]


def _obstacle(chat: ChatRequest) -> str:
    """Why no answer to ``chat`` could be gone on with."""
    if chat.response_format is not None:
        return "the answer has a format, which its rest alone would not have"
    if chat.tool_choice is not None and chat.tool_choice.mode in ("any", "tool"):
        return "the answer must be a call"
    if chat.needed:
        return f"the rest could not be told with {chat.needed[0]}"
    if chat.messages and chat.messages[-1].role == "assistant":
        return "the client has begun the answer itself"
    return ""


def _together(first: Usage, later: Usage) -> Usage:
    return msgspec.structs.replace(
        first,
        output_tokens=first.output_tokens + later.output_tokens,
        reasoning_tokens=first.reasoning_tokens + later.reasoning_tokens,
        estimated=first.estimated or later.estimated,
    )
