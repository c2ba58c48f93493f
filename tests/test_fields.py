"""What the dialects have in common when they read a client's body."""

from __future__ import annotations

import json
import sys
import unittest
from typing import Any

import msgspec

from aigateway.dialects import DIALECTS
from aigateway.dialects.fields import Reading
from aigateway.events import OtherBlock


class Unknown(unittest.TestCase):
    def test_names(self) -> None:
        """Names that nobody knows are told; those without a word are noted, unless they say nothing."""
        reading = Reading()
        raw = b'{"known": 1, "odd": 1, "n": 1, "store": true, "nothing": null}'
        no_word = {"n": (b"1",), "store": (b"false",), "audio": ()}
        self.assertEqual(reading.names(raw, {"known"}, no_word), ("odd",))
        self.assertEqual(list(reading.other), ["store"])

    def test_blocks_are_cheap(self) -> None:
        """A block that nobody knows raises no error on its way: a body may hold a quarter million."""
        for dialect in ("claude", "openai"):
            with self.subTest(dialect):
                messages = [{"role": "user", "content": [{"type": "odd"}] * 3}]
                raw = json.dumps({"model": "m", "max_tokens": 8, "messages": messages}).encode()
                raised: list[object] = []

                def trace(frame: object, event: str, arg: Any, raised: list[object] = raised) -> Any:
                    if event == "exception":
                        raised.append(arg[0])
                    return trace

                before = sys.gettrace()
                sys.settrace(trace)
                try:
                    chat = DIALECTS[dialect].parse_request(raw)
                finally:
                    sys.settrace(before)
                self.assertEqual(chat.messages[0].content, (OtherBlock("odd"),) * 3)
                self.assertNotIn(msgspec.ValidationError, raised)
