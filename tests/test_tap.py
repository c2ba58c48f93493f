"""``twistd aigateway``: its options, what it composes, and how that starts and stops."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet.error import CannotListenError
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from aigateway import __version__
from aigateway.channel import LINGER
from aigateway.config import Config, Limits
from aigateway.providers import KINDS
from aigateway.tap import GatewayService, Options, compose

from .fakes import (
    DONE,
    GATEWAY_PORT,
    STOP,
    Asked,
    Client,
    GatewayTestCase,
    chat,
    chunk,
    config,
    provider,
    request_bytes,
)
from .test_offload import Threads

IDLE = Config().drain_idle
TOML = """
[gateway]
listen = "tcp:9999:interface=127.0.0.1"

[providers.openai]
accounts = [{ name = "main", api_key = "sk-from-file" }]
"""


class OptionsTestCase(SynchronousTestCase):
    """In an empty directory, with an empty environment."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        before = os.getcwd()
        os.chdir(folder.name)
        self.addCleanup(os.chdir, before)
        self.patch(os, "environ", {})

    def config(self, *arguments: str) -> Config:
        options = Options()
        options.parseOptions(list(arguments))
        return options.config

    def refusal(self, *arguments: str) -> list[str]:
        """The lines with which it ends."""
        stopped = self.assertRaises(SystemExit, self.config, *arguments)
        return str(stopped.code).splitlines()


