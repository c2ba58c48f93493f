"""What a dialect is made of: the seams between wire formats and events.

A dialect is symmetrical. For when a client speaks it: ``parse_request``,
``render_reply``, ``Writer``, ``render_error``. For when a provider speaks it:
``render_request``, ``parse_reply``, ``Reader``, ``parse_error``; those four vary by
provider kind and are reached through `aigateway.providers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from ..errors import GatewayError, UpstreamError
from ..events import ChatReply, ChatRequest, Event, Usage
from ..sse import Frame


class Reader(Protocol):
    """A provider's frames in, events out; it holds which block is open.

    ``feed`` and ``end`` never raise for what a provider sent: a fault is a ``Failed``
    event. After ``Finished`` or ``Failed`` both return nothing more. ``late_error`` is what
    went wrong after the provider had said that the answer is whole.
    """

    late_error: UpstreamError | None

    @property
    def usage(self) -> Usage | None:
        """The newest counts that the provider has told, whole answer or not."""

    def feed(self, frame: Frame) -> list[Event]:
        """The events that this frame tells; often one, sometimes none."""

    def end(self) -> list[Event]:
        """The body has ended, however it did: ``Finished`` if the dialect's own marker was
        seen, ``Failed(UpstreamTruncated)`` if not."""


class Writer(Protocol):
    """Events in, a client's frames out, as bytes.

    ``size`` counts the bytes of content written (text, thinking, tool input, as JSON text):
    what an estimate of the output is made from.
    """

    size: int

    def write(self, events: Sequence[Event]) -> bytes:
        """The frames for these events, joined; ``b""`` while there is nothing to say.

        A ``Failed`` among them ends the stream with the dialect's error frame.
        """

    def fail(self, error: GatewayError) -> bytes:
        """The dialect's error frame, which ends the stream."""

    def keep_alive(self) -> bytes:
        """A frame that means nothing, fit for where the stream is now."""


class Rendered(msgspec.Struct, frozen=True):
    """A request body for a provider, and what became of the client's fields.

    ``dropped`` names those that have no place in it, ``emulated`` those that are brought about by
    other means (a schema told in words); as the client spells them, in the order met. ``kept``:
    it is the client's own body. ``headers`` go with it besides the provider's own. ``renamed``
    leads from a tool's name in it back to the client's, where they differ. ``asked_model`` is the
    client's name for the model where the provider is asked for another: agents give their thinking
    back only to the model that they asked for. ``echoes``: the answer repeats the beginning that the
    body gave it.
    """

    body: bytes
    dropped: tuple[str, ...] = ()
    emulated: tuple[str, ...] = ()
    kept: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    renamed: Mapping[str, str] = {}
    asked_model: str = ""
    echoes: bool = False


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An error before the first byte: an HTTP status, further headers, a JSON body; ``dialect``
    names whose form that is, where somebody asks."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    dialect: str = ""


class ClientDialect(msgspec.Struct, frozen=True):
    """The client's side of a dialect.

    ``parse_request(raw)`` raises `MalformedRequest`. ``writer(chat, id, created)``: ``id``
    is the gateway's request id, used where the provider gives none; ``created`` is Unix
    seconds. ``render_reply(reply, chat, id, created)`` likewise. ``request_id_header`` is
    the header in which this dialect's clients look for a request id.
    """

    name: str
    parse_request: Callable[[bytes], ChatRequest]
    writer: Callable[[ChatRequest, str, int], Writer]
    render_reply: Callable[[ChatReply, ChatRequest, str, int], bytes]
    render_error: Callable[[GatewayError, str], ErrorAnswer]
    request_id_header: str
