"""Gemini's ``generateContent``, which Antigravity speaks too: the provider's side."""

from .reader import GeminiReader, parse_reply
from .render import render_request

__all__ = ["GeminiReader", "parse_reply", "render_request"]
