"""`aigateway.config`: what is read, what is refused and how it is said, what stays hidden."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import TestCase

import msgspec
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from aigateway.config import (
    Account,
    ClientKey,
    Config,
    ConfigError,
    Limits,
    NothingConfigured,
    Provider,
    Retries,
    Route,
    Target,
    Timeouts,
    load,
    parse,
)
from aigateway.config.lines import line_numbers
from aigateway.config.providers import SERVERS, TAKES
from aigateway.config.values import is_private
from aigateway.dialects.openai import servers
from aigateway.secret import Secret

OPENAI = '[providers.openai]\naccounts = [{ name = "main", api_key = "sk-literal" }]\n'
KEY = '[[keys]]\nname = "alice"\nkey = "client-key"\n'
DOCUMENT = Path(__file__).parent.parent / "docs" / "configuration.md"


def read(text: str, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
    files = {"secret.txt": "from-a-file\n", "empty.txt": "\n"}

    def read_file(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[path]

    return parse(text, environ or {}, origin="t.toml", read_file=read_file, **options)


def problems(text: str, environ: Mapping[str, str] | None = None, **options: Any) -> tuple[str, ...]:
    try:
        read(text, environ, **options)
    except ConfigError as error:
        return error.problems
    return ()


class Reading(TestCase):
    def test_every_section_is_read(self) -> None:
        """Gateway settings, limits, providers, routes and keys all reach their records."""
        config = read(
            r"""
            [gateway]
            listen = 'tcp6:8088:interface=\:\:1'
            strict = true
            state = "sqlite:////tmp/s.db"
            drain = 5
            hosts = ["GW.example.com", "::1"]
            [limits]
            max_headers = 7
            [providers.azure]
            kind = "openai"
            base_url = "https://x.example/openai/"
            accounts = [{ api_key = "env:K" }, { name = "b", api_key = "file:secret.txt" }]
            models = ["gpt-4o"]
            supports_streaming = false
            relay = "raw"
            headers = { X-Title = "ours", X-Extra = "env:K", X-Api-Token = "literal" }
            api_version = "2024-10-21"
            deployments = { gpt-4o = "mine" }
            [[routes]]
            model = "fast"
            targets = ["azure/a/b", "azure"]
            timeouts = { total = 60 }
            [[keys]]
            name = "alice"
            key = "client-key"
            dialect = "openai"
            models = ["fast"]
            """,
            {"K": "from-environment"},
        )
        self.assertEqual(config.listen, r"tcp6:8088:interface=\:\:1")
        self.assertEqual((config.strict, config.state, config.drain), (True, "sqlite:////tmp/s.db", 5.0))
        self.assertEqual(config.hosts, ("gw.example.com", "[::1]"))
        self.assertEqual(config.limits, Limits(max_headers=7))
        self.assertEqual(
            config.providers["azure"],
            Provider(
                name="azure",
                kind="openai",
                base_urls=("https://x.example/openai",),
                accounts=(
                    Account(name="1", api_key=Secret("from-environment")),
                    Account(name="b", api_key=Secret("from-a-file")),
                ),
                models=("gpt-4o",),
                supports_streaming=False,
                relay="raw",
                headers=(
                    ("X-Title", "ours"),
                    ("X-Extra", Secret("from-environment")),
                    ("X-Api-Token", Secret("literal")),
                ),
                api_version="2024-10-21",
                deployments={"gpt-4o": "mine"},
            ),
        )
        route = Route(
            model="fast", targets=(Target("azure", "a/b"), Target("azure")), timeouts={"total": 60.0}
        )
        self.assertEqual(config.routes, (route,))
        digest = hashlib.sha256(b"client-key").digest()
        key = ClientKey(name="alice", digest=digest, dialect="openai", models=("fast",))
        self.assertEqual(config.keys, (key,))
        self.assertEqual(config.origin, "t.toml")

    def test_a_provider_alone_is_enough(self) -> None:
        """All else has its default, and the kind is the table's name."""
        config = read(OPENAI)
        self.assertEqual(config.providers["openai"].kind, "openai")
        self.assertEqual(msgspec.structs.replace(config, providers={}, origin=""), Config())

    def test_a_route_overrides_its_provider_and_that_the_rest(self) -> None:
        """Each timeout comes from the innermost place that sets it."""
        config = read(
            "[timeouts]\nconnect = 1\nheaders = 1\nidle = 1\n"
            + OPENAI
            + "timeouts = { headers = 2, idle = 2 }\n"
            + '[[routes]]\nmodel = "a"\ntargets = ["openai"]\n[routes.timeouts]\nidle = 3\n'
            + '[[routes]]\nmodel = "b"\ntargets = ["openai"]\n'
        )
        provider = config.providers["openai"]
        expected = Timeouts(connect=1.0, headers=2.0, idle=3.0)
        self.assertEqual(config.timeouts_for(config.routes[0], provider), expected)
        self.assertEqual(config.timeouts_for(config.routes[1], provider), provider.timeouts)
        self.assertEqual(provider.timeouts, Timeouts(connect=1.0, headers=2.0, idle=2.0))

    def test_a_key_may_be_given_by_its_hash(self) -> None:
        """With or without ``sha256:``, the digest is that of the key."""
        digest = hashlib.sha256(b"client-key")
        for written in (digest.hexdigest(), f"sha256:{digest.hexdigest().upper()}"):
            config = read(f'{OPENAI}[[keys]]\nkey_hash = "{written}"\n')
            self.assertEqual(config.keys, (ClientKey(name="1", digest=digest.digest()),))

    def test_antigravity_takes_a_token_or_what_makes_one(self) -> None:
        """Each form of its credentials is read, and the client's id may come from outside."""
        config = read(
            "[providers.antigravity]\naccounts = [\n"
            '  { name = "a", access_token = "ya29.token", project = "p" },\n'
            '  { name = "b", refresh_token = "1//r", client_id = "env:ID", client_secret = "s-e-c" },\n]\n',
            {"ID": "id.apps"},
        )
        self.assertEqual(
            config.providers["antigravity"].accounts,
            (
                Account(name="a", access_token=Secret("ya29.token"), project="p"),
                Account(
                    name="b", refresh_token=Secret("1//r"), client_id="id.apps", client_secret=Secret("s-e-c")
                ),
            ),
        )
        secrets = {Secret("ya29.token"), Secret("1//r"), Secret("s-e-c")}
        self.assertEqual(config.secrets(), secrets)

    def test_what_is_right_and_yet_odd_is_noted(self) -> None:
        """A key sent in clear, and an open listener without hosts, are notes and no mistakes."""
        config = read('[gateway]\nlisten = "tcp:1"\n' + OPENAI + 'base_url = "http://llm.lan/v1"\n' + KEY)
        self.assertEqual(
            [note.split(":")[1:3] for note in config.notes],
            [["1", " gateway.hosts"], ["5", " providers.openai.base_url"]],
        )
        self.assertEqual(read(OPENAI + 'base_url = "http://localhost:11434/v1"\n').notes, ())


