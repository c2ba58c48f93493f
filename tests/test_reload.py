"""The configuration read again: what takes effect, for whom, and what does not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import TestCase

import msgspec

from aigateway.config import Account, ClientKey, Config, ConfigError, Limits, Retries, Route, Target, Timeouts
from aigateway.config.changes import FIXED, changed, takeable
from aigateway.listening import Reach
from aigateway.secret import Secret
from aigateway.tap import Options, compose

from .fakes import (
    DONE,
    STOP,
    Asked,
    Scripted,
    answers,
    chat,
    chunk,
    config,
    error_body,
    provider,
    refuses,
    request_bytes,
)
from .test_credentials import OAuthTestCase, oauth
from .test_tap import ServiceTestCase

OTHER_PORT = 9031
OPEN = "tcp:8088:interface=0.0.0.0"


def key(name: str, value: str, **more: Any) -> ClientKey:
    return ClientKey(name=name, digest=hashlib.sha256(value.encode()).digest(), **more)


def with_key(value: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {value}")]


class ChangesTests(TestCase):
    def test_what_differs(self) -> None:
        """Single keys are named by their place in the file, providers, routes and keys as a whole;
        where the file is and what it notes are none of it."""
        old = config(provider(), provider("glm"))
        new = config(
            provider(models=("gpt-5",)),
            provider("more"),
            drain=1.0,
            timeouts=Timeouts(idle=1.0),
            limits=Limits(max_body=1, pool=1),
            retries=Retries(backoff=0.0),
            routes=(Route(model="*", targets=(Target("more"),)),),
            keys=(key("alice", "k"),),
            origin="elsewhere",
            notes=("read this",),
        )
        self.assertEqual(
            changed(old, new),
            [
                "gateway.drain",
                "timeouts.idle",
                "limits.max_body",
                "limits.pool",
                "retries.backoff",
                "providers.glm",
                "providers.more",
                "providers.openai",
                "routes",
                "keys",
            ],
        )
        self.assertEqual(changed(old, old), [])

    def test_what_is_fixed(self) -> None:
        """It keeps its value, and all else is the new one's."""
        old = config(listen="tcp:1", state="sqlite:///a", limits=Limits(pool=1, backlog=2, max_body=3))
        new = config(drain=9.0, limits=Limits(pool=4, backlog=5, max_body=6))
        taken = takeable(old, new)
        self.assertEqual((taken.listen, taken.state, taken.drain), ("tcp:1", "sqlite:///a", 9.0))
        self.assertEqual((taken.limits.pool, taken.limits.backlog, taken.limits.max_body), (1, 2, 6))
        self.assertLessEqual(set(changed(taken, new)), set(FIXED))

    def test_fixed_keys_exist(self) -> None:
        """Each names a key that there is."""
        for place in FIXED:
            table, _, name = place.partition(".")
            record = {"gateway": Config, "limits": Limits}[table]
            self.assertIn(name, record.__struct_fields__)


class ReloadTestCase(ServiceTestCase):
    """A gateway whose configuration, the next time that it is read, is ``self.next``."""

    def setUp(self) -> None:
        super().setUp()
        self.next: Config | Exception = config()

    def read(self) -> Config:
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def start_with(self, configuration: Config) -> None:
        self.service = compose(configuration, self.network, self.read)
        self.stats = self.service.stats
        self.executor = self.service.executor
        self.gateway = self.service.gateway
        self.started = True
        self.service.privilegedStartService()
        self.service.startService()
        self.addCleanup(self.assert_stops)

    def reload(self, new: Config | Exception) -> None:
        self.next = new
        self.service.reload()

    def serve_other(self, text: str = "other") -> Scripted:
        scripted = Scripted(answers(text))
        self.serve(scripted, OTHER_PORT)
        return scripted

    def status(self, *, model: str = "gpt-4", headers: Any = (), path: str = "/v1/chat/completions") -> int:
        return self.ask(chat(model=model), headers=headers, path=path).answer().status

    def configuration(self) -> Any:
        headers = [("Authorization", "Bearer k")]
        return self.ask(b"", path="/stats", method="GET", headers=headers).answer().json()["configuration"]


