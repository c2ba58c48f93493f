"""Simulated providers as twisted.web resources: paths, keys, counters.

What is said is in `answers`, how it looks on the wire in a module for each format, when it
is written in `pacing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import parse_qs, unquote

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from .account import CodeAssistAccount
from .answers import answer
from .anthropic import AnthropicWire
from .code_assist import CodeAssistWire
from .faults import find
from .gemini import GeminiWire
from .glm import GLMWire
from .google import GoogleWire
from .openai import OpenAIWire
from .pacing import Outgoing, PacedBody, Unframed
from .responses import ResponsesWire
from .wire import Asked, Refused, Response, Wire

PACE = 0.05
"""Seconds between chunks for a demonstration."""

INTERVALS_BEFORE_FIRST = 4

_CREDENTIALS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})


class Seen(msgspec.Struct, frozen=True):
    """A request as it arrived, without its credentials: ``path`` with its query, ``headers``
    by lower-case name, ``body`` decoded (None where it is not JSON)."""

    path: str
    headers: dict[str, str]
    body: object


class Simulated(Resource):
    """A resource that counts.

    ``requests`` counts those for an answer whose key was taken, ``open`` the responses under
    way, ``aborted`` those that the client left before their end; ``seen`` keeps the last 100
    requests, refused ones included.
    """

    isLeaf = True

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self.clock = clock
        self.wall = clock.seconds  # what time it tells that it is
        self.requests = 0
        self.open = 0
        self.aborted = 0
        self.seen: deque[Seen] = deque(maxlen=100)

    def note(self, request: Request, body: bytes) -> None:
        headers = {
            name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.seen.append(
            Seen(
                request.uri.decode("latin-1"),
                {name: value for name, value in headers.items() if name not in _CREDENTIALS},
                _decoded(body),
            )
        )

    def respond(
        self, request: Request, response: Response, *, first: float = 0.0, interval: float | None = None
    ) -> int:
        """Begin ``response``; `PacedBody` does the rest."""
        request.setResponseCode(response.status)
        headers = request.responseHeaders
        headers.setRawHeaders("Content-Type", [response.content_type])
        headers.setRawHeaders("x-aigateway-simulated", ["true"])
        for name, value in response.headers:
            headers.addRawHeader(name, value)
        if response.interval is not None:
            interval = response.interval or None
        self.open += 1
        outgoing: Outgoing = Unframed(request) if response.raw else request
        PacedBody(outgoing, response, self.clock, first=first, interval=interval, ended=self._ended)
        return NOT_DONE_YET

    def _ended(self, client_left: bool) -> None:
        self.open -= 1
        self.aborted += client_left


class SimulatedProvider(Simulated, ABC):
    """One provider: it checks the key, reads the request, answers or rehearses a fault.

    ``pace`` is the time between chunks in seconds; with 0 a whole stream is written at
    once, chunk by chunk.
    """

    wire: Wire
    base_path = ""
    """What a base URL has after host and port."""

    def __init__(self, clock: IReactorTime, pace: float = PACE) -> None:
        super().__init__(clock)
        self.pace = pace

    def render(self, request: Request) -> int:
        body = body_of(request)
        if request.method != b"POST":
            return self.respond(request, self.wire.unknown_path())
        self.note(request, body)
        key = self.key(request)
        if key in ("", "fault-401"):
            return self.respond(request, self.unauthorized(key))
        try:
            return self.route(request, request.path.decode("latin-1").removeprefix(self.base_path), body)
        except Refused as refused:
            return self.respond(request, refused.response)

    def key(self, request: Request) -> str:
        """The credential, empty where there is none: a bearer token."""
        scheme, _, key = (request.getHeader("Authorization") or "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    def unauthorized(self, key: str) -> Response:
        return self.wire.unauthorized()

    @abstractmethod
    def route(self, request: Request, path: str, body: bytes) -> int:
        """Answer an authorized POST to ``path``, which is without `base_path`; `Refused` may
        be raised."""

    def respond_with_answer(self, request: Request, wire: Wire, read: Callable[..., Asked]) -> int:
        """Read the request, given its serial number and the time, and answer it."""
        self.requests += 1
        asked = read(serial=self.requests, created=int(self.wall()))
        response = self._response(request, wire, asked)
        interval = self.pace or None
        return self.respond(request, response, first=self.pace * INTERVALS_BEFORE_FIRST, interval=interval)

    def frames(self, request: Request, wire: Wire, asked: Asked) -> Iterator[bytes]:
        return wire.frames(asked, answer(asked.prompt))

    def json(self, request: Request, value: object) -> int:
        return self.respond(request, Response((msgspec.json.encode(value),), self.wire.json_type))

    def _response(self, request: Request, wire: Wire, asked: Asked) -> Response:
        name = asked.model.rpartition("/")[2]  # the demonstration's names have a prefix
        of_model, of_account = find(name), find(self.key(request))
        for fault in (of_model, of_account):
            if fault is not None and (response := fault(wire, asked)) is not None:
                return response
        if name.startswith("no-such-") or (name.startswith("fault-") and of_model is None):
            return wire.unknown_model(asked.model)
        headers = wire.headers(asked)
        if asked.stream:
            return Response(self.frames(request, wire, asked), wire.stream_type, headers=headers)
        return Response((wire.whole(asked, answer(asked.prompt)),), wire.json_type, headers=headers)


class SimulatedOpenAI(SimulatedProvider):
    """OpenAI: ``POST /v1/chat/completions`` and ``POST /v1/responses``."""

    wire = OpenAIWire()
    base_path = "/v1"

    def __init__(self, clock: IReactorTime, pace: float = PACE) -> None:
        super().__init__(clock, pace)
        self.responses = ResponsesWire()

    def route(self, request: Request, path: str, body: bytes) -> int:
        match path:
            case "/chat/completions":
                return self.respond_with_answer(request, self.wire, partial(self.wire.read, body))
            case "/responses":
                return self.respond_with_answer(request, self.responses, partial(self.responses.read, body))
            case _:
                return self.respond(request, self.wire.unknown_path())


class SimulatedGLM(SimulatedProvider):
    """GLM: ``POST /api/paas/v4/chat/completions``."""

    wire = GLMWire()
    base_path = "/api/paas/v4"

    def route(self, request: Request, path: str, body: bytes) -> int:
        if path != "/chat/completions":
            return self.respond(request, self.wire.unknown_path())
        return self.respond_with_answer(request, self.wire, partial(self.wire.read, body))


class SimulatedAnthropic(SimulatedProvider):
    """Anthropic: ``POST /v1/messages`` and ``/v1/messages/count_tokens``."""

    wire = AnthropicWire()
    base_path = "/v1"

    def key(self, request: Request) -> str:
        return (request.getHeader("x-api-key") or "").strip() or super().key(request)

    def unauthorized(self, key: str) -> Response:
        return self.wire.unauthorized() if key else self.wire.without_key()

    def route(self, request: Request, path: str, body: bytes) -> int:
        beta = bool(request.getHeader("anthropic-beta"))
        known = self.wire.fields(request.getHeader("anthropic-version"), beta=beta)
        match path:
            case "/messages":
                read = partial(self.wire.read, body, known=known)
                return self.respond_with_answer(request, self.wire, read)
            case "/messages/count_tokens":
                return self.json(request, {"input_tokens": self.wire.input_tokens(body, known=known)})
            case _:
                return self.respond(request, self.wire.unknown_path())


class SimulatedGoogle(SimulatedProvider):
    """What Google's two providers have in common."""

    wire: GoogleWire

    def frames(self, request: Request, wire: Wire, asked: Asked) -> Iterator[bytes]:
        """Without ``alt=sse`` the real servers stream a JSON array; so do these."""
        if b"alt=sse" in request.uri.partition(b"?")[2].split(b"&"):
            return super().frames(request, wire, asked)
        return self.wire.array(asked, answer(asked.prompt))


