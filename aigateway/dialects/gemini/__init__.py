"""Gemini's ``generateContent``, as clients and its own API speak it, and Antigravity, too."""

from ..base import ClientDialect
from .errors import render_error
from .parse import parse_count_request, parse_request
from .reader import GeminiReader, parse_reply
from .render import render_request
from .writer import GeminiWriter, render_reply

GEMINI = ClientDialect("gemini", parse_request, GeminiWriter, render_reply, render_error, "x-request-id")

__all__ = [
    "GEMINI",
    "GeminiReader",
    "parse_count_request",
    "parse_reply",
    "parse_request",
    "render_request",
]