class ReloadTests(ReloadTestCase):
    def test_a_new_provider(self) -> None:
        """What is asked from then on goes where the new configuration says; an open stream goes on
        to its end with what it began with."""
        self.start_with(config())
        client, asked = self.streaming()
        self.tell(asked, *self.head(asked), chunk("one"))
        self.serve_other()
        self.reload(config(provider(port=OTHER_PORT)))
        self.assertEqual(self.ask().answer().text(), "other")
        asked.finish(chunk(" two"), STOP, DONE)
        self.network.flush()
        self.assertEqual((client.answer().text(), client.answer().whole), ("one two", True))

    def head(self, asked: Asked) -> tuple[()]:
        asked.head()
        return ()

    def test_models_and_routes(self) -> None:
        """Routes that are new lead somewhere, those that are gone nowhere, at once."""
        self.start_with(config(provider(port=OTHER_PORT)))
        self.serve_other()
        self.assertEqual((self.status(), self.status(model="fast")), (200, 404))
        routes = (Route(model="fast", targets=(Target("openai", "gpt-4"),)),)
        self.reload(config(provider(port=OTHER_PORT, models=()), routes=routes))
        self.assertEqual((self.status(), self.status(model="fast")), (404, 200))
        listed = self.ask(b"", path="/v1/models", method="GET").answer().json()["data"]
        self.assertEqual([model["id"] for model in listed], ["fast"])

    def test_keys(self) -> None:
        """A key that is gone is refused, a new one let in, also on connections that were open."""
        self.start_with(config(provider(port=OTHER_PORT), keys=(key("old", "k-old"),)))
        self.serve_other()
        kept = self.client()
        kept.ask(body=chat(), headers=with_key("k-old"))
        self.reload(config(provider(port=OTHER_PORT), keys=(key("new", "k-new"), key("s", "k"))))
        kept.ask(body=chat(), headers=with_key("k-new"))
        kept.ask(body=chat(), headers=with_key("k-old"))
        self.assertEqual([answer.status for answer in kept.answers()], [200, 200, 401])
        self.assertEqual([outcome.client for outcome in self.outcomes[:2]], ["old", "new"])

    def test_hosts_and_limits(self) -> None:
        """The names that it goes by, and what a client may cost, apply to the next request."""
        self.start_with(config(provider(port=OTHER_PORT)))
        self.serve_other()
        kept = self.client()
        kept.ask(body=chat())
        self.reload(
            config(
                provider(port=OTHER_PORT), hosts=("gw.example.com", "localhost"), limits=Limits(max_body=200)
            )
        )
        kept.ask(body=chat(), headers=[("Host", "gw.example.com")])
        kept.ask(body=chat("x" * 200))
        self.assertEqual([answer.status for answer in kept.answers()], [200, 200, 413])

    def test_timeouts(self) -> None:
        """They apply to exchanges that begin from then on, and to no others."""
        self.start_with(config(provider(timeouts=Timeouts(headers=12.0))))
        before, _ = self.streaming()
        self.reload(config(provider(timeouts=Timeouts(headers=5.0))))
        after, _ = self.streaming()
        self.advance(5)
        self.assertEqual(after.answer().status, 504)
        self.assertEqual(before.received, b"")
        self.advance(7)
        self.assertEqual(before.answer().status, 504)

    def test_the_drain(self) -> None:
        """How long a stop may take is what the last configuration says."""
        self.start_with(config(drain=1000.0))
        self.reload(config(drain=2.0, drain_idle=1.0))
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"))
        stopped = self.stop()
        self.advance(2)
        self.successResultOf(stopped)
        self.assertEqual(client.answer().events()[-1], "error")

    def test_a_body_that_comes_late(self) -> None:
        """A request whose head came before and its body after is looked at again: its key may be
        none any more. What is answered is by the new configuration altogether."""
        old = config(provider(), keys=(key("a", "k-a", dialect="openai"), key("b", "k-b")))
        self.start_with(old)
        clients = {}
        for value in ("k-a", "k-b"):
            client = clients[value] = self.client()
            client.send(request_bytes("POST", "/v1/chat/completions", chat(), with_key(value))[:-10])
        self.serve_other()
        self.reload(config(provider(port=OTHER_PORT), keys=(key("a2", "k-a", dialect="claude"),)))
        for client in clients.values():
            client.send(request_bytes("POST", "/v1/chat/completions", chat(), with_key("k-a"))[-10:])
        answer = clients["k-a"].answer()
        self.assertEqual((answer.text(), answer.events()[-1]), ("other", "message_stop"))
        self.assertEqual(self.outcomes[0].client, "a2")
        self.assertEqual(clients["k-b"].answer().status, 401)
        self.assertEqual(self.provider.asked, [])

    def test_nothing_changed(self) -> None:
        """That is said, and is no mistake."""
        self.start_with(config(origin="aigateway.toml"))
        self.reload(config(origin="aigateway.toml"))
        self.assertIn("aigateway.toml has been read again; nothing has changed", self.logged)
        last = self.configuration()["last"]
        self.assertEqual((last["ok"], last["changed"], last["needs_restart"]), (True, [], []))

    def test_what_has_changed_is_said(self) -> None:
        """By key, in the log and in the stats; no value is shown, since it may be a secret."""
        self.start_with(config())
        self.assertEqual(
            self.configuration(), {"origin": "", "reloads": 0, "last": None}, "before the first one"
        )
        self.reload(config(provider(accounts=("two",)), origin="here", drain=7.0, notes=("mind",)))
        line = "here has been read again; changed: gateway.drain, providers.openai"
        self.assertIn(line, self.logged)
        self.assertIn("mind", self.logged)
        told = self.configuration()
        self.assertEqual((told["reloads"], told["origin"]), (1, "here"))
        self.assertEqual(told["last"]["changed"], ["gateway.drain", "providers.openai"])
        self.assertGreater(told["last"]["at"], 0)
        self.assertNotIn("sk-secret", "".join(self.logged) + str(told))

    def test_what_needs_a_restart(self) -> None:
        """It is named each time until it happens, and the rest takes effect."""
        self.start_with(config(provider(port=OTHER_PORT)))
        self.serve_other()
        new = config(
            provider(port=OTHER_PORT, models=("new",)), listen="tcp:1", limits=Limits(pool=7, max_head=300)
        )
        for _ in range(2):
            self.reload(new)
            self.assertIn("only a restart changes gateway.listen, limits.pool", self.logged)
            self.assertEqual(self.configuration()["last"]["needs_restart"], ["gateway.listen", "limits.pool"])
            self.logged.clear()
        self.assertEqual((self.status(model="new"), self.gateway.site.limits.max_head), (200, 300))


