"""A network in memory: the gateway's own protocols, with a clock for time and no sockets.

`Network` is a reactor on which both sides listen and connect, with the pace of TCP: a side
that does not read makes the other's buffer fill, and pauses its producer. `Client` is a
client that sees every byte, `FakeProvider` a provider whose answers a test writes by hand,
`GatewayTestCase` the whole gateway between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from socket import AF_UNIX, MSG_PEEK
from tempfile import TemporaryDirectory
from typing import Any, cast

import h11
import msgspec
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IPushProducer,
    IResolutionReceiver,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from aigateway.attempts import Attempts
from aigateway.config import Account, Config, Provider
from aigateway.credentials import Credentials
from aigateway.executor import Executor
from aigateway.offload import on_the_spot
from aigateway.outcome import Outcome
from aigateway.routing import Router
from aigateway.secret import Secret
from aigateway.signatures import SignatureStore
from aigateway.simulator.service import SimulatorSite
from aigateway.sse import Frame, SSEDecoder
from aigateway.state import State
from aigateway.stats import StatsService
from aigateway.upstream import Upstream
from aigateway.web import Gateway

GATEWAY_PORT = 8088
PROVIDER_PORT = 9001
EPOCH = 1_780_000_000.0
"""What the wall clock says when a test begins."""
AFTERWARDS = 200.0
"""Seconds after which even an idle connection is closed."""
TURNS = 10_000
"""More turns than this without time passing are a loop without end."""


# ------------------------------------------------------------------- connections


@implementer(ITCPTransport, IPushProducer)
class End:
    """One end of a connection: the transport of one protocol.

    As Twisted's own, it pauses its producer above 64 KiB of what the other end has not read,
    and resumes it when all of that is gone; a closed connection is noticed by reading.
    """

    BUFFER = 64 * 1024

    def __init__(self, address: IPv4Address, peer_address: IPv4Address) -> None:
        self._addresses = address, peer_address
        self.peer: End
        self.protocol: Any = None
        self.lost = False
        self.dataBuffer = b""
        self.offset = 0
        self.paused = False
        self.disconnecting = False
        self.half_closed = False
        self.aborted = False
        self.producer: Any = None
        self.producer_paused = False
        self.streaming = False
        self.allowance: int | None = None
        """How many bytes this end reads yet; None: whatever comes."""
        self.told_eof = False

    # ITransport

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes), data
        if self.lost or self.aborted or self.peer.told_eof:
            return  # until then what is written after a close goes out all the same
        self.dataBuffer += data
        if self.streaming and len(self.dataBuffer) > self.BUFFER:
            self.producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = True

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        if not self.lost:
            self.aborted = self.disconnecting = True
            self.dataBuffer = b""

    def getHost(self) -> IPv4Address:
        return self._addresses[0]

    def getPeer(self) -> IPv4Address:
        return self._addresses[1]

    def getHandle(self) -> Handle:
        if self.lost:
            raise AttributeError("a connection that is lost has no socket any more, as Twisted's have none")
        return Handle(self.peer)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed."""

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing needs to be kept alive."""

    def getTcpKeepAlive(self) -> bool:
        return False

    # IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None, "a producer is registered already"
        self.producer, self.streaming = producer, streaming
        if self.lost:
            producer.stopProducing()
        elif not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        self.producer_paused = self.streaming = False

    # IPushProducer

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    # what the network does

    def turn(self) -> bool:
        """What a turn of the reactor does to this end; whether that was anything."""
        if self.lost:
            return False
        if self.aborted:
            self.fall(error.ConnectionAborted())
            return True
        peer = self.peer
        noticed = not self.paused or self.dataBuffer  # else it is in no set of the reactor's
        if (peer.aborted and noticed) or (peer.lost and self.dataBuffer):
            self.fall(error.ConnectionLost())
            return True
        if self._read():
            return True
        if self.dataBuffer:
            return False
        if self.producer is not None and (self.producer_paused or not self.streaming):
            self.producer_paused = False
            self.producer.resumeProducing()
            return True
        if self.disconnecting:
            self.fall(error.ConnectionDone())
            return True
        return False

    def _read(self) -> bool:
        """Read what the other end has written, or that it will write no more."""
        peer = self.peer
        if self.paused or self.disconnecting:
            return False
        if peer.dataBuffer:
            count = len(peer.dataBuffer) if self.allowance is None else self.allowance
            data, peer.dataBuffer = peer.dataBuffer[:count], peer.dataBuffer[count:]
            if self.allowance is not None:
                self.allowance -= len(data)
            if data:
                self.protocol.dataReceived(data)
            return bool(data)
        if peer.lost:
            self.fall(error.ConnectionDone())
            return True
        if peer.half_closed and not self.told_eof:
            self.told_eof = True
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.readConnectionLost()
            else:
                self.loseConnection()
            return True
        return False

    def fall(self, reason: Exception) -> None:
        self.lost = self.disconnecting = True
        producer, self.producer = self.producer, None
        self.streaming = False
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))


class Handle:
    """The socket of an end: shows what ``peer`` has written and nobody has read yet."""

    family = AF_UNIX  # which has none of TCP's options

    def __init__(self, peer: End) -> None:
        self._peer = peer

    def recv(self, count: int, flags: int) -> bytes:
        assert flags == MSG_PEEK, flags
        if not self._peer.dataBuffer:
            raise BlockingIOError
        return self._peer.dataBuffer[:count]


@implementer(IListeningPort)
class Port:
    def __init__(self, network: Network, number: int, factory: Factory) -> None:
        self._network = network
        self._number = number
        self.factory = factory

    def startListening(self) -> None:
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        if self._network.ports.pop(self._number, None) is not None:
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self._number)


class Connector:
    """An attempt to connect, as a client factory sees it."""

    def __init__(self, network: Network, host: str, port: int, factory: Any) -> None:
        self._factory = factory
        self._network = network
        self._address = IPv4Address("TCP", host, port)
        factory.doStart()
        factory.startedConnecting(self)
        black_hole = port in network.black_holes
        self._attempt = None if black_hole else network.callLater(0, self._connect)

    def getDestination(self) -> IPv4Address:
        return self._address

    def stopConnecting(self) -> None:
        if self._attempt is not None and self._attempt.active():
            self._attempt.cancel()
        self._fail(error.UserError())

    def _connect(self) -> None:
        port = self._network.ports.get(self._address.port)
        if port is None:
            self._fail(error.ConnectionRefusedError())
            return
        protocol = self._factory.buildProtocol(self._address)
        if protocol is not None:
            self._network.join(protocol, port)

    def _fail(self, reason: Exception) -> None:
        self._factory.clientConnectionFailed(self, Failure(reason))
        self._factory.doStop()


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows every name but those that end in ``.invalid``."""

    def resolveHostName(  # its last arguments are never given here
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *_: object
    ) -> IHostResolution:
        resolution: Any = None  # nobody asks for it
        resolutionReceiver.resolutionBegan(resolution)
        if not hostName.endswith(".invalid"):
            resolutionReceiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        resolutionReceiver.resolutionComplete()
        return cast(IHostResolution, resolution)