class SimulatedGemini(SimulatedGoogle):
    """The Gemini API: ``POST /v1beta/models/{model}:generateContent``,
    ``:streamGenerateContent`` and ``:countTokens``."""

    wire: GeminiWire = GeminiWire()
    base_path = "/v1beta"

    def key(self, request: Request) -> str:
        return (request.getHeader("x-goog-api-key") or "").strip()

    def unauthorized(self, key: str) -> Response:
        return self.wire.unauthorized() if key else self.wire.unregistered()

    def route(self, request: Request, path: str, body: bytes) -> int:
        name, _, method = path.removeprefix("/v1").rpartition(":")  # the API's other version
        model = unquote(name.removeprefix("/models/"))
        if not name.startswith("/models/") or not model:
            return self.respond(request, self.wire.unknown_path())
        match method:
            case "streamGenerateContent" | "generateContent":
                stream = method == "streamGenerateContent"
                read = partial(self.wire.read, body, model=model, stream=stream)
                return self.respond_with_answer(request, self.wire, read)
            case "countTokens":
                count = self.wire.total_tokens(body)
                details = [{"modality": "TEXT", "tokenCount": count}]
                return self.json(request, {"totalTokens": count, "promptTokensDetails": details})
            case _:
                return self.respond(request, self.wire.unknown_path())


