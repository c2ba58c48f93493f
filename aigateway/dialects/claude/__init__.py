"""Anthropic's Messages dialect: the house format."""

from ..base import ClientDialect
from .errors import render_error
from .parse import is_claude_body, parse_request
from .writer import ClaudeWriter, render_reply

CLAUDE = ClientDialect("claude", parse_request, ClaudeWriter, render_reply, render_error, "request-id")

__all__ = ["CLAUDE", "ClaudeWriter", "is_claude_body", "parse_request"]