class Network(MemoryReactorClock):
    """A reactor whose connections are in memory. Nothing moves but in `advance` and `flush`.

    ``black_holes`` are ports where connections are neither taken nor refused; ``joined`` are
    the connections so far, as pairs of the connecting and the accepting end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = Names()
        self.ports: dict[int, Port] = {}
        self.black_holes: set[int] = set()
        self.joined: list[tuple[End, End]] = []
        self._next_port = 40_000

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port == 0:
            port = self._next_port = self._next_port + 1
        assert port not in self.ports, f"port {port} is taken"
        self.tcpServers.append((port, factory, backlog, interface))
        listening = self.ports[port] = Port(self, port, factory)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        return Connector(self, host, port, factory)

    def connect(self, port: int) -> Client:
        """A client's connection to ``port``."""
        client = Client(self)
        self.join(client, self.ports[port])
        return client

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:
        self.callLater(0, callable, *args)

    def close_ports(self) -> None:
        for port in list(self.ports.values()):
            port.stopListening()

    def join(self, protocol: Any, port: Port) -> None:
        near, far = IPv4Address("TCP", "127.0.0.1", 50_000 + len(self.joined)), port.getHost()
        ends = End(near, far), End(far, near)
        ends[0].peer, ends[1].peer = ends[1], ends[0]
        self.joined.append(ends)
        ends[0].protocol, ends[1].protocol = protocol, port.factory.buildProtocol(near)
        for end in reversed(ends):
            end.protocol.makeConnection(end)

    def advance(self, amount: float) -> None:
        """Let time pass, step by step, with all that happens at each."""
        end = self.rightNow + amount
        self.flush()
        while self.calls and (due := min(call.getTime() for call in self.calls)) <= end:
            self.rightNow = max(due, self.rightNow)
            self.flush()
        self.rightNow = end
        self.flush()

    def flush(self) -> None:
        """All that happens without time passing."""
        for _ in range(TURNS):
            Clock.advance(self, 0)
            moved = [end for ends in self.joined for end in ends if end.turn()]
            if not moved and not any(call.getTime() <= self.rightNow for call in self.calls):
                return
        raise AssertionError("it never comes to rest")


