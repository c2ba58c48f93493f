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
from aigateway.config import Config
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
)

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
        self.successResultOf(self.stop())

    def test_a_backlog_of_one_s_own(self) -> None:
        """An endpoint that names its backlog keeps it."""
        self.compose(config(listen="tcp:8088:interface=127.0.0.1:backlog=7"))
        self.service.privilegedStartService()
        self.service.startService()
        (opened,) = [server for server in self.network.tcpServers if server[0] == GATEWAY_PORT]
        self.assertEqual(opened[2], 7)
        self.successResultOf(self.stop())

    def test_what_it_says(self) -> None:
        """One line: where it listens, for which providers, and where that is from; then what
        the operator should know."""
        self.start_service(config(provider(), origin="aigateway.toml", notes=("mind the gap",)))
        (line,) = [line for line in self.logged if "listens on" in line]
        for word in (__version__, "tcp:8088", "openai", "aigateway.toml"):
            self.assertIn(word, line)
        self.assertIn("mind the gap", self.logged)
        self.assertNotIn("sk-secret-one", "".join(self.logged))
        self.successResultOf(self.stop())

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
        self.successResultOf(self.stop())


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
        self.successResultOf(self.stop())
        self.assertEqual(self.network.ports, {9001: self.network.ports[9001]})

    def test_its_models_are_listed(self) -> None:
        """So that a client can choose one."""
        options = Options()
        options.parseOptions(["--demo"])
        self.start_service(options.config)
        listed = self.ask(b"", path="/v1/models", method="GET").answer().json()["data"]
        self.assertLessEqual({"gpt-4", "glm-4", "gemini-2.0-flash-exp"}, {model["id"] for model in listed})
        self.successResultOf(self.stop())


class StopTests(ServiceTestCase):
    def health(self, client: Client) -> int:
        client.ask("GET", "/health")
        return client.answers()[-1].status

    def test_the_order(self) -> None:
        """New work is refused and ``/health`` says so at once; after ``drain_delay`` the port is
        closed and idle connections are; open streams finish; the stats come last."""
        self.start_service(config(provider(accounts=("one", "two")), drain_delay=5.0, drain=30.0))
        idle = self.client()
        self.assertEqual(self.health(idle), 200)
        client, asked = self.streaming()
        stopped = self.stop()
        self.assertEqual(self.health(idle), 503)
        self.assertEqual(self.ask().answer().status, 503)
        self.assertIn(GATEWAY_PORT, self.network.ports)
        self.advance(5)
        self.assertNotIn(GATEWAY_PORT, self.network.ports)
        self.assertIsNotNone(idle.lost)
        self.assertIsNone(client.lost)
        self.assertNoResult(stopped)
        self.answer(asked)
        self.successResultOf(stopped)
        self.assertTrue(client.answer().whole)
        last, summary = self.logged[-2:]
        self.assertIn(" ok 200", last)
        self.assertIn("Since the start: 2 requests", summary)

    def test_the_port_closes_at_once_by_default(self) -> None:
        """Without ``drain_delay`` nobody new comes in."""
        self.start_service()
        client, asked = self.streaming()
        stopped = self.stop()
        self.assertNotIn(GATEWAY_PORT, self.network.ports)
        self.assertNoResult(stopped)
        self.answer(asked)
        self.successResultOf(stopped)
        self.assertEqual(client.answer().text(), "hi")

    def test_what_is_left_after_drain_is_cut(self) -> None:
        """Then the service has stopped, whoever was still there."""
        self.start_service()
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"))
        stopped = self.stop()
        self.advance(30)
        self.successResultOf(stopped)
        self.assertEqual((client.answer().events()[-1], client.answer().whole), ("error", False))
        self.assertTrue(asked.aborted)

    def test_a_kept_connection_is_closed_after_its_answer(self) -> None:
        """A client whose answer was the last one does not keep the port's end open."""
        self.start_service()
        client, asked = self.streaming()
        stopped = self.stop()
        self.answer(asked)
        self.successResultOf(stopped)
        self.assertIsNotNone(client.lost)

    def test_the_summary_is_on_a_timer(self) -> None:
        """While there is something to tell; and it ends with the service."""
        self.start_service(config(provider(accounts=("one", "two")), summary_interval=60.0))
        _, asked = self.streaming()
        self.answer(asked)
        self.advance(60)
        self.assertEqual(len([line for line in self.logged if "Since the start" in line]), 1)
        self.advance(60)
        self.assertEqual(len([line for line in self.logged if "Since the start" in line]), 1)
        self.successResultOf(self.stop())
