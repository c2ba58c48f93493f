"""The HTTP client's plumbing: its pool, its request bodies, and what it leaves out."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource

from aigateway.agent import BytesBody, LeanClient, PooledAgent, make_pool
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


class LimitTests(TestCase):
    def test_the_pool_s_settings(self) -> None:
        """Nothing is sent twice behind our back, whatever the method."""
        pool: Any = make_pool(Network(), Limits(pool=7, pool_idle=9))
        self.assertFalse(pool.retryAutomatically)
        self.assertEqual((pool.maxPersistentPerHost, pool.cachedConnectionTimeout), (7, 9))