class SimulatedAntigravity(SimulatedGoogle):
    """Antigravity: ``POST /v1internal:…`` and Google's OAuth endpoint at ``POST /token``.

    ``onboarded``: whether the account already has a project; else ``onboardUser`` makes one,
    which is done the second time it is asked. ``refreshes`` counts the refresh grants asked
    for, refused ones included; nothing of them is kept in ``seen``.
    """

    wire: CodeAssistWire = CodeAssistWire()

    def __init__(self, clock: IReactorTime, pace: float = PACE, *, onboarded: bool = True) -> None:
        super().__init__(clock, pace)
        self.refreshes = 0
        self.account = CodeAssistAccount(onboarded)

    def render(self, request: Request) -> int:
        if request.path == b"/token" and request.method == b"POST":
            return self.respond(request, self._token(body_of(request)))
        if request.method == b"GET" and request.path.startswith(b"/v1internal/operations/"):
            return self.json(request, self.account.onboard())
        return super().render(request)

    def route(self, request: Request, path: str, body: bytes) -> int:
        match path.removeprefix("/v1internal:"):
            case "streamGenerateContent":
                read = partial(self.wire.read, body, stream=True)
                return self.respond_with_answer(request, self.wire, read)
            case "generateContent":
                read = partial(self.wire.read, body, stream=False)
                return self.respond_with_answer(request, self.wire, read)
            case "countTokens":
                return self.json(request, {"totalTokens": self.wire.total_tokens(body)})
            case "loadCodeAssist":
                return self.json(request, self.account.load())
            case "onboardUser":
                return self.json(request, self.account.onboard())
            case "fetchAvailableModels":
                return self.json(request, self.account.models(int(self.wall())))
            case _:
                return self.respond(request, self.wire.unknown_path())

    def _token(self, body: bytes) -> Response:
        form = {name: values[-1] for name, values in parse_qs(body.decode("latin-1")).items()}
        refresh_token = form.get("refresh_token", "")
        if form.get("grant_type") != "refresh_token":
            return self._refusal(400, "unsupported_grant_type", "Invalid grant_type.")
        self.refreshes += 1
        if not form.get("client_id"):
            return self._refusal(401, "invalid_client", "The OAuth client was not found.")
        if refresh_token in ("", "revoked"):
            return self._refusal(400, "invalid_grant", "Token has been expired or revoked.")
        token = refresh_token if find(refresh_token) is not None else f"ya29.simulated-{self.refreshes}"
        granted = {
            "access_token": token,
            "expires_in": 3599,
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "token_type": "Bearer",
        }
        return Response((msgspec.json.encode(granted),), self.wire.json_type)

    def _refusal(self, status: int, error: str, description: str) -> Response:
        body = msgspec.json.encode({"error": error, "error_description": description})
        return Response((body,), self.wire.json_type, status)


def body_of(request: Request) -> bytes:
    """The whole body: twisted.web renders no resource before it is there."""
    return b"" if request.content is None else bytes(request.content.read())


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