class Mistakes(TestCase):
    def test_all_are_told_at_once_with_their_place(self) -> None:
        """One reading finds every mistake, in file, line and key."""
        found = problems(
            "[gateway]\n"
            "lissten = 'tcp:1'\n"
            "strict = 1\n"
            "[timeouts]\n"
            "idle = -1\n"
            "[providers.openai]\n"
            "accounts = [{ name = 'main', api_key = 'env:UNSET' }]\n"
            "[[routes]]\n"
            "model = 'a'\n"
            "targets = ['opnai/x']\n"
        )
        self.assertEqual(
            [problem.split("; known: ")[0] for problem in found],
            [
                "t.toml:3: gateway.strict: expected a boolean, got an integer",
                't.toml:2: gateway.lissten: unknown key (did you mean "listen"?)',
                "t.toml:5: timeouts.idle: expected a number above 0 to 1000000, got -1",
                "t.toml:7: providers.openai.accounts[0].api_key: the environment variable UNSET is not set",
                't.toml:10: routes[0].targets[0]: "opnai" names no provider (did you mean "openai"?); '
                "there are openai",
            ],
        )

    def test_each_mistake_is_named(self) -> None:
        """Whatever is wrong, the one message about it names the place and what is the matter."""
        provider = "[providers.p]\nkind = 'openai'\n"
        account = "accounts = [{ api_key = 'k' }]\n"
        anti = "[providers.antigravity]\n"
        route = OPENAI + "[[routes]]\n"
        cases = [
            ("[providers", "t.toml", "this is not TOML"),
            ("", "providers", "there are none"),
            ("gatway = 1\n" + OPENAI, "gatway", 'did you mean "gateway"'),
            ("gateway = 1\n" + OPENAI, "gateway", "expected a table, got an integer"),
            ("providers = 1979-05-27\n", "providers", "expected a table, got a date or time"),
            ("providers.p = 1\n", "providers.p", "expected a table, got an integer"),
            ("routes = {}\n" + OPENAI, "routes", "expected an array, got a table"),
            ("routes = [1]\n" + OPENAI, "routes[0]", "expected a table, got an integer"),
            ("[timeouts]\nidle = true\n" + OPENAI, "timeouts.idle", "above 0 to 1000000, got a boolean"),
            ("[timeouts]\nidle = 0\n" + OPENAI, "timeouts.idle", "above 0 to 1000000, got 0"),
            ("[timeouts]\nidle = inf\n" + OPENAI, "timeouts.idle", "above 0 to 1000000, got inf"),
            ("[timeouts]\nidle = nan\n" + OPENAI, "timeouts.idle", "above 0 to 1000000, got nan"),
            ("[timeouts]\nidle = '60'\n" + OPENAI, "timeouts.idle", "above 0 to 1000000, got a string"),
            (
                "[timeouts]\nmin_rate = -0.5\n" + OPENAI,
                "timeouts.min_rate",
                "a number from 0 to 1000000, got -0.5",
            ),
            (
                "[limits]\nmax_body = 1.5\n" + OPENAI,
                "limits.max_body",
                "an integer from 1 to 2147483647, got 1.5",
            ),
            ("[limits]\nmax_bodi = 1\n" + OPENAI, "limits.max_bodi", 'did you mean "max_body"'),
            ("[gateway]\nping = -1\n" + OPENAI, "gateway.ping", "a number from 0 to 1000000, got -1"),
            ("[gateway]\nstate = 'x.db'\n" + OPENAI, "gateway.state", "expected a URL such as sqlite:///"),
            ("[gateway]\nhosts = []\n" + OPENAI, "gateway.hosts", "there are none"),
            ("[gateway]\nhosts = ['a:80']\n" + OPENAI, "gateway.hosts[0]", "without scheme, port or path"),
            (
                "[gateway]\nchat_completions_dialect = 'gemini'\n" + OPENAI,
                "dialect",
                'expected "claude", "openai"',
            ),
            (provider, "providers.p.accounts", "there are none"),
            (provider + "accounts = []\n", "providers.p.accounts", "there are none"),
            (provider + "accounts = [{}]\n", "accounts[0].api_key", "is missing"),
            (
                provider + "accounts = [{ api_key = 5 }]\n",
                "accounts[0].api_key",
                "expected a string, got an integer",
            ),
            (provider + "accounts = [{ api_key = '' }]\n", "accounts[0].api_key", "is empty"),
            (provider + "accounts = [{ api_key = 'env:E' }]\n", "api_key", "variable E is empty"),
            (
                provider + "accounts = [{ api_key = 'file:empty.txt' }]\n",
                "api_key",
                "file empty.txt is empty",
            ),
            (provider + "accounts = [{ api_key = 'file:no' }]\n", "api_key", "cannot be read: No such file"),
            (provider + 'accounts = [{ api_key = "a\\nb" }]\n', "api_key", "holds a space, a line end"),
            (provider + "accounts = [{ api_key = 'k', project = 'p' }]\n", "project", "takes api_key alone"),
            (
                provider + "accounts = [{ api_key = 'k', name = 'a b' }]\n",
                "accounts[0].name",
                "letters, digits",
            ),
            (
                provider + "accounts = [{ api_key = 'k' }, { api_key = 'l', name = '1' }]\n",
                "[1].name",
                "another one",
            ),
            (anti + "accounts = [{ api_key = 'k' }]\n", "accounts[0].api_key", "takes access_token or"),
            (anti + "accounts = [{ name = 'a' }]\n", "accounts[0]", "has no credential"),
            (
                anti + "accounts = [{ refresh_token = 'k' }]\n",
                "accounts[0]",
                "lacks client_id and client_secret",
            ),
            (
                anti + "accounts = [{ access_token = 'k' }]\napi_version = '1'\n",
                "api_version",
                "alone, not for",
            ),
            ("[providers.p]\n" + account, "providers.p.kind", "is missing"),
            ("[providers.p]\nkind = 'opena'\n" + account, "providers.p.kind", 'did you mean "openai"'),
            (OPENAI + "dialect = 'claude'\n", "dialect", 'is for kind "glm" alone'),
            (
                "[providers.anthropic]\naccounts = [{ name = 'a' }]\n",
                "accounts[0].api_key",
                "is missing",
            ),
            (
                "[providers.glm]\ndialect = 'claude'\ntakes = { seed = true }\n" + account,
                "takes",
                'is for dialect "openai" alone',
            ),
            ("[providers.'a/b']\nkind = 'openai'\n" + account, "providers.a/b", "letters, digits"),
            (OPENAI + "relay = 'fast'\n", "relay", 'expected "verified", "raw"'),
            (
                OPENAI + "supports_streaming = 'no'\n",
                "supports_streaming",
                "expected a boolean, got a string",
            ),
            (OPENAI + "models = 'gpt'\n", "models", "expected an array, got a string"),
            (OPENAI + "models = [1]\n", "models[0]", "expected a string, got an integer"),
            (OPENAI + "models = ['gpt-*']\n", "models[0]", "is a pattern"),
            (OPENAI + "headers = { 'a b' = 'x' }\n", "headers.a b", "no name that an HTTP header"),
            (OPENAI + "headers = { HOST = 'x' }\n", "headers.HOST", "the gateway sets itself"),
            (OPENAI + "headers = { Api-Key = 'x' }\n", "headers.Api-Key", "the gateway sets itself"),
            (OPENAI + "headers = { X-API-Key = 'x' }\n", "headers.X-API-Key", "the gateway sets itself"),
            (OPENAI + "headers = { User-Agent = 'x' }\n", "headers.User-Agent", "the gateway sets itself"),
            (OPENAI + "headers = { a = 'x', A = 'x' }\n", "headers.A", "stands there twice"),
            (OPENAI + 'headers = { a = "x\\r\\nb: c" }\n', "headers.a", "no HTTP header may hold"),
            (OPENAI + "headers = { a = 'env:UNSET' }\n", "headers.a", "UNSET is not set"),
            (OPENAI + "deployments = { a = 1 }\n", "deployments.a", "expected a string, got an integer"),
            (OPENAI + "server = 'groqq'\n", "server", 'did you mean "groq"'),
            (OPENAI + "takes = { strikt = false }\n", "takes.strikt", 'did you mean "strict"'),
            (OPENAI + "takes = { strict = 1 }\n", "takes.strict", "expected a boolean, got an integer"),
            (OPENAI + "server = 'azure'\n", "base_url", "Azure has one for each"),
            (OPENAI + "deployments = { a = 'b' }\n", "base_url", "Azure has one for each"),
            (OPENAI + "server = 'vllm'\napi_version = '1'\n", "api_version", 'is for server "azure" alone'),
            (anti + "accounts = [{ access_token = 'k' }]\nserver = 'vllm'\n", "server", "alone, not for"),
            (anti + "accounts = [{ access_token = 'k' }]\ntakes = {}\n", "takes", "alone, not for"),
            (OPENAI + "timeouts = { idel = 1 }\n", "timeouts.idel", 'did you mean "idle"'),
            (route + "targets = ['openai']\n", "routes[0].model", "is missing"),
            (route + "model = ''\ntargets = ['openai']\n", "routes[0].model", "is empty"),
            (route + "model = 'a'\n", "routes[0].targets", "there are none"),
            (route + "model = 'a'\ntargets = ['openai/']\n", "targets[0]", "names no model"),
            (route + "model = 'a'\ntargets = ['openai', 'openai']\n", "targets[1]", "stands there twice"),
            (route + f"model = '{'a' * 257}'\ntargets = ['openai']\n", "routes[0].model", "at most 256"),
            (
                OPENAI + "[[routes]]\nmodel = 'a'\ntargets = ['openai']\n" * 2,
                "routes[1].model",
                "never reached",
            ),
            (OPENAI + "[[keys]]\n", "keys[0]", "expected key or key_hash, one of them"),
            (OPENAI + KEY + f"key_hash = '{'0' * 64}'\n", "keys[0]", "expected key or key_hash, one of them"),
            (OPENAI + "[[keys]]\nkey_hash = 'md5:12'\n", "keys[0].key_hash", "64 hexadecimal digits"),
            (OPENAI + KEY + KEY.replace("client-key", "b"), "keys[1].name", "name of another one"),
            (OPENAI + KEY + KEY.replace("alice", "bob"), "keys[1]", "is the same key as keys[0]"),
            (OPENAI + KEY + "dialect = 'gemini'\n", "keys[0].dialect", "is not known"),
            (OPENAI + KEY + "models = []\n", "keys[0].models", "allows no model"),
        ]
        for text, place, message in cases:
            with self.subTest(text):
                found = problems(text, {"E": ""})
                self.assertEqual(len(found), 1, found)
                self.assertIn(place, found[0].split(": " + message.split(",")[0])[0])
                self.assertIn(message, found[0])

    def test_a_base_url_is_http_and_nothing_more(self) -> None:
        """What paths cannot be appended to, and what would leak a credential, is refused."""
        for url in (
            "http://" + "x" * 64 + ".example/v1",
            "http://a..example/v1",
            "ftp://a/v1",
            "api.openai.com/v1",
            "https://",
            "https://u:hidden-password@a/v1",
            "https://a/v1?key=hidden-password",
            "https://a/v1#x",
            "https://a:port/v1",
            "https://a/v 1",
            "https://ä/v1",
            "https://[::1/v1",
            "https://a/v1/chat/completions",
        ):
            with self.subTest(url):
                found = problems(f"{OPENAI}base_url = '{url}'\n")
                self.assertEqual(len(found), 1, found)
                self.assertIn("t.toml:3: providers.openai.base_url: ", found[0])
                self.assertNotIn("hidden-password", found[0])

    def test_no_secret_is_shown(self) -> None:
        """Neither the records nor a report of mistakes repeats a credential."""
        text = (
            '[providers.openai]\naccounts = [{ api_key = "hidden-1" }]\n'
            'headers = { x = "env:H", x-token = "hidden-2" }\n'
            '[providers.antigravity]\naccounts = [{ access_token = "hidden-3", refresh_token = "hidden-4", '
            'client_id = "id", client_secret = "hidden-5" }]\n[[keys]]\nkey = "hidden-6"\n'
        )
        environ = {"H": "hidden-7"}
        config = read(text, environ)
        self.assertNotIn("hidden", repr(config))
        self.assertEqual({secret.reveal()[-1] for secret in config.secrets()}, set("123457"))
        broken = text.replace("hidden-", "hidden-ä ").replace("[[keys]]", "[[keys]]\nkey_hash = 'hidden'")
        with self.assertRaises(ConfigError) as raised:
            read(broken, environ)
        self.assertEqual(len(raised.exception.problems), 8)
        self.assertNotIn("hidden", repr(raised.exception) + str(raised.exception))

    def test_a_listener_that_is_no_endpoint_is_refused(self) -> None:
        """Unknown types, missing ports, misspelt and unescaped arguments have a message each."""
        for listen, message in (
            ("8088", "expected a Twisted endpoint"),
            ("tpc:8088", "expected a Twisted endpoint"),
            ("tcp:", "no port from 0 to 65535"),
            ("tcp:http", "no port from 0 to 65535"),
            ("tcp:65536", "no port from 0 to 65535"),
            ("tcp:1:interfce=127.0.0.1", 'did you mean "interface"'),
            ("tcp:1:interface=::1", "as \\:"),
            ("unix:", "names no path"),
            ("", "expected a Twisted endpoint"),
        ):
            with self.subTest(listen):
                found = problems(OPENAI + KEY, listen=listen)
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])


