"""Wrong keys: counted by address, for a while, and never at the cost of who has the right one."""

from __future__ import annotations

import unittest

from aigateway.config import Limits
from aigateway.routing import Router
from aigateway.throttle import PERIOD, REMEMBERED, TRUSTED, WrongKeys, source

from .fakes import Answer, chat, config, provider
from .test_web import SCRIPTED_PORT, WebTestCase, key

KEY = b"k" * 32
HERE, THERE = "192.0.2.1", "192.0.2.2"


class Counting(unittest.TestCase):
    def setUp(self) -> None:
        self.wrong_keys = WrongKeys(3)

    def wrong(self, *times: float, address: str = HERE) -> None:
        for now in times:
            self.wrong_keys.wrong(address, now)

    def test_the_limit(self) -> None:
        """At the limit, and not before, an address waits until the minute is over that began with its
        first wrong key; others do not."""
        self.wrong(10.0, 20.0)
        self.assertEqual(self.wrong_keys.wait(HERE, 20.0), 0.0)
        self.wrong(30.0)
        self.assertEqual(self.wrong_keys.wait(HERE, 30.0), 40.0)
        self.assertEqual(self.wrong_keys.wait(HERE, 69.5), 0.5)
        self.assertEqual(self.wrong_keys.wait(HERE, 70.0), 0.0)
        self.assertEqual(self.wrong_keys.wait(THERE, 30.0), 0.0)

    def test_a_new_minute(self) -> None:
        """What was wrong a minute ago does not count any more."""
        self.wrong(0.0, 59.0)
        self.wrong(PERIOD)
        self.assertEqual(self.wrong_keys.wait(HERE, PERIOD), 0.0)
        self.wrong(PERIOD + 1, PERIOD + 2)
        self.assertEqual(self.wrong_keys.wait(HERE, PERIOD + 2), PERIOD - 2)

    def test_familiar(self) -> None:
        """A key is familiar for an hour after it was right, where it was."""
        self.wrong_keys.right(HERE, KEY, 0.0)
        self.assertTrue(self.wrong_keys.is_familiar(HERE, KEY, TRUSTED))
        self.assertFalse(self.wrong_keys.is_familiar(HERE, KEY, TRUSTED + 1))
        self.assertFalse(self.wrong_keys.is_familiar(THERE, KEY, 0.0))
        self.assertFalse(self.wrong_keys.is_familiar(HERE, KEY[1:], 0.0))

    def test_off(self) -> None:
        """With a limit of 0 nobody waits, and nothing is remembered."""
        self.wrong_keys.limit = 0
        self.wrong(*range(50))
        self.assertEqual(self.wrong_keys.wait(HERE, 50.0), 0.0)
        self.wrong_keys.limit = 1
        self.assertEqual(self.wrong_keys.wait(HERE, 50.0), 0.0)

    def test_bounded(self) -> None:
        """Of however many addresses and keys the last ones are remembered."""
        for number in range(REMEMBERED + 5):
            for _ in range(3):
                self.wrong(1.0, address=f"a{number}")
            self.wrong_keys.right(HERE, b"%d" % number, 1.0)
        waiting = [n for n in range(REMEMBERED + 5) if self.wrong_keys.wait(f"a{n}", 1.0)]
        familiar = [n for n in range(REMEMBERED + 5) if self.wrong_keys.is_familiar(HERE, b"%d" % n, 1.0)]
        self.assertEqual(waiting, list(range(5, REMEMBERED + 5)))
        self.assertEqual(familiar, waiting)


class Sources(unittest.TestCase):
    def test_what_is_one_address(self) -> None:
        """IPv4 is told apart by address, also by way of IPv6, and IPv6 by /64."""
        for host, wanted in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            ("", ""),
        ):
            with self.subTest(host):
                self.assertEqual(source(host), wanted)


class ThroughTheGateway(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start_answering(key("alice", "right"), key("bob", "also"), limits=Limits(wrong_keys=3))

    def status(self, credential: str, path: str = "/v1/messages") -> int:
        return self.answer_to(credential, path).status

    def answer_to(self, credential: str, path: str = "/v1/messages") -> Answer:
        headers = ("x-api-key", credential) if credential else ("x-other", "")
        return self.post(path, chat(stream=False, max_tokens=1), headers)

    def test_after_too_many(self) -> None:
        """Three wrong keys, or none at all, and no unfamiliar key is looked at: 429 in the caller's
        dialect, with the time to wait, and the connection closed; a right one, too, that was not
        there before."""
        self.assertEqual(self.status("right"), 200)
        self.assertEqual([self.status(one) for one in ("wrong", "", "wronger")], [401] * 3)
        self.advance(20)
        for credential in ("wrong", "", "also"):
            with self.subTest(credential):
                answer = self.answer_to(credential)
                self.assert_refused(answer, 429, "claude", "wrong keys")
                self.assertEqual(answer.headers["retry-after"], "40")
                self.assertEqual(answer.headers["connection"], "close")
        refused = self.answer_to("wrong", "/openai/v1/chat/completions")
        self.assert_refused(refused, 429, "openai", "wrong keys")
        self.assertEqual(self.status("right"), 200)
        self.advance(40)
        self.assertEqual((self.status("also"), self.status("wrong")), (200, 401))

    def test_a_revoked_key_is_any_wrong_key(self) -> None:
        """Who comes with a key that was right until it was revoked is told what everybody is told."""
        self.assertEqual(self.status("also"), 200)
        changed = config(
            provider(port=SCRIPTED_PORT), keys=(key("alice", "right"),), limits=Limits(wrong_keys=3)
        )
        self.gateway.reconfigure(changed, Router(changed), self.executor.attempts)
        self.assertEqual([self.status(one) for one in ("also", "never", "")], [401] * 3)
        told = {self.answer_to(one).json()["error"]["message"] for one in ("also", "never", "")}
        self.assertEqual(len(told), 1)
        self.assertEqual([self.status(one) for one in ("also", "never", "")], [429] * 3)

    def test_what_is_public_stays_so(self) -> None:
        """Whatever came from an address before, it may ask after the gateway's health."""
        for _ in range(9):
            self.status("wrong")
        self.assertEqual(self.get("/health").status, 200)
