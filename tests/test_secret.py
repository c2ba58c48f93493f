"""Keys that cannot be printed by accident."""

from __future__ import annotations

import copy
import logging
import traceback
import unittest

import msgspec

from aigateway.providers.base import Credential
from aigateway.secret import Secret, mask

KEY = "sk-very-private-1234"


class Hidden(unittest.TestCase):
    def test_every_way_to_print_one(self) -> None:
        """No way of turning a secret into text shows it, alone or in another object."""
        secret = Secret(KEY)
        shown = [
            repr(secret),
            str(secret),
            f"{secret}",
            f"{secret!r:>40}",
            "%s %r" % (secret, secret),  # noqa: UP031 - this way too
            repr([secret]),
            repr({"key": secret}),
            repr(Credential(secret, "project")),
            logging.LogRecord("x", 20, "f", 1, "%s", (secret,), None).getMessage(),
        ]
        for text in shown:
            self.assertNotIn("private", text)
            self.assertIn("***", text)

    def test_in_a_traceback(self) -> None:
        """A traceback that shows its locals does not show it."""

        def fails(secret: Secret) -> None:
            raise ValueError(f"bad {secret}")

        try:
            fails(Secret(KEY))
        except ValueError as error:
            text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        self.assertIn("secret = Secret('***')", text)
        self.assertNotIn("private", text)

    def test_in_json(self) -> None:
        """msgspec, which writes the stats, cannot encode one."""
        with self.assertRaises(TypeError):
            msgspec.json.encode(Secret(KEY))

    def test_has_no_attributes(self) -> None:
        """There is no ``__dict__`` that a dump could walk."""
        self.assertFalse(hasattr(Secret(KEY), "__dict__"))


class Values(unittest.TestCase):
    def test_reveal(self) -> None:
        """``reveal`` gives the value."""
        self.assertEqual(Secret(KEY).reveal(), KEY)
        self.assertEqual(copy.copy(Secret(KEY)).reveal(), KEY)

    def test_equality(self) -> None:
        """Secrets are equal by their value, and equal to nothing else."""
        self.assertEqual(Secret(KEY), Secret(KEY))
        self.assertNotEqual(Secret(KEY), Secret("other"))
        self.assertNotEqual(Secret(KEY), KEY)
        self.assertEqual(len({Secret(KEY), Secret(KEY), Secret("other")}), 2)

    def test_hash_is_not_the_values(self) -> None:
        """The hash is not that of the bare string."""
        self.assertNotEqual(hash(Secret(KEY)), hash(KEY))


class Mask(unittest.TestCase):
    def test_every_occurrence(self) -> None:
        """Every occurrence of every secret becomes ***, whatever stands around it."""
        text = f"Incorrect API key provided: {KEY}. (Bearer {KEY}x, also ya29.token)"
        self.assertEqual(
            mask(text, [Secret(KEY), Secret("ya29.token")]),
            "Incorrect API key provided: ***. (Bearer ***x, also ***)",
        )

    def test_nothing_to_mask(self) -> None:
        """Text without a secret stays as it is."""
        self.assertEqual(mask("all is well", [Secret(KEY)]), "all is well")
        self.assertEqual(mask("all is well", []), "all is well")

    def test_short_values(self) -> None:
        """A value under 6 characters is no secret: it would blank out ordinary words."""
        self.assertEqual(mask("the test failed", [Secret("test"), Secret("")]), "the test failed")
        self.assertEqual(mask("the secret1", [Secret("secret")]), "the ***1")

    def test_one_inside_another(self) -> None:
        """A secret that begins another one leaves no rest of it behind."""
        for secrets in ([Secret("abcdef"), Secret("abcdefghij")], [Secret("abcdefghij"), Secret("abcdef")]):
            self.assertEqual(mask("key abcdefghij.", secrets), "key ***.")
