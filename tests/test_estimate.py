"""Token counts for when a provider tells none."""

from __future__ import annotations

import unittest

from aigateway import estimate
from aigateway.events import (
    AudioBlock,
    ChatReply,
    DocumentBlock,
    ImageBlock,
    Message,
    OtherBlock,
    RedactedThinkingBlock,
    RequestBlock,
    TextBlock,
    ThinkingBlock,
    Tool,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

from .recordings import ask


def of_blocks(*blocks: RequestBlock) -> int:
    """The prompt's tokens for one message of these blocks, but for the message's own."""
    return estimate.prompt_tokens(ask(messages=(Message("user", blocks),))) - estimate.MESSAGE_TOKENS


class Prompt(unittest.TestCase):
    def test_at_least_one(self) -> None:
        """A prompt is never free."""
        self.assertEqual(estimate.prompt_tokens(ask(messages=())), 1)

    def test_each_kind_of_block(self) -> None:
        """What is text counts a token for four bytes of UTF-8; media count flat."""
        text = "x" * 40
        for block, tokens in (
            (TextBlock(text), 10),
            (TextBlock("数" * 40), 30),
            (ThinkingBlock(text, "a signature does not count"), 10),
            (RedactedThinkingBlock(text), 10),
            (ToolUseBlock("id", "four", text), 11),
            (ToolResultBlock("id", (TextBlock(text), TextBlock(text))), 20),
            (ToolResultBlock("id", (TextBlock(text), ImageBlock("image/png", "AAAA" * 1000))), 1010),
            (DocumentBlock(text=text), 10),
            (DocumentBlock("application/pdf", "AAAA" * 1000), 1000),
            (ImageBlock(url="https://example.com/a.png"), 1000),
            (AudioBlock("AAAA" * 1000, "wav"), 1000),
            (OtherBlock("container_upload"), 0),
        ):
            with self.subTest(block):
                self.assertEqual(of_blocks(block), tokens)

    def test_all_parts_of_a_request(self) -> None:
        """System text, every message and every tool count."""
        chat = ask(
            system=(TextBlock("x" * 400),),
            messages=(Message("user", (TextBlock("x" * 40),)), Message("assistant", (TextBlock("x" * 40),))),
            tools=(Tool("x" * 40, "x" * 40, {"type": "object"}), Tool("x" * 40)),
        )
        schema = len('{"type":"object"}')
        self.assertEqual(estimate.prompt_tokens(chat), (400 + 80 + 120 + schema) // 4 + 2 * 4)


class Output(unittest.TestCase):
    def test_rounds_up(self) -> None:
        """Any output is at least a token; none is none."""
        self.assertEqual([estimate.output_tokens(size) for size in (0, 1, 4, 5)], [0, 1, 1, 2])

    def test_size_of_an_answer(self) -> None:
        """Text, thinking and the name and input of a call make the size of a whole answer."""
        blocks = (TextBlock("数到"), ThinkingBlock("hm", "signature"), ToolUseBlock("id", "name", '{"a":1}'))
        reply = ChatReply(id="", model="", content=blocks, stop_reason="tool_use")
        self.assertEqual(estimate.size_of(reply), 6 + 2 + 4 + 7)

    def test_usage_is_marked(self) -> None:
        """An estimate says that it is one."""
        self.assertEqual(estimate.usage(ask(messages=()), 10), Usage(1, 3, estimated=True))