# ----------------------------------------------------------------------- clients


class Answer(msgspec.Struct):
    """A response as far as it has come. ``whole``: up to HTTP's own end marker. ``interim``
    are the 1xx statuses before it."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    interim: tuple[int, ...] = ()

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def frames(self) -> list[Frame]:
        return SSEDecoder().feed(self.body)

    def events(self) -> list[str]:
        """The names of the frames of a Claude stream, in short: text deltas are one."""
        names: list[str] = []
        for frame in self.frames():
            name = frame.event.decode()
            if not names or names[-1] != name:
                names.append(name)
        return names

    def text(self) -> str:
        """The text of a stream, of either dialect."""
        return "".join(_text(frame) for frame in self.frames())


def _text(frame: Frame) -> str:
    if frame.data == b"[DONE]":
        return ""
    value = msgspec.json.decode(frame.data)
    if "choices" in value:
        return "".join(choice["delta"].get("content") or "" for choice in value["choices"])
    return str(value.get("delta", {}).get("text", ""))


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """A client of the gateway. ``received`` is every byte; ``ended``: the other side will
    send no more; ``lost`` is how the connection went."""

    transport: Any

    def __init__(self, network: Network) -> None:
        self._network = network
        self.received = b""
        self.ended = False
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None:
        """This side never ends before the other."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.ended = True
        self.lost = reason

    def send(self, data: bytes) -> None:
        self.transport.write(data)
        self._network.flush()

    def ask(
        self,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        body: object = None,
        headers: Sequence[tuple[str, str]] = (),
        *,
        version: str = "1.1",
    ) -> None:
        """Send one request. ``body`` is bytes, or a value to be sent as JSON."""
        self.send(request_bytes(method, path, body, headers, version=version))

    def leave(self) -> None:
        self.transport.abortConnection()
        self._network.flush()

    def read(self, count: int | None) -> None:
        """Read ``count`` bytes more, and then no more; whatever comes if it is None."""
        self.transport.allowance = count
        self._network.flush()

    def answers(self, *methods: str) -> list[Answer]:
        """The responses so far, by h11. ``methods`` are those of the requests, where one is
        HEAD. Raises where they are not well-formed."""
        found: list[Answer] = []
        rest = self.received
        while rest:
            method = methods[len(found)] if len(found) < len(methods) else "GET"
            answer, rest = _parse(method, rest, self.ended)
            found.append(answer)
        return found

    def answer(self, *methods: str) -> Answer:
        """The one response."""
        (answer,) = self.answers(*methods)
        return answer


def _parse(method: str, data: bytes, ended: bool) -> tuple[Answer, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "localhost")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    interim: list[int] = []
    answer: Answer | None = None
    body = bytearray()
    whole = False
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            if not ended or answer is None:
                raise
            break  # the end of the connection, short of the end of the message
        if event is h11.NEED_DATA and ended and not whole:
            ended_now = connection.their_state is h11.SEND_BODY or answer is None
            if not ended_now:
                break
            connection.receive_data(b"")
            continue
        if isinstance(event, h11.InformationalResponse):
            interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            headers = {name.decode(): value.decode() for name, value in event.headers}
            answer = Answer(event.status_code, headers, b"", False)
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            whole = True
            break
        else:
            break
    if answer is None:
        return Answer(0, {}, b"", False, tuple(interim)), b""
    answer.body, answer.whole, answer.interim = bytes(body), whole, tuple(interim)
    return answer, connection.trailing_data[0] if whole else b""


def request_bytes(
    method: str,
    path: str,
    body: object = None,
    headers: Sequence[tuple[str, str]] = (),
    *,
    version: str = "1.1",
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}"]
    names = {name.lower() for name, _ in headers}
    if "host" not in names:
        lines.append("Host: localhost:8088")
    lines += [f"{name}: {value}" for name, value in headers]
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        if "content-type" not in names:
            lines.append("Content-Type: application/json")
        if "content-length" not in names:
            lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode() + data


