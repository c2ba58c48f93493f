"""The simulators' signatures: they look like real ones, and only their issuer takes them."""

from __future__ import annotations

import unittest

from aigateway.dialects.signed import for_antigravity_claude, for_claude, for_gemini
from aigateway.simulator.signatures import Signer


class SignerTests(unittest.TestCase):
    def setUp(self) -> None:
        self.signer = Signer("one")
        self.claude = self.signer.claude("seed")
        self.gemini = self.signer.gemini("seed")

    def test_they_look_like_their_family(self) -> None:
        """The gateway's own test for Claude's signatures tells them apart."""
        self.assertTrue(self.claude.startswith("E"))
        self.assertEqual(for_claude(self.claude), self.claude)
        self.assertEqual(for_antigravity_claude(self.claude), self.signer.wrapped_claude("seed"))
        self.assertIsNone(for_gemini(self.claude))
        self.assertIsNone(for_claude(self.gemini))
        self.assertEqual(for_gemini(self.gemini), self.gemini)

    def test_only_the_issuer_takes_them(self) -> None:
        """Its own for their own family, after a restart too; nobody else's and nothing changed."""
        again, other = Signer("one"), Signer("other")
        for kind, signature in (("claude", self.claude), ("gemini", self.gemini)):
            self.assertTrue(again.issued(kind, signature))
            self.assertFalse(other.issued(kind, signature))
            self.assertFalse(again.issued("gemini" if kind == "claude" else "claude", signature))
            self.assertFalse(again.issued(kind, signature[:-8] + "AAAAAAA="))
            self.assertFalse(again.issued(kind, signature[:-4]))
        self.assertTrue(again.issued("claude", self.signer.wrapped_claude("seed")))
        for junk in ("", "E", "RRRR", "not base64 é", "skip_thought_signature_validator", "AAAA" * 40):
            self.assertFalse(again.issued("claude", junk))
            self.assertFalse(again.issued("gemini", junk))

    def test_url_safe_base64_is_the_same_signature(self) -> None:
        """Google's clients write either alphabet."""
        self.assertTrue(self.signer.issued("gemini", self.gemini.translate(str.maketrans("+/", "-_"))))