class Listening(TestCase):
    def test_loopback_needs_no_keys(self) -> None:
        """Every spelling of loopback, and a socket in the file system, is safe by itself."""
        for listen in (
            "tcp:8088:interface=127.0.0.1",
            "tcp:8088:127.0.0.1",
            "tcp:port=0:interface=127.8.9.1",
            "tcp:8088:interface=localhost",
            r"tcp:8088:interface=\:\:1",
            r"tcp6:8088:interface=\:\:1",
            "ssl:8443:privateKey=k.pem:interface=127.0.0.1",
            "unix:/run/aigateway.sock",
            "unix:address=/run/aigateway.sock:mode=600",
        ):
            with self.subTest(listen):
                self.assertEqual(read(OPENAI, listen=listen).listen, listen)

    def test_anything_else_needs_keys(self) -> None:
        """What others may reach is refused with both remedies, and taken once there are keys."""
        for listen in (
            "tcp:8088",
            "tcp:8088:interface=0.0.0.0",
            "tcp:8088:interface=10.0.0.1",
            "tcp:8088:interface=gw.example.com",
            "tcp6:8088",
            "ssl:8443:privateKey=k.pem",
            "tls:/etc/certs",
            "systemd:domain=INET:index=0",
        ):
            with self.subTest(listen):
                found = problems(OPENAI, listen=listen)
                self.assertEqual(len(found), 1, found)
                self.assertIn("t.toml: --listen: ", found[0])
                self.assertIn("add [[keys]], or listen on loopback with interface=127.0.0.1", found[0])
                self.assertEqual(read(OPENAI + KEY, listen=listen).listen, listen)
                self.assertIn(
                    "t.toml:2: gateway.listen: ", problems(f"[gateway]\nlisten = '{listen}'\n{OPENAI}")[0]
                )

    def test_twisted_reads_the_same(self) -> None:
        """Twisted finds the port and the interface where the gateway has checked them, and takes
        nothing that the gateway refuses for its form."""
        for description, expected in (
            ("tcp:8088:interface=127.0.0.1", (8088, "127.0.0.1")),
            ("tcp:8088:127.0.0.1", (8088, "127.0.0.1")),
            ("tcp:interface=127.0.0.1:port=1", (1, "127.0.0.1")),
            (r"tcp6:8088:50:\:\:1", (8088, "::1")),
            (r"tcp6:port=8088:interface=\:\:1", (8088, "::1")),
        ):
            with self.subTest(description):
                self.assertTrue(is_private(description))
                reactor = MemoryReactor()
                serverFromString(reactor, description).listen(Factory())
                self.assertEqual((reactor.tcpServers[0][0], reactor.tcpServers[0][3]), expected)
        for description in (
            "tcp:1:interface=::1",
            "tcp:1:interfce=127.0.0.1",
            "tcp:port=1:127.0.0.1",
            "tcp:x",
        ):
            with self.subTest(description):
                self.assertRaises(ValueError, is_private, description)
                self.assertRaises((ValueError, TypeError), serverFromString, MemoryReactor(), description)

    def test_the_command_line_overrides_the_file(self) -> None:
        """An open listener in the file does no harm when the command line names another."""
        text = f"[gateway]\nlisten = 'tcp:80'\n{OPENAI}"
        self.assertEqual(read(text, listen="unix:/s").listen, "unix:/s")