class RefusedReloadTests(ReloadTestCase):
    def test_mistakes(self) -> None:
        """The old configuration goes on; every mistake is in the log and in the stats."""
        self.start_with(config(provider(port=OTHER_PORT)))
        self.serve_other()
        self.reload(ConfigError(("x.toml:1: one", "x.toml:2: two")))
        self.assertEqual(self.status(), 200)
        self.assertLessEqual({"x.toml:1: one", "x.toml:2: two"}, set(self.logged))
        told = self.configuration()
        self.assertEqual((told["last"]["ok"], told["reloads"]), (False, 1))
        self.assertEqual(told["last"]["problems"], ["x.toml:1: one", "x.toml:2: two"])
        self.reload(config(provider(port=OTHER_PORT, models=("new",))))
        self.assertEqual((self.status(model="new"), self.configuration()["last"]["ok"]), (200, True))

    def test_a_bug_of_ours(self) -> None:
        """An exception while it is read or taken over is logged, and changes nothing."""
        self.start_with(config(provider(port=OTHER_PORT)))
        self.serve_other()
        self.reload(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        unmakeable = config(
            provider(port=OTHER_PORT, kind="nonesuch", models=("new",)), keys=(key("a", "k"),)
        )
        self.reload(unmakeable)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual((self.status(), self.status(model="new")), (200, 404))
        last = self.configuration()["last"]
        self.assertEqual(last["problems"], ["the gateway failed at it; its log says why"])

    def test_keys_of_an_open_listener(self) -> None:
        """Keys cannot be taken away while others may reach the port, whatever endpoint the file
        names now: that one is for the next start."""
        self.start_with(config(provider(), listen=OPEN, keys=(key("a", "k"),)))
        self.reload(config(provider(), listen="tcp:8088:interface=127.0.0.1"))
        (problem,) = self.configuration()["last"]["problems"]
        self.assertIn(OPEN, problem)
        self.assertEqual(self.status(), 401)
        self.assertEqual(self.provider.asked, [])

    def test_nothing_to_read(self) -> None:
        """A demonstration says so, and goes on."""
        options = Options()
        options.parseOptions(["--demo"])
        service = compose(options.config, self.network, options.read)
        service.reload()
        self.assertIn("there is no configuration to read again", self.logged[-1])


class AccountTests(ReloadTestCase):
    """What is known of accounts across a reload."""

    def test_a_new_credential_ends_a_401(self) -> None:
        """An account that was set aside is asked again when its key is another, and only then."""
        scripted = Scripted(refuses(401), answers())
        self.serve(scripted, OTHER_PORT)
        old = config(provider(port=OTHER_PORT))
        self.start_with(old)
        self.assertEqual([self.status(), self.status()], [502, 502])
        self.assertEqual(len(scripted.asked), 1)
        self.reload(msgspec.structs.replace(old, drain=1.0))
        self.assertEqual((self.status(), len(scripted.asked)), (502, 1))
        fresh = Account(name="one", api_key=Secret("sk-secret-fresh"))
        self.reload(config(provider(port=OTHER_PORT, accounts=()), drain=1.0))
        self.reload(config(msgspec.structs.replace(old.providers["openai"], accounts=(fresh,))))
        self.assertEqual(self.status(), 200)
        self.assertEqual(scripted.accounts, ["one", "fresh"])

    def test_a_rest_goes_on(self) -> None:
        """An account that rests does so after a reload that is about others."""
        scripted = Scripted(refuses(429, retry_after="100"), answers())
        self.serve(scripted, OTHER_PORT)
        self.start_with(config(provider(port=OTHER_PORT)))
        self.assertEqual(self.status(), 429)
        self.reload(config(provider(port=OTHER_PORT), provider("more", models=("m",))))
        self.assertEqual((self.status(), len(scripted.asked)), (429, 1))
        self.advance(100)
        self.assertEqual(self.status(), 200)

    def test_waiting_across_a_reload(self) -> None:
        """Who comes after it does not wait for the accounts of those who came before."""
        resting = Scripted(refuses(429, retry_after="50"), answers("late"))
        self.serve(resting, OTHER_PORT)
        patient = Retries(account_wait=60.0)
        self.start_with(config(provider(port=OTHER_PORT), retries=patient))
        before = self.ask()
        more = provider(port=OTHER_PORT, accounts=("one", "two"))
        self.reload(config(more, retries=patient))
        after = [self.ask(), self.ask()]
        self.advance(1)
        self.assertEqual([client.answer().status for client in after], [200, 200])
        self.assertEqual(before.received.count(b"hello"), 0)
        self.advance(49)
        self.assertEqual(before.answer().text(), "late")

    def test_a_late_error_is_masked(self) -> None:
        """What the provider says of a key is masked in an exchange that began with it, although
        the configuration does not know it any more."""
        self.start_with(config())
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"))
        self.reload(config(provider(accounts=("two",))))
        quoted = msgspec.json.encode({"error": {"message": "bad key sk-secret-one", "code": 500}})
        asked.finish(b"data: %b\n\n" % quoted)
        self.network.flush()
        self.assertIn(b"bad key ***", client.received)
        self.assertNotIn("sk-secret-one", client.received.decode() + "".join(self.logged))

    def test_an_exchange_between_two_attempts(self) -> None:
        """One that began before goes on to the accounts that it began with."""
        self.start_with(config(provider(accounts=("one", "two"))))
        client, asked = self.streaming()
        self.reload(config(provider(accounts=("three",))))
        asked.respond(error_body("down"), 500)
        self.advance(5)
        second = self.provider.asked[-1]
        self.assertEqual([asked.account, second.account], ["sk-secret-one", "sk-secret-two"])
        second.head()
        second.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "hi")


