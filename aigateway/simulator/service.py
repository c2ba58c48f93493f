"""The simulated providers on loopback sockets, as one service."""

from __future__ import annotations

import time
from io import BytesIO

from twisted.application.service import Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request
from twisted.web.server import Request as SiteRequest
from twisted.web.server import Site

from .provider import (
    PACE,
    SimulatedAnthropic,
    SimulatedAntigravity,
    SimulatedGemini,
    SimulatedGLM,
    SimulatedOpenAI,
    SimulatedProvider,
)


class Simulators(Service):
    """OpenAI, GLM, Antigravity, Anthropic and Gemini, each on a port of 127.0.0.1: ``port`` and the
    four after it, or ephemeral ones.

    `listen` may be called before the reactor runs: the gateway's configuration needs the
    addresses. Connections are served from the moment that it does.
    """

    name = "simulators"

    def __init__(self, reactor: IReactorTCP, pace: float = PACE, port: int = 0) -> None:
        self._reactor = reactor
        self._first_port = port
        self._clock = IReactorTime(reactor)
        self.openai = SimulatedOpenAI(self._clock, pace)
        self.glm = SimulatedGLM(self._clock, pace)
        self.antigravity = SimulatedAntigravity(self._clock, pace)
        self.anthropic = SimulatedAnthropic(self._clock, pace)
        self.gemini = SimulatedGemini(self._clock, pace)
        for provider in (self.openai, self.glm, self.antigravity, self.anthropic, self.gemini):
            provider.wall = time.time
        self.base_urls: dict[str, str] = {}
        self._listeners: list[tuple[IListeningPort, Connections]] = []

    @property
    def token_url(self) -> str:
        """Antigravity's OAuth token endpoint; needs `listen` to have been called."""
        return self.base_urls["antigravity"] + "/token"

    def listen(self) -> dict[str, str]:
        """Open the sockets, once; the base URL of each provider by its name."""
        if not self._listeners:
            self._listen("openai", self.openai)
            self._listen("glm", self.glm)
            self._listen("antigravity", self.antigravity)
            self._listen("anthropic", self.anthropic)
            self._listen("gemini", self.gemini)
        return self.base_urls

    def privilegedStartService(self) -> None:
        self.listen()

    def startService(self) -> None:
        super().startService()
        self.listen()

    def stopService(self) -> Deferred[None]:
        """Close the sockets and drop what is open; fires when all of it is gone."""
        super().stopService()
        listeners, self._listeners = self._listeners, []
        self.base_urls = {}
        return Deferred.fromCoroutine(self._close(listeners))

    async def _close(self, listeners: list[tuple[IListeningPort, Connections]]) -> None:
        for port, _ in listeners:
            await maybeDeferred(port.stopListening)
        for _, connections in listeners:
            await connections.drop()

    def _listen(self, name: str, provider: SimulatedProvider) -> None:
        connections = Connections(SimulatorSite(provider, self._clock))
        # A wrapping factory serves too, although Twisted types it as a client's.
        number = self._first_port and self._first_port + len(self._listeners)
        port = self._reactor.listenTCP(number, connections, interface="127.0.0.1")  # type: ignore[arg-type]
        address = port.getHost()
        if not isinstance(address, IPv4Address):
            raise TypeError(f"a TCP socket with the address {address!r}")
        self._listeners.append((port, connections))
        self.base_urls[name] = f"http://127.0.0.1:{address.port}{provider.base_path}"


class SimulatorSite(Site):
    """A site without access log, form parsing or idle timeout."""

    noisy = False

    def __init__(self, root: SimulatedProvider, clock: IReactorTime) -> None:
        super().__init__(
            root, requestFactory=InMemoryRequest, timeout=None, reactor=clock, parsePOSTFormSubmission=False
        )

    def log(self, request: Request) -> None:
        """Nothing: what arrived is in the provider's ``seen``."""


class InMemoryRequest(SiteRequest):
    """A request that keeps its body out of temporary files. Its size is not limited: only
    this process, or somebody at its keyboard, can reach the simulator."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()


class Connections(WrappingFactory[ProtocolWrapper]):
    """The connections of one site, so that they can be dropped."""

    noisy = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._gone: Deferred[None] | None = None

    def drop(self) -> Deferred[None]:
        """Abort every connection; fires when the last one is gone."""
        gone = self._gone = Deferred()
        for connection in list(self.protocols):
            connection.transport.abortConnection()
        self._settle()
        return gone

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        self._settle()

    def _settle(self) -> None:
        if not self.protocols:
            gone, self._gone = self._gone, None
            if gone is not None:
                gone.callback(None)