class Loading(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def load(self, path: str | None = None, environ: Mapping[str, str] | None = None) -> Config:
        return load(path, environ or {}, cwd=str(self.folder))

    def test_a_named_file_wins(self) -> None:
        """``path`` is read although there is an aigateway.toml, and its secrets lie beside it."""
        (self.folder / "aigateway.toml").write_text("broken")
        (self.folder / "etc").mkdir()
        (self.folder / "etc" / "gw.toml").write_bytes(
            b"\xef\xbb\xbf[providers.glm]\r\naccounts = [{ api_key = 'file:glm.key' }]\r\n"
        )
        (self.folder / "etc" / "glm.key").write_text("from-beside\n")
        config = self.load("etc/gw.toml")
        self.assertEqual(config.origin, "etc/gw.toml")
        self.assertEqual(config.providers["glm"].accounts[0].api_key, Secret("from-beside"))

    def test_the_file_in_the_working_directory_comes_next(self) -> None:
        """It is read, and the keys in the environment are left alone."""
        (self.folder / "aigateway.toml").write_text(OPENAI)
        config = self.load(environ={"ZAI_API_KEY": "z"})
        self.assertEqual((config.origin, list(config.providers)), ("aigateway.toml", ["openai"]))

    def test_else_the_environment_says_it(self) -> None:
        """Each key that is set and not empty makes a provider of its kind."""
        environ = {"OPENAI_API_KEY": "o", "ZAI_API_KEY": "z", "GEMINI_API_KEY": "", "ANTHROPIC_API_KEY": "a"}
        config = self.load(environ=environ)
        accounts = {name: provider.accounts for name, provider in config.providers.items()}
        self.assertEqual(
            accounts,
            {
                "openai": (Account(name="env", api_key=Secret("o")),),
                "glm": (Account(name="env", api_key=Secret("z")),),
                "anthropic": (Account(name="env", api_key=Secret("a")),),
            },
        )
        self.assertEqual(config.notes, ())

    def test_nothing_at_all_is_answered_in_three_lines(self) -> None:
        """One line for each way on; an empty key is none."""
        with self.assertRaises(NothingConfigured) as raised:
            self.load(environ={"OPENAI_API_KEY": ""})
        lines = str(raised.exception).split("\n")
        self.assertEqual(len(lines), 3)
        keys = "OPENAI_API_KEY, ZAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY"
        for line, word in zip(lines, ("--demo", keys, "--config"), strict=True):
            self.assertIn(word, line)

    def test_a_file_that_cannot_be_read_is_named(self) -> None:
        """A missing file, a folder and a file that is no text are mistakes of their own."""
        (self.folder / "latin").write_bytes(b"# \xe4\n")
        for path, message in (
            ("missing.toml", "cannot be read: No such file"),
            (".", "cannot be read: Is a directory"),
            ("latin", "is not UTF-8 text"),
        ):
            with self.subTest(path), self.assertRaises(ConfigError) as raised:
                self.load(path)
            self.assertIn(f"{path}: {message}", str(raised.exception))


class Servers(TestCase):
    """Servers of OpenAI's dialect."""

    def test_the_names(self) -> None:
        """The configuration knows each server and each switch of the dialect, and no other."""
        self.assertEqual(set(SERVERS), set(servers.SERVERS))
        self.assertEqual(TAKES, servers.SWITCHES)

    def test_what_is_read(self) -> None:
        """The server and what it takes; a switch that is not set is none."""
        text = OPENAI + "server = 'vllm'\ntakes = { strict = false, developer_role = true }\n"
        provider = read(text).providers["openai"]
        self.assertEqual(provider.server, "vllm")
        self.assertEqual(provider.takes, {"strict": False, "developer_role": True})
        self.assertEqual(read(OPENAI).providers["openai"].takes, {})


class Lines(TestCase):
    def test_keys_are_found_where_they_stand(self) -> None:
        """Tables, arrays of tables, dotted and quoted keys have their line; text in a string has none."""
        text = (
            '# c\na.b = 1\n[x."y"]\nk = """\n[no]\nn = 1\n"""\n'
            '[[r]]\n[r.t]\nz = 1\n[[r]] # c\n  [[r.q]]\r\nv = [\n"s",\n]\n'
        )
        expected = {"a": 2, "a.b": 2, "x.y": 3, "x.y.k": 4, "r[0]": 8, "r[0].t": 9, "r[0].t.z": 10}
        self.assertEqual(line_numbers(text), expected | {"r[1]": 11, "r[1].q[0]": 12, "r[1].q[0].v": 13})


class Document(TestCase):
    """docs/configuration.md, held against the records."""

    maxDiff = None

    RECORDS: Mapping[str, type[msgspec.Struct]] = {
        "`[gateway]`": Config,
        "`[timeouts]`": Timeouts,
        "`[limits]`": Limits,
        "`[retries]`": Retries,
        "`[providers.NAME]`": Provider,
        "`accounts`": Account,
        "`[[routes]]`": Route,
        "`[[keys]]`": ClientKey,
    }
    # What is written otherwise than it is kept: no key of its own, or another one.
    NOT_KEYS: Mapping[str, set[str]] = {
        "`[gateway]`": {
            "timeouts",
            "limits",
            "retries",
            "providers",
            "routes",
            "keys",
            "demo",
            "origin",
            "notes",
        },
        "`[providers.NAME]`": {"name", "base_urls", "headers", "timeouts"},
        "`[[keys]]`": {"digest"},
    }
    OTHER_KEYS: Mapping[str, dict[str, str]] = {
        "`[providers.NAME]`": {
            "kind": "`NAME`",
            "base_url": "the kind's",
            "headers": "`{}`",
            "timeouts": "`{}`",
        },
        "`accounts`": {"name": "its number"},
        "`[[keys]]`": {"key": "none", "key_hash": "none", "name": "its number"},
    }

    def tables(self) -> dict[str, dict[str, str]]:
        """The document's tables: heading, key and default."""
        tables: dict[str, dict[str, str]] = {}
        for section in re.split(r"^##+ ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            heading = section.partition("\n")[0]
            rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", section, flags=re.MULTILINE)
            self.assertEqual(len(dict(rows)), len(rows), f"a key stands twice in {heading}")
            tables[heading] = dict(rows)
        return tables

    def test_it_has_every_key_with_its_default(self) -> None:
        """A field that is added, renamed or given another default must be so in the document."""
        expected = {}
        for heading, record in self.RECORDS.items():
            keys = {
                field.name: _default(field)
                for field in msgspec.structs.fields(record)
                if field.name not in self.NOT_KEYS.get(heading, ())
            }
            expected[heading] = keys | self.OTHER_KEYS.get(heading, {})
        expected["`takes`"] = dict.fromkeys(TAKES, "the server's")
        self.assertEqual(self.tables(), expected)

    def test_its_defaults_are_what_is_read(self) -> None:
        """A file that sets every documented default is the same as one that sets none."""
        tables = self.tables()
        written = ""
        for heading in ("`[gateway]`", "`[timeouts]`", "`[limits]`", "`[retries]`"):
            rows = tables[heading].items()
            written += heading.strip("`") + "\n"
            written += "".join(f"{key} = {value.strip('`')}\n" for key, value in rows if value != "none")
        self.assertEqual(read(written + OPENAI), read(OPENAI))

    def test_its_example_is_read(self) -> None:
        """The configuration that it shows is one."""
        examples = re.findall(
            r"^```toml\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        self.assertEqual(len(examples), 1)
        example = examples[0].replace("file:/run/secrets/openai", "file:secret.txt")
        config = read(example, {"OPENAI_API_KEY": "o", "ZAI_API_KEY": "z"})
        self.assertEqual(list(config.providers), ["openai", "glm"])


def _default(field: msgspec.structs.FieldInfo) -> str:
    """A field's default as the document writes it."""
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    if field.default is msgspec.NODEFAULT:
        return "*required*"
    if field.default is None:
        return "none"
    return f"`{msgspec.json.encode(field.default).decode().replace(',', ', ')}`"