def chat(text: str = "Count to 5", model: str = "gpt-4", *, stream: bool = True, **more: object) -> Any:
    """The body of a request."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **more}


# --------------------------------------------------------------------- providers


class Asked:
    """One request that has reached a provider; the test answers it."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.body = msgspec.json.decode(self.request.content.read() or b"null")
        self.transport: End = self.request.channel.transport
        self.left = False
        request.notifyFinish().addErrback(self._client_left)

    def _client_left(self, reason: Failure) -> None:
        self.left = True

    @property
    def aborted(self) -> bool:
        """Whether the gateway has thrown the connection away."""
        return self.transport.peer.aborted

    @property
    def read_from(self) -> bool:
        """Whether the gateway goes on reading."""
        return not self.transport.peer.paused

    @property
    def account(self) -> str:
        """The API key that it came with."""
        value: str = self.request.getHeader("authorization") or ""
        return value.removeprefix("Bearer ")

    def head(self, status: int = 200, **headers: str) -> None:
        """Send the response's head alone."""
        self.request.setResponseCode(status)
        if "content_type" not in headers:
            headers["content_type"] = "text/event-stream"
        for name, value in headers.items():
            self.request.setHeader(name.replace("_", "-"), value)
        self.request.write(b"")

    def write(self, *pieces: bytes) -> None:
        """Send ``pieces`` in one write."""
        self.request.write(b"".join(pieces))

    def finish(self, *pieces: bytes) -> None:
        if pieces:
            self.write(*pieces)
        self.request.finish()

    def respond(self, body: bytes, status: int = 200, **headers: str) -> None:
        """A whole response, with its length."""
        headers = {"content_type": "application/json", "content_length": str(len(body))} | headers
        self.head(status, **headers)
        self.finish(body)

    def cut(self) -> None:
        """Close the connection, whatever was sent so far."""
        self.transport.loseConnection()


class FakeProvider(Resource):
    """A provider that holds every request open until the test answers it."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def render(self, request: Any) -> int:
        self.asked.append(Asked(request))
        return NOT_DONE_YET


class Raw(Protocol):
    """A server of bytes. Each connection is in its factory's ``made``."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = reason


class RawServer(Factory):
    noisy = False

    def __init__(self) -> None:
        self.made: list[Raw] = []

    def buildProtocol(self, addr: object) -> Raw:
        protocol = Raw()
        self.made.append(protocol)
        return protocol


def chunk(text: str | None = None, finish: str | None = None) -> bytes:
    """One frame of an OpenAI stream."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % msgspec.json.encode(
        {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4", "choices": [choice]}
    )


STOP = chunk(finish="stop")
DONE = b"data: [DONE]\n\n"


def usage_chunk(prompt: int, completion: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return b"data: %b\n\n" % msgspec.json.encode({"id": "c1", "choices": [], "usage": usage})


def whole_reply(text: str) -> bytes:
    """A whole OpenAI answer."""
    message = {"role": "assistant", "content": text}
    return msgspec.json.encode(
        {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
    )


def error_body(message: str, type: str = "invalid_request_error", code: str | None = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": type, "param": None, "code": code}})


# ------------------------------------------------------------------- the gateway


def account(name: str) -> Account:
    return Account(name=name, api_key=Secret(f"sk-secret-{name}"))


def provider(
    name: str = "openai",
    *,
    port: int = PROVIDER_PORT,
    accounts: Sequence[str] = ("one",),
    models: Sequence[str] = ("gpt-4",),
    **more: Any,
) -> Provider:
    """A provider of OpenAI's kind at ``port``."""
    return Provider(
        name=name,
        **{
            "kind": "openai",
            "base_urls": (f"http://127.0.0.1:{port}/v1",),
            "accounts": tuple(account(one) for one in accounts),
            "models": tuple(models),
        }
        | more,
    )


def config(*providers: Provider, **more: Any) -> Config:
    return Config(providers={one.name: one for one in providers or (provider(),)}, **more)


