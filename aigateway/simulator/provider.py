"""Simulated providers as twisted.web resources: paths, keys, counters.

What is said is in `answers`, how it looks on the wire in `openai`, `glm` and
`code_assist`, when it is written in `pacing`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from urllib.parse import parse_qs

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from .account import CodeAssistAccount
from .answers import answer
from .code_assist import CodeAssistWire
from .faults import FAULTS, rehearse
from .glm import GLMWire
from .openai import OpenAIWire
from .pacing import PacedBody
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
            headers.setRawHeaders(name, [value])
        self.open += 1
        PacedBody(request, response, self.clock, first=first, interval=interval, ended=self._ended)
        return NOT_DONE_YET

    def _ended(self, client_left: bool) -> None:
        self.open -= 1
        self.aborted += client_left


class SimulatedProvider(Simulated):
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
        if self._key(request) is None:
            self.note(request, body)
            return self.respond(request, self.wire.unauthorized())
        return self.route(request, body)

    def route(self, request: Request, body: bytes) -> int:
        """Answer an authorized POST."""
        self.note(request, body)
        if request.path != self.base_path.encode() + b"/chat/completions":
            return self.respond(request, self.wire.unknown_path())
        return self.respond_with_answer(request, body, stream=None)

    def respond_with_answer(self, request: Request, body: bytes, *, stream: bool | None) -> int:
        self.requests += 1
        try:
            asked = self.wire.read(
                body, stream=stream, serial=self.requests, created=int(self.clock.seconds())
            )
        except Refused as refused:
            return self.respond(request, refused.response)
        response = self._response(request, asked)
        interval = self.pace or None
        return self.respond(request, response, first=self.pace * INTERVALS_BEFORE_FIRST, interval=interval)

    def frames(self, request: Request, asked: Asked) -> Iterator[bytes]:
        return self.wire.frames(asked, answer(asked.prompt))

    def _response(self, request: Request, asked: Asked) -> Response:
        for name in (asked.model, self._key(request) or ""):
            if (fault := rehearse(name, self.wire, asked)) is not None:
                return fault
        if asked.model.startswith(("no-such-", "fault-")):
            return self.wire.unknown_model(asked.model)
        headers = self.wire.headers(asked)
        if asked.stream:
            return Response(self.frames(request, asked), self.wire.stream_type, headers=headers)
        return Response((self.wire.whole(asked, answer(asked.prompt)),), self.wire.json_type, headers=headers)

    def _key(self, request: Request) -> str | None:
        """The bearer token, None where there is none or one that is to be refused."""
        scheme, _, key = (request.getHeader("Authorization") or "").partition(" ")
        key = key.strip()
        return key if scheme.lower() == "bearer" and key not in ("", "fault-401") else None


class SimulatedOpenAI(SimulatedProvider):
    """OpenAI: ``POST /v1/chat/completions``."""

    wire = OpenAIWire()
    base_path = "/v1"


class SimulatedGLM(SimulatedProvider):
    """GLM: ``POST /api/paas/v4/chat/completions``."""

    wire = GLMWire()
    base_path = "/api/paas/v4"


class SimulatedAntigravity(SimulatedProvider):
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
            return self._json(request, self.account.onboard())
        return super().render(request)

    def route(self, request: Request, body: bytes) -> int:
        self.note(request, body)
        match request.path.decode("latin-1").removeprefix("/v1internal:"):
            case "streamGenerateContent":
                return self.respond_with_answer(request, body, stream=True)
            case "generateContent":
                return self.respond_with_answer(request, body, stream=False)
            case "countTokens":
                try:
                    return self._json(request, {"totalTokens": self.wire.total_tokens(body)})
                except Refused as refused:
                    return self.respond(request, refused.response)
            case "loadCodeAssist":
                return self._json(request, self.account.load())
            case "onboardUser":
                return self._json(request, self.account.onboard())
            case "fetchAvailableModels":
                return self._json(request, self.account.models(int(self.clock.seconds())))
            case _:
                return self.respond(request, self.wire.unknown_path())

    def frames(self, request: Request, asked: Asked) -> Iterator[bytes]:
        """Without ``alt=sse`` the real server streams a JSON array; so does this one."""
        if b"alt=sse" in request.uri.partition(b"?")[2].split(b"&"):
            return super().frames(request, asked)
        return self.wire.array(asked, answer(asked.prompt))

    def _json(self, request: Request, value: object) -> int:
        return self.respond(request, Response((msgspec.json.encode(value),), self.wire.json_type))

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
        token = refresh_token if refresh_token in FAULTS else f"ya29.simulated-{self.refreshes}"
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