class TokenTests(OAuthTestCase):
    """OAuth accounts across a reload, with `Credentials` alone exchanged."""

    def replace(self, *accounts: Account) -> None:
        before = self.config_with(*self.accounts)
        after = self.config_with(*accounts)
        self.assertNotEqual(before, None)
        self.credentials = self.credentials.renewed(after)

    def config_with(self, *accounts: Account) -> Config:
        one = provider("antigravity", kind="antigravity", accounts=())
        return config(msgspec.structs.replace(one, accounts=accounts))

    accounts: tuple[Account, ...] = (oauth("one"), oauth("two"))

    def test_an_unchanged_account_keeps_its_token(self) -> None:
        """Nobody signs in again because of others; the changed account does."""
        self.start_with(*self.accounts)
        self.ask_google()
        self.grant("ya29.secret")
        held = self.credentials.secrets()
        self.assertIn(Secret("ya29.secret"), held)
        self.replace(oauth("one"))
        self.assertEqual(self.credentials.secrets(), held)
        self.replace(oauth("one", project="another"))
        self.assertEqual(self.credentials.secrets(), frozenset())


class OptionsTests(ServiceTestCase):
    """How it is read again: by the same command line, whatever the process has done since."""

    def setUp(self) -> None:
        super().setUp()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder_ = Path(folder.name)
        before = os.getcwd()
        os.chdir(folder.name)
        self.addCleanup(os.chdir, before)
        self.patch(os, "environ", {"KEY": "sk-one"})

    def write(self, api_key: str = "env:KEY", gateway: str = "") -> None:
        text = f'[gateway]\n{gateway}\n[providers.openai]\naccounts = [{{ api_key = "{api_key}" }}]\n'
        (self.folder_ / "gw.toml").write_text(text)

    def options(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(["--config", "gw.toml", *arguments])
        return options

    def api_key(self, found: Config) -> Secret | None:
        return found.providers["openai"].accounts[0].api_key

    def test_from_another_folder(self) -> None:
        """A daemon that has left its folder finds the file, and what it names."""
        self.write("file:key.txt")
        (self.folder_ / "key.txt").write_text("sk-file\n")
        options = self.options()
        os.chdir("/")
        (self.folder_ / "key.txt").write_text("sk-file-2\n")
        self.assertEqual(self.api_key(options.read()), Secret("sk-file-2"))

    def test_the_command_line_goes_on(self) -> None:
        """``--listen`` wins over the file each time."""
        self.write()
        listen = "tcp:7000:interface=127.0.0.1"
        options = self.options("--listen", listen)
        self.write(gateway='listen = "tcp:7001:interface=127.0.0.1"\ndrain = 3.0')
        again = options.read()
        self.assertEqual((again.listen, again.drain), (listen, 3.0))

    def test_variables_are_read_again(self) -> None:
        """As the process has them then."""
        self.write()
        options = self.options()
        os.environ["KEY"] = "sk-two"
        self.assertEqual(self.api_key(options.read()), Secret("sk-two"))

    def test_a_file_that_is_gone(self) -> None:
        """It is a mistake like any other."""
        self.write()
        options = self.options()
        (self.folder_ / "gw.toml").unlink()
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, options.read)))


class ReachTests(TestCase):
    def test_spelling(self) -> None:
        """An endpoint of its own is reachable as far as it says."""
        reach = Reach()
        self.assertFalse(reach("tcp:1:interface=127.0.0.1"))
        self.assertFalse(reach("unix:/run/gw.sock"))
        self.assertTrue(reach("tcp:1"))

    def test_no_socket_was_handed_over(self) -> None:
        """That is said before anything starts."""
        for listen in (
            "systemd:domain=INET:index=7",
            "systemd:domain=INET:name=x",
            "systemd:domain=NONE:index=0",
        ):
            with self.subTest(listen), self.assertRaisesRegex(ValueError, "no socket that was handed over"):
                Reach()(listen)