class GatewayTestCase(SynchronousTestCase):
    """The whole gateway on a `Network`, its port at `GATEWAY_PORT`.

    ``self.provider`` is a `FakeProvider` at `PROVIDER_PORT`. When a test ends nothing may be
    left under way: no timer, no open request, no gauge that is not back at 0.
    """

    stats_type = StatsService
    chance = 0.0
    """What chance says: nobody waits before asking again."""

    def setUp(self) -> None:
        self.network = Network()
        self.provider = FakeProvider()
        self.serve(self.provider)
        self.logged: list[str] = []
        self.started = False
        observer = cast(ILogObserver, self._note_log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def tearDown(self) -> None:
        """Everybody leaves, and after a while nothing is left of it."""
        for near, _ in self.network.joined:
            if isinstance(near.protocol, Client):
                near.abortConnection()
        self.network.close_ports()
        self.advance(AFTERWARDS)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual([end for ends in self.network.joined for end in ends if not end.lost], [])
        if self.started:
            self.assert_idle()

    def folder(self) -> Path:
        """A folder of the test's own, which is gone when it ends. (pytest would leave ``mktemp``'s.)"""
        made = TemporaryDirectory()
        self.addCleanup(made.cleanup)
        return Path(made.name)

    def _note_log(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        traceback = "" if failure is None else failure.getTraceback()
        self.logged.append(formatEvent(event) + traceback)

    def serve(self, resource: Any, port: int = PROVIDER_PORT) -> None:
        self.network.listenTCP(port, SimulatorSite(resource, self.network))

    def wall(self) -> float:
        return EPOCH + self.network.seconds()

    def start(self, configuration: Config | None = None, state: State | None = None) -> None:
        self.started = True
        configuration = configuration or config()
        network = self.network
        self.stats = self.stats_type(network, summary_interval=0, wall=self.wall)
        upstream = Upstream(network, configuration.limits)
        self.credentials = Credentials(upstream, configuration.timeouts, network)
        self.signatures = SignatureStore()
        router = Router(configuration)
        attempts = Attempts(
            configuration,
            router,
            upstream,
            self.credentials,
            self.signatures,
            self.stats,
            network,
            self.wall,
            chance=lambda: self.chance,
        )
        self.executor = Executor(attempts, upstream, configuration.drain, network)
        state = state or State(None, self.signatures, network, wall=self.wall)
        self.gateway = Gateway(
            configuration, router, self.executor, self.stats, state, network, self.wall, on_the_spot()
        )
        network.listenTCP(GATEWAY_PORT, self.gateway.site)

    def client(self) -> Client:
        return self.network.connect(GATEWAY_PORT)

    def ask(self, body: object = None, *, path: str = "/v1/chat/completions", **more: Any) -> Client:
        """A client that has sent one request on a connection of its own."""
        client = self.client()
        client.ask(more.pop("method", "POST"), path, chat() if body is None else body, **more)
        return client

    def streaming(self, body: object = None, **more: Any) -> tuple[Client, Asked]:
        """A client, and what has reached the provider of its request."""
        before = len(self.provider.asked)
        client = self.ask(body, **more)
        self.assertEqual(len(self.provider.asked), before + 1, client.received)
        return client, self.provider.asked[-1]

    def tell(self, asked: Asked, *pieces: bytes) -> None:
        """Let a provider write ``pieces``, and the network carry them."""
        asked.write(*pieces)
        self.network.flush()

    def advance(self, seconds: float) -> None:
        self.network.advance(seconds)

    @property
    def outcomes(self) -> list[Outcome]:
        return list(self.stats.stats.recent)

    def outcome(self) -> Outcome:
        """The one outcome so far."""
        self.assertEqual(len(self.outcomes), 1, self.outcomes)
        return self.outcomes[0]

    def assert_idle(self) -> None:
        """Nothing is under way: every gauge is at 0, and none has ever lied."""
        stats = self.stats.stats
        self.assertEqual(stats.open_requests, 0)
        self.assertEqual(stats.totals.attempts_open, 0)
        self.assertEqual(stats.unmatched_ends, 0)

    def assert_error(self, answer: Answer, status: int, type: str) -> str:
        """``answer`` is an error of the Claude dialect; its message."""
        self.assertEqual(answer.status, status, answer.body)
        told = answer.json()
        self.assertEqual(told["type"], "error")
        self.assertEqual(told["error"]["type"], type)
        message: str = told["error"]["message"]
        return message


Canned = Callable[[Asked], None]


class Scripted(Resource):
    """A provider that answers its requests by ``script``, one after the other; the last
    one again and again. ``accounts`` are the keys that they came with."""

    isLeaf = True

    def __init__(self, *script: Canned) -> None:
        super().__init__()
        self._script = script
        self.asked: list[Asked] = []

    @property
    def accounts(self) -> list[str]:
        return [one.account.removeprefix("sk-secret-") for one in self.asked]

    def render(self, request: Any) -> int:
        asked = Asked(request)
        self.asked.append(asked)
        self._script[min(len(self.asked), len(self._script)) - 1](asked)
        return NOT_DONE_YET


def answers(text: str = "hello") -> Canned:
    """Answer as asked, streamed or whole."""

    def answer(asked: Asked) -> None:
        if asked.body.get("stream"):
            asked.head()
            asked.finish(chunk(text), STOP, usage_chunk(3, 2), DONE)
        else:
            asked.respond(whole_reply(text))

    return answer


def refuses(status: int, body: bytes = b"", **headers: str) -> Canned:
    def answer(asked: Asked) -> None:
        asked.respond(body or error_body(f"status {status}"), status, **headers)

    return answer