class OptionsTests(OptionsTestCase):
    def test_nothing_configured(self) -> None:
        """It explains itself in three lines, and exits non-zero."""
        lines = self.refusal()
        self.assertEqual(len(lines), 3)
        words = "twistd -n aigateway --demo", "OPENAI_API_KEY", "aigateway.toml"
        for line, word in zip(lines, words, strict=True):
            self.assertIn(word, line)
            self.assertLess(len(line), 120)

    def test_mistakes(self) -> None:
        """Every mistake in the file is told, a line each, and nothing starts."""
        mistakes = '[gatewey]\nx = 1\n[[routes]]\nmodel = "x"\ntargets = ["opnai"]\n'
        Path("aigateway.toml").write_text(TOML + mistakes)
        lines = self.refusal()
        self.assertEqual(len(lines), 2)
        self.assertTrue(all(line.startswith("aigateway.toml:") for line in lines), lines)

    def test_a_demonstration_is_for_this_machine(self) -> None:
        """Its port, too, is refused where others could reach it, or where it is no port."""
        for listen in ("tcp:8092", "tcp:8092:interface=0.0.0.0", "8093", "nonsense", ""):
            with self.subTest(listen):
                (line,) = self.refusal("--demo", "--listen", listen)
                self.assertTrue(line.startswith("--listen: "), line)

    def test_a_file_in_the_working_directory(self) -> None:
        """It is read without being named."""
        Path("aigateway.toml").write_text(TOML)
        found = self.config()
        self.assertEqual((found.listen, list(found.providers)), ("tcp:9999:interface=127.0.0.1", ["openai"]))

    def test_a_named_file(self) -> None:
        """``--config`` names another, which has to be there."""
        Path("other.toml").write_text(TOML)
        self.assertEqual(list(self.config("--config", "other.toml").providers), ["openai"])
        (line,) = self.refusal("-c", "missing.toml")
        self.assertIn("missing.toml", line)

    def test_the_environment(self) -> None:
        """A key there is enough."""
        os.environ["OPENAI_API_KEY"] = "sk-from-environment"
        os.environ["ZAI_API_KEY"] = "zai-from-environment"
        found = self.config()
        self.assertEqual(list(found.providers), ["openai", "glm"])
        self.assertEqual(found.listen, Config().listen)

    def test_listen(self) -> None:
        """``--listen`` wins over the file and the default."""
        Path("aigateway.toml").write_text(TOML)
        listen = "tcp:7000:interface=127.0.0.1"
        for option in ("--listen", "-l"):
            self.assertEqual(self.config(option, listen).listen, listen)
            self.assertEqual(self.config("--demo", option, listen).listen, listen)

    def test_demo_ignores_files_and_keys(self) -> None:
        """``--demo`` never asks a real provider, whatever is configured."""
        Path("aigateway.toml").write_text("this is not TOML")
        os.environ["OPENAI_API_KEY"] = "sk-from-environment"
        found = self.config("--demo")
        self.assertTrue(found.demo)
        self.assertEqual(dict(found.providers), {})
        self.assertEqual(found.secrets(), frozenset())

    def test_version(self) -> None:
        """``--version`` prints it and exits well."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        stopped = self.assertRaises(SystemExit, self.config, "--version")
        self.assertEqual((stopped.code, out.getvalue()), (0, f"aigateway {__version__}\n"))

    def test_unknown_options(self) -> None:
        """They are refused."""
        self.assertRaises(UsageError, self.config, "--prot", "1")
        self.assertRaises(UsageError, self.config, "extra")


class PluginTests(SynchronousTestCase):
    def test_twistd_knows_it(self) -> None:
        """The plugin names this module, which has what ``twistd`` looks for."""
        (maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "aigateway"]
        self.assertIs(maker.options, Options)
        self.assertTrue(callable(maker.makeService))


class ServiceTestCase(GatewayTestCase):
    """The composed service instead of parts put together by the test."""

    def compose(self, configuration: Config) -> GatewayService:
        self.service = compose(configuration, self.network)
        self.stats = self.service.stats
        self.executor = self.service.executor
        self.gateway = self.service.gateway
        self.started = True
        return self.service

    def start_service(self, configuration: Config | None = None) -> None:
        service = self.compose(configuration or config(provider(accounts=("one", "two"))))
        service.privilegedStartService()
        service.startService()

    def stop(self) -> Any:
        stopped = self.service.stopService()
        self.network.flush()
        return stopped

    def assert_stops(self) -> None:
        """It stops, once kept connections have been idle for long enough."""
        stopped = self.stop()
        self.advance(IDLE)
        self.successResultOf(stopped)

    def answer(self, asked: Asked, text: str = "hi") -> None:
        asked.head()
        asked.finish(chunk(text), STOP, DONE)
        self.network.flush()


class StartTests(ServiceTestCase):
    def test_nothing_listens_before_it_starts(self) -> None:
        """Composing opens no port; starting opens the one, with a long backlog."""
        self.compose(config())
        self.assertNotIn(GATEWAY_PORT, self.network.ports)
        self.service.privilegedStartService()
        self.service.startService()
        (opened,) = [server for server in self.network.tcpServers if server[0] == GATEWAY_PORT]
        self.assertEqual(opened[2:], (1024, "127.0.0.1"))
        self.assert_stops()

    def test_a_backlog_of_one_s_own(self) -> None:
        """An endpoint that names its backlog keeps it."""
        self.compose(config(listen="tcp:8088:interface=127.0.0.1:backlog=7"))
        self.service.privilegedStartService()
        self.service.startService()
        (opened,) = [server for server in self.network.tcpServers if server[0] == GATEWAY_PORT]
        self.assertEqual(opened[2], 7)
        self.assert_stops()

    def test_what_it_says(self) -> None:
        """One line: where it listens, for which providers, and where that is from; then what
        the operator should know."""
        self.start_service(config(provider(), origin="aigateway.toml", notes=("mind the gap",)))
        (line,) = [line for line in self.logged if "listens on" in line]
        for word in (__version__, "tcp:8088", "openai", "aigateway.toml"):
            self.assertIn(word, line)
        self.assertIn("mind the gap", self.logged)
        self.assertNotIn("sk-secret-one", "".join(self.logged))
        self.assert_stops()

    def test_a_port_that_is_taken(self) -> None:
        """It ends with one line that says so, not with a traceback."""
        network = self.network

        def taken(port: int, *arguments: Any, **more: Any) -> Any:
            raise CannotListenError("127.0.0.1", port, OSError(98, "Address already in use"))

        network.listenTCP = taken  # type: ignore[method-assign]
        self.compose(config())
        stopped = self.assertRaises(SystemExit, self.service.privilegedStartService)
        self.assertEqual(
            stopped.code, "cannot listen on tcp:8088:interface=127.0.0.1: Address already in use"
        )

    def test_it_answers(self) -> None:
        """What was composed serves."""
        self.start_service()
        client, asked = self.streaming()
        self.answer(asked)
        self.assertEqual(client.answer().text(), "hi")
        self.assert_stops()


class DemoTests(ServiceTestCase):
    def test_the_three_models(self) -> None:
        """With ``--demo`` each of the three simulated providers counts to five, over its own
        wire format, and says that it is simulated."""
        options = Options()
        options.parseOptions(["--demo"])
        self.start_service(options.config)
        for model, text in (
            ("gpt-4", "Count to 5"),
            ("glm-4", "数到5"),
            ("gemini-2.0-flash-exp", "Count to 5"),
        ):
            with self.subTest(model):
                client = self.ask(chat(text, model))
                self.advance(5)
                answer = client.answer()
                self.assertEqual(answer.headers["x-aigateway-simulated"], "true")
                self.assertTrue(answer.whole)
                for number in "12345":
                    self.assertIn(number, answer.text())
                self.assertEqual(answer.events()[-1], "message_stop")
                self.assertTrue(self.outcomes[-1].simulated)
        health = self.ask(b"", path="/stats", method="GET").answer().json()["health"]
        self.assertEqual(set(health), set(KINDS))
        self.assert_stops()
        self.assertEqual(self.network.ports, {9001: self.network.ports[9001]})

    def test_its_models_are_listed(self) -> None:
        """So that a client can choose one."""
        options = Options()
        options.parseOptions(["--demo"])
        self.start_service(options.config)
        listed = self.ask(b"", path="/v1/models", method="GET").answer().json()["data"]
        self.assertLessEqual({"gpt-4", "glm-4", "gemini-2.0-flash-exp"}, {model["id"] for model in listed})
        self.assert_stops()


class StopTests(ServiceTestCase):
    def health(self, client: Client) -> int:
        client.ask("GET", "/health")
        return client.answers()[-1].status

    def test_the_order(self) -> None:
        """``/health`` says so at once; after ``drain_delay`` the port is closed; open streams
        finish; the stats come last."""
        self.start_service(config(provider(accounts=("one", "two")), drain_delay=5.0, drain=30.0))
        self.assertEqual(self.health(self.client()), 200)
        client, asked = self.streaming()
        stopped = self.stop()
        self.assertEqual(self.health(self.client()), 503)
        self.assertIn(GATEWAY_PORT, self.network.ports)
        self.advance(5)
        self.assertNotIn(GATEWAY_PORT, self.network.ports)
        self.assertIsNone(client.lost)
        self.assertNoResult(stopped)
        self.answer(asked)
        self.advance(IDLE)
        self.successResultOf(stopped)
        self.assertTrue(client.answer().whole)
        last, summary = self.logged[-2:]
        self.assertIn(" ok 200", last)
        self.assertIn("Since the start: 1 requests", summary)

    def test_whoever_still_comes_is_served(self) -> None:
        """While the port is yet open, whoever has not heard of the end is answered, and told
        that this was the last answer on the connection."""
        self.start_service(config(provider(accounts=("one", "two")), drain_delay=5.0))
        stopped = self.stop()
        client, asked = self.streaming()
        self.answer(asked)
        answer = client.answer()
        self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
        self.assertTrue(answer.whole)
        self.assertIsNotNone(client.lost)
        self.advance(5)
        self.successResultOf(stopped)

    def test_the_port_closes_at_once_by_default(self) -> None:
        """Without ``drain_delay`` nobody new comes in."""
        self.start_service()
        _, asked = self.streaming()
        stopped = self.stop()
        self.assertNotIn(GATEWAY_PORT, self.network.ports)
        self.assertNoResult(stopped)
        self.answer(asked)
        self.successResultOf(stopped)

    def test_a_request_on_a_kept_connection(self) -> None:
        """It is served like any other, once: a client that was not told that the connection is
        about to close has nowhere else to ask without failing first."""
        self.start_service()
        kept = self.client()
        self.assertEqual(self.health(kept), 200)
        stopped = self.stop()
        self.advance(IDLE - 1)
        self.assertIsNone(kept.lost)
        kept.ask("POST", "/v1/chat/completions", chat())
        self.answer(self.provider.asked[-1])
        last = kept.answers()[-1]
        self.assertEqual((last.status, last.headers["connection"], last.text()), (200, "close", "hi"))
        self.assertIsNotNone(kept.lost)
        self.successResultOf(stopped)

    def test_an_idle_connection(self) -> None:
        """On which nothing comes for ``drain_idle`` seconds, it is closed, and holds nobody."""
        self.start_service()
        kept, new = self.client(), self.client()
        self.health(kept)
        stopped = self.stop()
        self.advance(IDLE - 0.1)
        self.assertEqual((kept.lost, new.lost), (None, None))
        self.assertNoResult(stopped)
        self.advance(0.1)
        self.assertNotIn(None, (kept.lost, new.lost))
        self.successResultOf(stopped)

    def test_a_slow_upload(self) -> None:
        """A request that is being sent is waited for by its own deadlines, not by those of an
        idle connection."""
        self.start_service()
        kept = self.client()
        body = request_bytes("POST", "/v1/chat/completions", chat())
        stopped = self.stop()
        kept.send(body[:20])
        self.advance(IDLE + 1)
        kept.send(body[20:-20])
        self.advance(IDLE + 1)
        kept.send(body[-20:])
        self.answer(self.provider.asked[-1])
        self.assertEqual(kept.answer().status, 200)
        self.successResultOf(stopped)

    def test_after_a_stream(self) -> None:
        """A client whose answer began before the end of the gateway was known may ask once more
        on its connection, which is kept as long as an idle one."""
        self.start_service()
        client, asked = self.streaming()
        self.tell_first(asked)
        stopped = self.stop()
        self.advance(IDLE + 1)
        asked.finish(STOP, DONE)
        self.network.flush()
        self.assertIsNone(client.lost)
        self.assertEqual(self.health(client), 503)
        self.assertIsNotNone(client.lost)
        self.successResultOf(stopped)

    def test_what_is_left_after_drain_is_cut(self) -> None:
        """Then the service has stopped, whoever was still there; the stream has an error frame."""
        self.start_service()
        client, asked = self.streaming()
        self.tell_first(asked)
        stopped = self.stop()
        self.advance(29.9)
        self.assertNoResult(stopped)
        self.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual((client.answer().events()[-1], client.answer().whole), ("error", False))
        self.assertTrue(asked.aborted)
        self.assertEqual(self.outcomes[-1].result, "stopping")

    def test_heavy_work_is_not_waited_for(self) -> None:
        """Those who wait for heavy work are gone before its thread is ended: so it does what it is at, and
        none of what is queued behind that."""
        at_the_end: list[str] = []
        case = self

        class Stopped(Threads):
            def stop(self) -> None:
                at_the_end.extend(outcome.result for outcome in case.outcomes)

        self.start_service(config(drain=0.0, limits=Limits(offload=1)))
        threads = self.service._offload._threads = Stopped()
        self.ask()
        self.assertEqual(len(threads.jobs), 1)
        stopped = self.stop()
        self.advance(LINGER)
        self.successResultOf(stopped)
        self.assertEqual(at_the_end, ["client_left"])

    def test_without_a_drain(self) -> None:
        """``drain`` 0 ends everything at once, kept connections too."""
        self.start_service(config(provider(accounts=("one", "two")), drain=0.0))
        kept = self.client()
        self.health(kept)
        client, asked = self.streaming()
        self.tell_first(asked)
        self.successResultOf(self.stop())
        self.assertEqual(client.answer().events()[-1], "error")
        self.assertIsNotNone(kept.lost)

    def tell_first(self, asked: Asked) -> None:
        asked.head()
        self.tell(asked, chunk("hi"))

    def test_the_summary_is_on_a_timer(self) -> None:
        """While there is something to tell; and it ends with the service."""
        self.start_service(config(provider(accounts=("one", "two")), summary_interval=60.0))
        _, asked = self.streaming()
        self.answer(asked)
        self.advance(60)
        self.assertEqual(len([line for line in self.logged if "Since the start" in line]), 1)
        self.advance(60)
        self.assertEqual(len([line for line in self.logged if "Since the start" in line]), 1)
        self.assert_stops()
