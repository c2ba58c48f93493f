"""What a simulated provider's wire format is made of, and the response it ends up in.

Pure. The wire formats themselves are in modules of their own; what goes wrong
on purpose is in `faults`; `provider` puts a `Response` on a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from hashlib import sha256
from typing import Protocol

import msgspec

from .answers import Answer, Image, Prompt, answer


class Ending(Enum):
    """How a response ends: as HTTP wants it, with the connection closed in the middle, or
    never."""

    WHOLE = "whole"
    CUT = "cut"
    NEVER = "never"


class Response(msgspec.Struct, frozen=True):
    """``pieces`` are written one by one, and may be without end. Without any, `Ending.NEVER` sends
    not even a head; an empty piece sends the head alone. ``interval`` is the seconds between them,
    where it is not the provider's pace; with 0 they go out as fast as they are taken. ``raw``: the
    pieces are all that goes out, and bring their own status line and headers, if any."""

    pieces: Iterable[bytes]
    content_type: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = Ending.WHOLE
    interval: float | None = None
    raw: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that a wire format has read: the prompt, and what decides the form of the
    answer. ``serial`` numbers the requests of one simulator, ``created`` is Unix seconds:
    ids are made of both."""

    model: str
    prompt: Prompt
    stream: bool
    include_usage: bool = False
    serial: int = 0
    created: int = 0


class Refused(Exception):
    """The request is not one that the provider takes; ``response`` says so as it would."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Wire(Protocol):
    """One provider's form of answers and errors. How it reads a request is its own affair:
    `Refused` is raised there."""

    stream_type: str
    json_type: str
    lead: int
    """How many frames of a stream come before the first of its text, where it does not think."""
    trailer: int
    """How many come after the one that tells why the answer ended."""
    ping: bytes
    """What keeps a stream alive that says nothing."""

    def frames(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        """A streamed answer, frame by frame, end marker included."""

    def whole(self, asked: Asked, answer: Answer) -> bytes:
        """The same answer as one JSON body."""

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        """What an answer has beside its content type: the provider's own request id."""

    def unauthorized(self) -> Response: ...

    def unknown_path(self) -> Response: ...

    def unknown_model(self, model: str) -> Response: ...

    def busy(self, retry_after: int | None) -> Response: ...

    def busy_until(self, asked: Asked, seconds: int) -> Response:
        """The same with the wait in the provider's own fields alone, where it has any."""

    def too_big(self) -> Response:
        """A 429 that the request is the cause of, where the provider has such a one."""

    def exhausted(self, asked: Asked, seconds: int) -> Response:
        """The quota of hours is used up, and comes back after so many seconds."""

    def failed(self) -> Response: ...

    def refused_with(self, status: int) -> Response:
        """An error of any status."""

    def error_frame(self, asked: Asked, after: int) -> bytes:
        """The error that this provider writes into a stream, after so many frames of it."""

    def error_body(self) -> bytes:
        """The error that this provider sends with HTTP status 200."""


def honest(wire: Wire, asked: Asked, said: Answer | None = None) -> Iterable[bytes]:
    """The answer without a fault, in frames or as the one body; what is said may be given."""
    said = answer(asked.prompt) if said is None else said
    return wire.frames(asked, said) if asked.stream else (wire.whole(asked, said),)


def media_type(wire: Wire, asked: Asked) -> str:
    return wire.stream_type if asked.stream else wire.json_type


def unique(issuer: str, asked: Asked, length: int = 24) -> str:
    """Hexadecimal digits for an id that no other request has, of this provider or another."""
    return sha256(f"{issuer} {asked.created} {asked.serial}".encode()).hexdigest()[:length]


def data_url_image(url: str) -> Image:
    """The image in a ``data:`` URL; an `Image` without type for any other URL."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:")):
        return Image()
    return base64_image(head.removeprefix("data:").partition(";")[0], data)


def base64_image(media_type: str, data: str) -> Image:
    """``data`` is base64: measured, not decoded."""
    data = data.strip()
    return Image(media_type or "image/unknown", len(data.rstrip("=")) * 3 // 4)


def retry_after_header(seconds: int | None) -> tuple[tuple[str, str], ...]:
    return () if seconds is None else (("Retry-After", str(seconds)),)
