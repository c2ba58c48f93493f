"""The HTTP client's plumbing: its pool, its request bodies, and what it leaves out."""

from __future__ import annotations

from typing import Any, cast
from unittest import TestCase

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource

from aigateway.agent import PIECE, BoundedClientProtocol, BytesBody, LeanClient, PooledAgent, make_pool
from aigateway.config import Limits, Timeouts
from aigateway.providers.base import UpstreamRequest
from aigateway.upstream import Upstream

from .fakes import AFTERWARDS, Network, RawServer

PORT = 9001
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class BytesBodyTests(SynchronousTestCase):
    def test_it_is_written_at_once(self) -> None:
        """In one piece, and it is done when `startProducing` returns."""
        body = BytesBody(b"x" * 100_000)
        transport: Any = StringTransport()
        done = body.startProducing(transport)
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual((body.length, len(transport.value())), (100_000, 100_000))

    def test_it_takes_no_notice(self) -> None:
        """A transport that is full holds it anyway: there is nothing to pause or stop."""
        body = BytesBody(b"x")
        body.pauseProducing()
        body.resumeProducing()
        body.stopProducing()

    def test_a_large_one_waits(self) -> None:
        """A large one goes out piece by piece, each when the transport asks for more, and is whole then."""
        data = b"0123456789" * (PIECE // 4)
        body = BytesBody(data)
        sent: list[bytes] = []

        class Full:
            """A transport that is full after each write."""

            def write(self, piece: bytes) -> None:
                sent.append(piece)
                body.pauseProducing()

        transport: Any = Full()
        done = body.startProducing(transport)
        self.assertEqual(len(sent), 1)
        body.resumeProducing()
        self.assertNoResult(done)
        self.assertEqual(len(sent), 2)
        body.resumeProducing()
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(b"".join(sent), data)

    def test_a_large_one_is_stopped(self) -> None:
        """Once the connection is gone, or the request is given up, no more of it is written."""
        for stop in (BytesBody.stopProducing, None):
            body = BytesBody(b"x" * (3 * PIECE))
            body.pauseProducing()
            transport: Any = StringTransport()
            done = body.startProducing(transport)
            if stop is None:
                done.cancel()
                self.failureResultOf(done, CancelledError)
            else:
                stop(body)
            body.resumeProducing()
            self.assertEqual(transport.value(), b"")


class LeanClientTests(SynchronousTestCase):
    def test_any_agent_serves(self) -> None:
        """An injected client is used for every request: treq's own test agent, say."""

        class Echo(Resource):
            isLeaf = True

            def render_POST(self, request: Any) -> bytes:
                data: bytes = request.content.read()
                return data.upper()

        agent = RequestTraversalAgent(Echo())
        upstream = Upstream(Network(), Limits(), client=LeanClient(agent))
        call = UpstreamRequest(b"http://provider.test/", (), b"hello")
        opened = upstream.open(call, Timeouts(), streamed=False, host="openai")
        agent.flush()
        response = self.successResultOf(opened)
        reading: Deferred[bytes] = Deferred.fromCoroutine(upstream.read(response, Timeouts(), host="openai"))
        agent.flush()
        self.assertEqual(self.successResultOf(reading), b"HELLO")


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.server = RawServer()
        self.network.listenTCP(PORT, self.server)

    def tearDown(self) -> None:
        self.network.close_ports()
        for raw in self.server.made:
            raw.transport.abortConnection()
        self.network.advance(AFTERWARDS)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def agent(self, limits: Limits) -> PooledAgent:
        return PooledAgent(self.network, make_pool(self.network, limits), 5.0)

    def ask(self, agent: PooledAgent, count: int = 1) -> None:
        """``count`` requests at the same time, each answered."""
        before = len(self.server.made)
        asked = [
            agent.request(b"POST", b"http://127.0.0.1:%d/" % PORT, Headers(), BytesBody(b"{}"))
            for _ in range(count)
        ]
        self.network.flush()
        waiting = [raw for raw in self.server.made if raw.received]
        self.assertEqual(len(waiting), count)
        for raw in waiting:
            raw.received = b""
            raw.transport.write(OK)
        self.network.flush()
        for one in asked:
            self.assertEqual(self.successResultOf(one).code, 200)
        self.made = len(self.server.made) - before

    def test_connections_are_kept(self) -> None:
        """As many as were used together, up to the limit."""
        agent = self.agent(Limits(pool=3))
        self.ask(agent, 5)
        self.assertEqual(self.made, 5)
        self.ask(agent, 5)
        self.assertEqual(self.made, 2)

    def test_none_are_kept(self) -> None:
        """With ``pool = 0`` each request has a connection of its own."""
        agent = self.agent(Limits(pool=0))
        for _ in range(2):
            self.ask(agent)
            self.assertEqual(self.made, 1)

    def test_they_are_not_kept_for_long(self) -> None:
        """After ``pool_idle`` seconds they are closed."""
        agent = self.agent(Limits(pool_idle=7))
        self.ask(agent)
        self.network.advance(6.9)
        self.assertIsNone(self.server.made[0].lost)
        self.network.advance(0.1)
        self.assertIsNotNone(self.server.made[0].lost)
        self.ask(agent)
        self.assertEqual(self.made, 1)

    def test_one_that_was_closed_is_not_used(self) -> None:
        """A provider that closes an idle connection is noticed."""
        agent = self.agent(Limits())
        self.ask(agent)
        self.server.made[0].transport.loseConnection()
        self.network.flush()
        self.ask(agent)
        self.assertEqual(self.made, 1)

    def test_one_that_has_something_to_say_is_not_used(self) -> None:
        """What came on it, even at the moment of the next request, is an answer to none: it is not
        taken for the one to that, which has a connection of its own."""
        agent = self.agent(Limits())
        self.ask(agent)
        self.server.made[0].transport.write(OK.replace(b"200 OK", b"403 No"))
        self.ask(agent)
        self.assertEqual(self.made, 1)
        self.assertIsNotNone(self.server.made[0].lost)


class Unanswering:
    """TLS whose other side never consents to a close."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.closing = False

    def loseConnection(self) -> None:
        self.closing = True

    def resumeProducing(self) -> None:
        """Nothing was paused."""


class ClosingTests(SynchronousTestCase):
    """Over TLS a close asks the other side; a kept connection does not wait for its answer."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.pool = make_pool(self.clock, Limits(pool=1, pool_idle=9))

    def kept(self) -> Unanswering:
        protocol, tls = BoundedClientProtocol(), Unanswering()
        protocol.makeConnection(cast(Any, tls))
        self.pool._putConnection("key", protocol)
        return tls

    def assert_closed(self, tls: Unanswering) -> None:
        self.assertTrue(tls.closing)
        self.assertTrue(tls.transport.disconnecting)

    def test_one_that_is_idle(self) -> None:
        """For ``pool_idle`` seconds."""
        tls = self.kept()
        self.clock.advance(9)
        self.assert_closed(tls)

    def test_one_too_many(self) -> None:
        """The oldest makes room for another."""
        oldest, latest = self.kept(), self.kept()
        self.assert_closed(oldest)
        self.assertFalse(latest.closing)

    def test_one_that_is_as_old_as_a_closed_one(self) -> None:
        """Those beside a stale one are dropped."""
        tls = self.kept()
        self.pool.drop("key")
        self.assert_closed(tls)

    def test_all_at_the_end(self) -> None:
        """When the gateway stops: else it would wait for ever."""
        tls = self.kept()
        self.pool.closeCachedConnections()
        self.assert_closed(tls)


class LimitTests(TestCase):
    def test_the_pool_s_settings(self) -> None:
        """Nothing is sent twice behind our back, whatever the method."""
        pool: Any = make_pool(Network(), Limits(pool=7, pool_idle=9))
        self.assertFalse(pool.retryAutomatically)
        self.assertEqual((pool.maxPersistentPerHost, pool.cachedConnectionTimeout), (7, 9))
